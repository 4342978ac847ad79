/** Finds buildpacks and runs their programs (buildpack specification, API 0.10). */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { isDirectory } from './environment.ts';
import { exitCodes } from './protocol.ts';

export interface Buildpack {
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
  for (const entry of readdirSync(root).sort()) {
    const directory = join(root, entry);
    if (!isDirectory(directory)) continue;
    const file = parse(readFileSync(join(directory, 'buildpack.toml'), 'utf8')) as {
      buildpack: { id: string; version: string; name?: string; 'clear-env'?: boolean };
    };
    const { id, version, name, 'clear-env': clearEnvironment } = file.buildpack;
    found.set(id, { id, version, name: name ?? id, directory, clearEnvironment: clearEnvironment ?? false });
  }
  return found;
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

/** Runs `bin/detect` or `bin/build`; resolves with its exit code. */
export async function runProgram(path: string, options: RunOptions): Promise<{ code: number; output: string }> {
  const child = spawn(path, options.args, {
    cwd: options.workingDirectory,
    env: options.environment,
    stdio: ['ignore', options.quiet === true ? 'pipe' : 'inherit', options.quiet === true ? 'pipe' : 'inherit'],
  });
  let output = '';
  const collect = (chunk: Buffer) => {
    if (output.length < 64 * 1024) output += chunk.toString('utf8');
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>();
  child.on('error', reject);
  child.on('close', (code, signal) => resolve({ code, signal }));
  const { code, signal } = await promise;
  if (signal === 'SIGKILL' || code === 137) {
    throw new LifecycleError(exitCodes.outOfMemory, `${path} was killed: the build ran out of memory`);
  }
  return { code: code ?? 128, output };
}

export function diskIsFull(path: string): boolean {
  const { bavail, blocks } = statfsSync(path);
  return bavail < blocks / 200;
}
