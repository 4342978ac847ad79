/** Finds buildpacks and runs their programs (buildpack specification, API 0.10). */
import { spawn } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { isDirectory, names, text } from './environment.ts';
import { exitCodes } from './protocol.ts';

export interface Buildpack {
  /** `classic`: one of Cloud Foundry's own kind, see `classic.ts`. */
  kind: 'cnb' | 'classic';
  id: string;
  version: string;
  name: string;
  directory: string;
  /** Buildpacks see nothing of the user's environment when they say so. */
  clearEnvironment: boolean;
}

export interface OrderEntry {
  id: string;
  optional?: boolean;
}

/** Ends the lifecycle with an exit code and a last line that says why. */
export class LifecycleError extends Error {
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.name = 'LifecycleError';
    this.exitCode = exitCode;
  }
}

export function readBuildpacks(root: string): Map<string, Buildpack> {
  const found = new Map<string, Buildpack>();
  for (const entry of names(root)) {
    const directory = join(root, entry);
    if (!existsSync(join(directory, 'buildpack.toml'))) continue;
    const buildpack = readBuildpack(directory, entry);
    found.set(buildpack.id, buildpack);
  }
  return found;
}

/** Of the specification of buildpacks that this lifecycle keeps: later ones may ask for what it does not know. */
const APIS = /^0\.([2-9]|1[0-2])$/;

/**
 * What lies in a directory, or below its only one, as archives of repositories have it.
 * @param name  what a classic buildpack, which does not say it itself, is called
 */
export function readBuildpack(place: string, name: string): Buildpack {
  const [only, ...others] = names(place).filter((entry) => isDirectory(join(place, entry)));
  const nested = only !== undefined && others.length === 0 && only !== 'bin';
  const directory = nested ? join(place, only) : place;
  const has = (program: string) => existsSync(join(directory, 'bin', program));
  if (!has('build') && (has('compile') || has('finalize') || has('supply'))) {
    const id = `classic/${slug(name)}`;
    const version = text(join(directory, 'VERSION')).trim().split('\n')[0] ?? '';
    return { kind: 'classic', id, version: version.slice(0, 100), name, directory, clearEnvironment: false };
  }
  const file = parse(text(join(directory, 'buildpack.toml'))) as BuildpackFile;
  const { buildpack } = file;
  const problem = problemOf(file, has('detect') && has('build'));
  if (problem !== undefined || buildpack === undefined)
    throw new LifecycleError(exitCodes.buildError, `buildpack ${name} ${problem ?? 'has no buildpack.toml'}`);
  return {
    kind: 'cnb',
    id: buildpack.id,
    version: String(buildpack.version ?? ''),
    name: buildpack.name ?? buildpack.id,
    directory,
    clearEnvironment: buildpack['clear-env'] ?? false,
  };
}

function problemOf({ api = '0.10', order, buildpack }: BuildpackFile, programs: boolean): string | undefined {
  if (order !== undefined) return 'is made of others: name those instead, in their order';
  if (!programs)
    return 'is no buildpack: it has neither bin/detect and bin/build nor bin/compile, bin/supply or bin/finalize';
  if (!APIS.test(api)) return `wants version ${api} of the buildpack API; there are 0.2 to 0.12`;
  return typeof buildpack?.id === 'string' ? undefined : 'has no id in its buildpack.toml';
}

interface BuildpackFile {
  api?: string;
  buildpack?: { id: string; version?: string; name?: string; 'clear-env'?: boolean };
  order?: unknown;
}

function slug(name: string): string {
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9.-]+/g, '-');
  return plain.replaceAll(/^[^a-z0-9]+|[^a-z0-9]+$/g, '') || 'buildpack';
}

/** A buildpack's id as a file name: `/` becomes `_`. */
export function layersName(id: string): string {
  return id.replaceAll('/', '_');
}

export interface RunOptions {
  args: string[];
  workingDirectory: string;
  environment: Record<string, string | undefined>;
  /** Collected instead of shown: detection of buildpacks that do not pass is of no interest. */
  quiet?: boolean;
}

export interface Ran {
  code: number;
  /** Both of these where it ran quietly. */
  output: string;
  stdout: string;
}

/** Runs `bin/detect` or `bin/build`; resolves with its exit code. */
export async function runProgram(path: string, options: RunOptions): Promise<Ran> {
  const child = spawn(path, options.args, {
    cwd: options.workingDirectory,
    env: options.environment,
    stdio: ['ignore', options.quiet === true ? 'pipe' : 'inherit', options.quiet === true ? 'pipe' : 'inherit'],
  });
  let output = '';
  const collect = (chunk: Buffer) => {
    if (output.length < 64 * 1024) output += chunk.toString('utf8');
  };
  let stdout = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    if (stdout.length < 64 * 1024) stdout += chunk.toString('utf8');
    collect(chunk);
  });
  child.stderr?.on('data', collect);
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>();
  child.on('error', reject);
  child.on('close', (code, signal) => resolve({ code, signal }));
  const { code, signal } = await promise;
  if (signal === 'SIGKILL' || code === 137) {
    throw new LifecycleError(exitCodes.outOfMemory, `${path} was killed: the build ran out of memory`);
  }
  return { code: code ?? 128, output, stdout };
}

export function diskIsFull(path: string): boolean {
  const { bavail, blocks } = statfsSync(path);
  return bavail < blocks / 200;
}
