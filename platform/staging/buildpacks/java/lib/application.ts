/** What is started: a directory that was unpacked, a jar, a war; and how it is laid into layers. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { shellWord } from '../../../lifecycle/arguments.ts';
import { declareLayer, layerMetadata, writeBill } from '../../../lifecycle/program.ts';
import { detail } from '../../../lifecycle/words.ts';
import { jarComponents } from './components.ts';
import { parseManifest, readJar } from './jar.ts';

export interface Application {
  /** Of `java`, as the shell reads them; absent: a web application, which Tomcat serves from `directory`. */
  start?: string;
  /** Holds META-INF, WEB-INF or BOOT-INF; of a jar that stays one, the directory that it is in. */
  directory: string;
  /** How many there are, dependencies included. */
  classes: number;
}

/** As `cf push -p app.jar` leaves it; undefined for what cannot be started. */
export function unpackedApplication(directory: string): Application | undefined {
  const manifest = join(directory, 'META-INF', 'MANIFEST.MF');
  const main = existsSync(manifest) ? parseManifest(readFileSync(manifest, 'utf8')).get('Main-Class') : undefined;
  if (main !== undefined) return { ...startedClass(directory, main), classes: countClasses(directory) };
  return existsSync(join(directory, 'WEB-INF')) ? { directory, classes: countClasses(directory) } : undefined;
}

/** A jar stays where it is. A war, or a jar with jars in it, is unpacked into layers. */
export function pushedApplication(layers: string, artifact: string, jdk: string): Application {
  if (artifact.endsWith('.war') || librariesOf(readJar(artifact).names) !== undefined)
    return installArtifact(layers, artifact, jdk);
  return startedJar(artifact);
}

/** Puts what was built into the layers `app` and, where it has dependencies apart, `dependencies`. */
export function installArtifact(layers: string, artifact: string, jdk: string): Application {
  // Not the layer itself, in which some names would mean something else.
  const directory = join(layers, 'app', 'content');
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  declareLayer(layers, 'app', { launch: true }, {});
  const { manifest, names } = readJar(artifact);
  const libraries = librariesOf(names);
  const copy = join(directory, basename(artifact));
  if (basename(artifact) === 'quarkus-run.jar') {
    cpSync(dirname(artifact), directory, { recursive: true });
    return startedJar(copy);
  }
  if (libraries === undefined && !artifact.endsWith('.war')) {
    // A jar of several releases, or a signed one, means what it means only as a jar.
    copyFileSync(artifact, copy);
    return startedJar(copy);
  }
  execFileSync(join(jdk, 'bin', 'jar'), ['--extract', '--file', artifact], { cwd: directory, stdio: 'inherit' });
  const classes = countClasses(directory);
  if (libraries !== undefined) splitDependencies(layers, directory, libraries);
  const main = manifest.get('Main-Class');
  return { ...(main === undefined ? { directory } : startedClass(directory, main)), classes };
}

function startedJar(path: string): Application {
  return { start: `-jar ${shellWord(path)}`, directory: dirname(path), classes: countClasses(dirname(path)) };
}

function startedClass(directory: string, main: string): Omit<Application, 'classes'> {
  return { start: `-cp ${directory} ${shellWord(main)}`, directory };
}

/** Spring Boot's place for jars in a jar, and that of wars. */
function librariesOf(names: readonly string[]): string | undefined {
  return ['BOOT-INF/lib', 'WEB-INF/lib'].find((path) =>
    names.some((name) => name.startsWith(`${path}/`) && name.endsWith('.jar')),
  );
}

/** Libraries change seldom: in a layer of their own they are stored once. */
function splitDependencies(layers: string, application: string, libraries: string): void {
  const from = join(application, libraries);
  const layer = join(layers, 'dependencies');
  const hash = createHash('sha256');
  for (const name of readdirSync(from).sort()) hash.update(`${name}\0`).update(readFileSync(join(from, name)));
  const key = hash.digest('hex');
  if (layerMetadata(layers, 'dependencies')?.['key'] === key) {
    detail('the libraries are those of the last build');
    rmSync(from, { recursive: true });
  } else {
    writeBill(layers, 'dependencies', jarComponents(from));
    mkdirSync(layer, { recursive: true });
    renameSync(from, join(layer, 'jars'));
  }
  symlinkSync(join(layer, 'jars'), from);
  declareLayer(layers, 'dependencies', { launch: true }, { key });
}

/** In a directory and in the jars in it. */
function countClasses(directory: string): number {
  let count = 0;
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    if (entry.name.endsWith('.class')) count += 1;
    if (!entry.name.endsWith('.jar')) continue;
    count += readJar(join(entry.parentPath, entry.name)).names.filter((name) => name.endsWith('.class')).length;
  }
  return count;
}
