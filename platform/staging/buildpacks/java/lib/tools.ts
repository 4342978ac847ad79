/** Maven and Gradle: what they are told about proxies, mirrors and certificates, and how a project is built with them. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { splitArguments } from '../../../lifecycle/arguments.ts';
import { javaTrustStore } from '../../../lifecycle/java-trust-store.ts';
import { declareLayer, keyOf, layerMetadata, runCommand } from '../../../lifecycle/program.ts';
import { AppError, detail, step } from '../../../lifecycle/words.ts';
import type { BuiltOutputs } from './artifacts.ts';
import { mavenSettings, proxyProperties } from './settings.ts';

export interface Project {
  /** JAVA_HOME. */
  jdk: string;
  layers: string;
  /** A copy of the source: what was pushed stays as it is. */
  directory: string;
}

const GRADLE = ['build.gradle', 'build.gradle.kts'];

export function isProject(directory: string): boolean {
  return ['pom.xml', ...GRADLE].some((name) => existsSync(join(directory, name)));
}

export async function buildProject(project: Project): Promise<BuiltOutputs> {
  const maven = existsSync(join(project.directory, 'pom.xml'));
  return maven ? await buildWithMaven(project) : await buildWithGradle(project);
}

/** Without what a build before the push left there, which would be taken for this one's. */
export function copySource(): string {
  const directory = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'source-'));
  const isOutput = (path: string): boolean => {
    const beside = (name: string) => existsSync(join(dirname(path), name));
    return basename(path) === 'target' ? beside('pom.xml') : basename(path) === 'build' && GRADLE.some(beside);
  };
  cpSync('.', directory, { recursive: true, verbatimSymlinks: true, filter: (path) => !isOutput(path) });
  return directory;
}

function javaVariables(project: Project): Record<string, string | undefined> {
  const scratch = mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'java-'));
  const bundle = process.env['SSL_CERT_FILE'] ?? '/etc/ssl/certs/ca-certificates.crt';
  const store = join(scratch, 'authorities.jks');
  if (existsSync(bundle)) writeFileSync(store, javaTrustStore(readFileSync(bundle, 'utf8')));
  const trust = existsSync(store) ? `-Djavax.net.ssl.trustStore=${store} -Djavax.net.ssl.trustStoreType=JKS` : '';
  return {
    ...process.env,
    HOME: scratch,
    JAVA_HOME: project.jdk,
    PATH: `${join(project.jdk, 'bin')}:${process.env['PATH']}`,
    // Of every JVM that takes part: the wrappers and what they start. By itself one takes a quarter of the memory.
    JAVA_TOOL_OPTIONS: [
      '-XX:MaxRAMPercentage=50',
      trust,
      ...proxyProperties(process.env),
      process.env['JAVA_TOOL_OPTIONS'] ?? '',
    ]
      .filter((option) => option !== '')
      .join(' '),
  };
}

async function buildWithMaven(project: Project): Promise<BuiltOutputs> {
  const { layers, directory } = project;
  const wrapper = existsSync(join(directory, 'mvnw'));
  step(`Maven${wrapper ? ' (mvnw)' : ''}`);
  const cache = openCache(
    layers,
    'maven',
    directory,
    /^(pom\.xml|extensions\.xml|settings\.xml|maven-wrapper\.(properties|jar))$/,
  );
  const settings = join(cache.directory, 'settings.xml');
  writeFileSync(settings, mavenSettings(process.env));
  const tasks = taskArguments('BP_MAVEN_BUILD_ARGUMENTS', '-DskipTests package');
  const own = [process.env['MAVEN_SETTINGS_PATH'], 'settings.xml'].find(
    (path) => path !== undefined && path !== '' && existsSync(join(directory, path)),
  );
  const args = [
    '--batch-mode',
    '--global-settings',
    settings,
    ...(own === undefined ? [] : ['--settings', own]),
    `-Dmaven.repo.local=${join(cache.directory, 'repository')}`,
    '-Dorg.slf4j.simpleLogger.log.org.apache.maven.cli.transfer.Slf4jMavenTransferListener=warn',
    ...tasks,
  ];
  const mirror = process.env['MAVEN_MIRROR_URL'];
  await runCommand(wrapper ? 'sh' : 'mvn', [...(wrapper ? ['./mvnw'] : []), ...args], {
    directory,
    environment: {
      ...javaVariables(project),
      MAVEN_USER_HOME: cache.directory,
      ...(mirror === undefined ? {} : { MVNW_REPOURL: mirror.replace(/\/+$/, '') }),
    },
    shown: `${wrapper ? 'mvnw' : 'mvn'} ${tasks.join(' ')}`,
  });
  cache.keep();
  return outputsOf(directory, 'MAVEN', 'target');
}

async function buildWithGradle(project: Project): Promise<BuiltOutputs> {
  const { layers, directory } = project;
  if (!existsSync(join(directory, 'gradlew'))) {
    throw new AppError('there is no gradlew: run "gradle wrapper", and push gradlew and the directory gradle');
  }
  step('Gradle (gradlew)');
  const cache = openCache(
    layers,
    'gradle',
    directory,
    /(\.gradle|\.gradle\.kts|\.lockfile|^gradle\.properties|^gradle-wrapper\.(properties|jar)|\.versions\.toml)$/,
  );
  const properties = join(directory, 'gradle', 'wrapper', 'gradle-wrapper.properties');
  const address = /^distributionUrl=(.+)$/m.exec(existsSync(properties) ? readFileSync(properties, 'utf8') : '')?.[1];
  const tasks = taskArguments('BP_GRADLE_BUILD_ARGUMENTS', 'assemble');
  await runCommand('sh', ['./gradlew', '--no-daemon', '--console=plain', ...tasks], {
    directory,
    environment: { ...javaVariables(project), GRADLE_USER_HOME: cache.directory },
    shown: `gradlew ${tasks.join(' ')}`,
    explain: (output) => unreachableGradle(output, address),
  });
  cache.keep();
  return outputsOf(directory, 'GRADLE', 'build/libs');
}

export function unreachableGradle(output: string, address = 'gradle'): Error | undefined {
  const failed =
    /(UnknownHostException|ConnectException|SocketTimeoutException|SSLHandshakeException|NoRouteToHostException|Server returned HTTP response code: \d+)/.exec(
      output,
    );
  if (failed === null || /BUILD FAILED/.test(output)) return undefined;
  const plain = address.replaceAll('\\', '');
  return new AppError(
    `gradlew could not fetch Gradle from ${plain} (${failed[1]}): builds must reach that address, or distributionUrl in gradle/wrapper/gradle-wrapper.properties must name a mirror that they reach`,
  );
}

/** A layer of what was downloaded, which fits as long as what decides about dependencies is the same. */
function openCache(
  layers: string,
  name: string,
  source: string,
  deciding: RegExp,
): { directory: string; keep: () => void } {
  const directory = join(layers, name);
  const files = readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && deciding.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(source.length + 1))
    .sort();
  const key = keyOf([1, name, files], files);
  if (layerMetadata(layers, name)?.['key'] === key && existsSync(directory))
    detail('taking the downloads of the last build');
  else rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  return { directory, keep: () => declareLayer(layers, name, { cache: true }, { key }) };
}

/** Where a tool leaves what it makes; `BP_MAVEN_BUILT_MODULE` and its like choose a module. */
function outputsOf(directory: string, tool: 'MAVEN' | 'GRADLE', output: string): BuiltOutputs {
  const module = process.env[`BP_${tool}_BUILT_MODULE`] ?? '';
  const modules = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(directory, entry.name, output)))
    .map(({ name }) => join(directory, name, output))
    .sort();
  return {
    own: join(directory, module, output),
    modules: module === '' ? modules : [],
    variable: `BP_${tool}_BUILT_ARTIFACT`,
  };
}

function taskArguments(variable: string, otherwise: string): string[] {
  return splitArguments(process.env[variable] || otherwise, variable);
}
