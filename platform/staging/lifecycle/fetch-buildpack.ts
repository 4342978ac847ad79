/**
 * Buildpacks by address: a git repository (`https://host/repository.git#branch-tag-or-commit`), or an archive (`.zip`,
 * `.tgz`, `.tar.gz`). They are fetched here, in the build's own container: by its unprivileged user, over its network,
 * which reaches nothing of the platform, and onto its disk, which has a limit. So what an archive or a server does by
 * malice it does to the build that asked for it.
 */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { LifecycleError } from './buildpack.ts';
import { cloneGit } from './git-clone.ts';
import { openHttp, saveHttp } from './http.ts';
import { exitCodes } from './protocol.ts';
import { step } from './words.ts';

const LARGEST_ARCHIVE = 1024 ** 3;
const LARGEST_REPOSITORY = 512 * 1024 ** 2;
const PATIENCE_SECONDS = 300;

/** Puts it into a directory that is made for it. */
export async function fetchBuildpack(address: string, directory: string): Promise<void> {
  step(`Fetching buildpack ${address}`);
  mkdirSync(directory, { recursive: true });
  const signal = AbortSignal.timeout(PATIENCE_SECONDS * 1000);
  try {
    await fetchTo(address, directory, signal);
  } catch (error) {
    const why = signal.aborted
      ? `it took more than ${PATIENCE_SECONDS} s`
      : error instanceof Error
        ? error.message
        : String(error);
    throw new LifecycleError(exitCodes.buildError, `buildpack ${address} could not be fetched: ${why}`);
  }
}

async function fetchTo(address: string, directory: string, signal: AbortSignal): Promise<void> {
  const target = new URL(address);
  const reference = decodeURIComponent(target.hash.slice(1));
  target.hash = '';
  const archive = /\.(zip|tgz|tar\.gz)$/i.exec(target.pathname)?.[1]?.toLowerCase();
  if (archive === undefined) {
    await cloneGit({
      url: target.href,
      reference: reference === '' ? undefined : reference,
      directory,
      http: { signal },
      mostBytes: LARGEST_REPOSITORY,
    });
    return;
  }
  const answer = await openHttp(target.href, { signal });
  if (answer.status !== 200) {
    answer.message.resume();
    throw new Error(`it answered ${answer.status}`);
  }
  const file = join(directory, '..', `${Date.now()}.${archive}`);
  await saveHttp(answer, file, LARGEST_ARCHIVE);
  const words =
    archive === 'zip'
      ? ['busybox', 'unzip', '-q', '-o', file, '-d', directory]
      : ['tar', '--extract', '--gzip', '--no-same-owner', `--file=${file}`, `--directory=${directory}`];
  await run(words, signal);
}

async function run([program = '', ...args]: string[], signal: AbortSignal): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], signal, killSignal: 'SIGKILL' });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.length < 4096) said += chunk.toString('utf8');
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.on('error', reject);
  child.on('close', resolve);
  const code = await promise;
  if (code !== 0) throw new Error(`it cannot be unpacked: ${said.trim().slice(0, 500)}`);
}
