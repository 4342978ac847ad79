/** Runs mmdebstrap and gives its archive as it is made. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { enclosed } from '#lib/enclosed.ts';
import { findProgram } from '#lib/find-program.ts';
import { StagingError } from '../staging.ts';
import { aptTransportOptions, sourcesFor } from './apt-sources.ts';

export interface MmdebstrapOptions {
  /** For messages: `build base stack`. */
  action: string;
  suite: string;
  packages: readonly string[];
  /** Shell patterns: packages whose files are taken out again. */
  leftOut: readonly string[];
  /** Packages of a web server, to be put beside. */
  webServer?: readonly string[];
  /** Scripts that run first when the packages are unpacked, with the new root as their argument. */
  hooks?: readonly string[];
  /** An extended regular expression: packages of the release that are listed in the notes. */
  offered?: string;
  /** Holds the unpacked tree (about 100 MB) while it works. */
  temporaryDirectory: string;
  signal?: AbortSignal;
}

/** @throws StagingError when mmdebstrap is missing or fails; its message has the last lines that it wrote */
export async function* mmdebstrap(options: MmdebstrapOptions): AsyncGenerator<Buffer> {
  const directory = await mkdtemp(join(options.temporaryDirectory, 'stack-'));
  try {
    const sources = await sourcesFor(options.suite);
    const sourcesFile = join(directory, 'host.sources');
    await writeFile(sourcesFile, `${sources}\n`);
    const args = [
      '--mode=root',
      '--variant=extract',
      '--format=tar',
      '--quiet',
      `--include=${options.packages.join(',')}`,
      ...[...(options.hooks ?? []), join(import.meta.dirname, 'collect-packages.sh')].map(
        (hook) => `--extract-hook=${hook}`,
      ),
      ...(await aptTransportOptions()).map((option) => `--aptopt=${option}`),
      options.suite,
      '-',
      ...(sources === '' ? [] : [sourcesFile]),
    ];
    yield* output(args, directory, options);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

async function* output(
  args: string[],
  directory: string,
  { action, leftOut, webServer = [], offered = '', signal }: MmdebstrapOptions,
): AsyncGenerator<Buffer> {
  signal?.throwIfAborted();
  if (findProgram('mmdebstrap') === undefined) {
    throw new StagingError('internal', `${action}: mmdebstrap is not installed; run apt-get install mmdebstrap`);
  }
  // It mounts what is the kernel's in the tree that it makes.
  const child = spawn(...enclosed('env', [temporaryIn(directory), 'mmdebstrap', ...args]), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      LC_ALL: 'C.UTF-8',
      SOURCE_DATE_EPOCH: '315532801',
      DEBIAN_FRONTEND: 'noninteractive',
      LEFT_OUT: leftOut.join(' '),
      WEB_SERVER: webServer.join(' '),
      OFFERED: offered,
      NODE: process.execPath,
    },
  });
  const exited = new Promise<number | string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, name) => resolve(code ?? name ?? 'unknown'));
  });
  exited.catch(() => undefined);
  let last = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    last = (last + text).slice(-4000);
  });
  const stop = () => child.kill('SIGKILL');
  signal?.addEventListener('abort', stop, { once: true });
  let whole = false;
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    whole = true;
    const code = await exited;
    signal?.throwIfAborted();
    if (code !== 0) throw new StagingError('internal', `${action}: mmdebstrap ended with ${code}: ${lastLines(last)}`);
  } finally {
    signal?.removeEventListener('abort', stop);
    if (!whole) {
      stop();
      await exited.catch(() => undefined);
    }
  }
}

/** Its processes are known by it, as a word of their command. */
function temporaryIn(directory: string): string {
  return `TMPDIR=${directory}`;
}

/**
 * For who removes a directory: what the commands of those that work below it have in them. They end with whoever has started them, but
 * for one that was killed before its program could ask for that.
 */
export function workingBelow(directory: string): string {
  return temporaryIn(`${directory}/`);
}

function lastLines(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-6).join('; ') || 'it wrote no reason';
}
