/** What `bin/build` of a buildpack of ours is made of: its frame, its layers, the programs that it runs. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse, stringify } from 'smol-toml';
import type { Component } from './protocol.ts';
import { askRuntimes, isMounted } from './runtimes.ts';
import { AppError, detail, warning } from './words.ts';

/** Runs `main`; a mistake in the app is told in a sentence, and a runtime that is lacking begins the build again. */
export async function buildProgram(main: (layers: string) => Promise<void>): Promise<void> {
  const [layers] = process.argv.slice(2);
  if (layers === undefined) throw new Error('usage: build LAYERS PLATFORM PLAN');
  try {
    await main(layers);
  } catch (error) {
    process.exitCode = 1;
    if (error instanceof RuntimeLacks) {
      detail(error.message);
      askRuntimes(layers, [error.runtime]);
    } else if (error instanceof AppError) warning(error.message);
    else throw error;
  }
}

/** The build goes no further without this runtime, which nobody could know before. */
export class RuntimeLacks extends Error {
  readonly runtime: string;
  constructor(runtime: string, why: string) {
    super(why);
    this.runtime = runtime;
  }
}

export interface LayerTypes {
  launch?: boolean;
  build?: boolean;
  cache?: boolean;
}

/** States what a layer is; without this a layer is forgotten after the build. */
export function declareLayer(layers: string, name: string, types: LayerTypes, metadata: Record<string, string>): void {
  const { launch = false, build = false, cache = false } = types;
  writeFileSync(join(layers, `${name}.toml`), stringify({ types: { launch, build, cache }, metadata }));
}

/** What the last build stated; undefined for a layer that there was not. */
export function layerMetadata(layers: string, name: string): Record<string, unknown> | undefined {
  const path = join(layers, `${name}.toml`);
  if (!existsSync(path)) return undefined;
  return (parse(readFileSync(path, 'utf8')) as { metadata?: Record<string, unknown> }).metadata ?? {};
}

/** What the layer is made of (buildpack specification, "SBOM"). */
export function writeBill(layers: string, layer: string, components: readonly Component[]): void {
  const bill = { bomFormat: 'CycloneDX', specVersion: '1.5', components };
  writeFileSync(join(layers, `${layer}.sbom.cdx.json`), JSON.stringify(bill));
}

/** A HOME for the programs of a build: what they keep there never gets into the app. */
export function scratchHome(): string {
  return mkdtempSync(join(process.env['TMPDIR'] ?? '/tmp', 'home-'));
}

/** Variables of launched processes, by name and action: `PORT.default`. */
export function writeLaunchEnvironment(layer: string, variables: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(variables)) {
    const path = join(layer, 'env.launch', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, value);
  }
}

export interface LaunchProcess {
  type: string;
  /** A line for the shell. */
  command: string;
}

/** `web` is what an app starts with by default. */
export function writeProcesses(layers: string, processes: readonly LaunchProcess[]): void {
  const tables = processes.map(({ type, command }) => {
    detail(`${type === 'web' ? 'start command' : type}: ${command}`);
    return { type, command: ['bash', '-c', command], default: type === 'web' };
  });
  writeFileSync(join(layers, 'launch.toml'), stringify({ processes: tables }));
}

/** The same files and facts, the same key. A file that is not there counts as that. */
export function keyOf(facts: readonly unknown[], files: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(facts));
  for (const name of files) {
    hash.update(`\0${name}\0`);
    if (existsSync(name)) hash.update(readFileSync(name));
  }
  return hash.digest('hex');
}

export interface CommandOptions {
  environment: Record<string, string | undefined>;
  directory?: string;
  /** What the message calls it; default program and arguments. */
  shown?: string;
  /** Instead of the error that the status alone tells. */
  explain?: (output: string) => Error | undefined;
}

const KEPT_OUTPUT = 256 * 1024;

/** Shows what the program writes. @throws AppError when it fails */
export async function runCommand(program: string, args: readonly string[], options: CommandOptions): Promise<void> {
  const child = spawn(program, args, {
    env: options.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      process.stdout.write(text);
      output = (output + text).slice(-KEPT_OUTPUT);
    });
  }
  const { promise, resolve, reject } = Promise.withResolvers<[number | null, NodeJS.Signals | null]>();
  child.on('error', reject);
  child.on('close', (code, signal) => resolve([code, signal]));
  const [code, signal] = await promise;
  if (code === 0) return;
  if (signal === 'SIGKILL' || code === 137) {
    warning(`${program} was killed: most likely the build ran out of memory`);
    process.exit(137);
  }
  const shown = options.shown ?? [program, ...args].join(' ');
  throw options.explain?.(output) ?? new AppError(`the command above failed (${shown}: ${code ?? signal})`);
}

/** Asks for the runtime with the C compiler where the last build needed it, so that the next one finds it too. */
export function keepCompilers(layers: string, runtime: string): boolean {
  const mounted = isMounted(`${runtime}-dev`);
  if (mounted) askRuntimes(layers, [`${runtime}-dev`]);
  return mounted;
}

/**
 * For `explain`: what a program that found no C compiler has said begins the build again with one. Known only then, as most
 * dependencies come compiled.
 */
export function lacksCompiler(
  output: string,
  { said, runtime, what }: { said: RegExp; runtime: string; what: string },
): Error | undefined {
  if (!said.test(output) || isMounted(`${runtime}-dev`)) return undefined;
  return new RuntimeLacks(`${runtime}-dev`, `${what} has to be compiled: beginning again with a C compiler`);
}
