/** bin/build of the java buildpack: a project is built, or what was pushed is started as it is. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildProgram, declareLayer, writeLaunchEnvironment, writeProcesses } from '../../../lifecycle/program.ts';
import { AppError, detail, step } from '../../../lifecycle/words.ts';
import { type Application, installArtifact, pushedApplication, unpackedApplication } from './application.ts';
import { artifactsIn, builtArtifact, onlyOne } from './artifacts.ts';
import { installTomcat } from './tomcat.ts';
import { buildProject, copySource, isProject } from './tools.ts';
import { chooseJava, majorOf } from './version.ts';

/** Of the JDK's own. */
const RUNTIME_CLASSES = 26_000;

await buildProgram(async (layers) => {
  step('Runtime');
  const choice = chooseJava(process.env);
  if ('problem' in choice) throw new AppError(choice.problem);
  const { runtime, asked } = choice;
  const jdk = `/usr/lib/jvm/java-${majorOf(runtime)}-openjdk-${process.arch === 'x64' ? 'amd64' : process.arch}`;
  if (asked === undefined) detail(`the source names no version: taking Java ${runtime.version}`);
  else detail(`${asked.where} ${asked.specifier}: Java ${runtime.version}`);
  const application = await provideApplication(layers, jdk);
  const tomcat = application.start === undefined ? installTomcat(layers, application) : undefined;
  provideSettings(layers, { jdk, classes: application.classes + (tomcat?.classes ?? 0) });
  const command = `exec java $JAVA_OPTS ${application.start ?? tomcat?.start}`;
  writeProcesses(layers, [{ type: 'web', command }]);
});

async function provideApplication(layers: string, jdk: string): Promise<Application> {
  if (!isProject('.')) {
    const unpacked = unpackedApplication(resolve('.'));
    if (unpacked !== undefined) return unpacked;
    const pushed = onlyOne(artifactsIn(resolve('.')), 'push one of them (-p app.jar)');
    if (pushed !== undefined) return pushedApplication(layers, pushed, jdk);
    throw new AppError('what was pushed cannot be started: the manifest of the jar names no Main-Class');
  }
  const directory = copySource();
  const outputs = await buildProject({ jdk, layers, directory });
  const application = installArtifact(layers, builtArtifact(directory, outputs), jdk);
  rmSync(directory, { recursive: true, force: true });
  return application;
}

/** The layer `jvm`: what every JVM of the app is started with. Its memory is reckoned with the classes that there are. */
function provideSettings(layers: string, { jdk, classes }: { jdk: string; classes: number }): void {
  const layer = join(layers, 'jvm');
  rmSync(layer, { recursive: true, force: true });
  mkdirSync(join(layer, 'profile.d'), { recursive: true });
  const script = readFileSync(join(import.meta.dirname, 'jvm.sh'), 'utf8');
  writeFileSync(join(layer, 'profile.d', 'jvm.sh'), script.replace('@CLASSES@', String(RUNTIME_CLASSES + classes)));
  writeLaunchEnvironment(layer, { 'JAVA_HOME.default': jdk });
  declareLayer(layers, 'jvm', { launch: true }, {});
}
