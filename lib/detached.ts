/**
 * Programs that outlive us: each in a session of its own, and where systemd runs the machine in a unit of its own, so that no
 * restart of ours takes it down. Whoever starts one finds it again by what it leaves (a socket, a pid file), not by us.
 */
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const SEARCH_PATH = `${process.env['PATH'] ?? ''}:${SYSTEM_PATH}`;
const run = promisify(execFile);

export interface DetachedProgram {
  /** Of the unit, without its ending. */
  unit: string;
  program: string;
  words: string[];
  /** File that takes what it prints; a unit's goes to the journal. */
  output: string;
  /** systemd.exec(5), `Name=value`. */
  properties: string[];
}

export interface Started {
  /** Resolves with what it said when it ended; never for one in a unit of systemd. */
  ended: Promise<string>;
}

export function underSystemd(): boolean {
  return existsSync('/run/systemd/system');
}

export async function startDetached(options: DetachedProgram): Promise<Started> {
  if (underSystemd()) {
    await startUnit(options);
    return { ended: new Promise(() => {}) };
  }
  await using output = await open(options.output, 'w', 0o600);
  const child = spawn(options.program, options.words, {
    detached: true,
    stdio: ['ignore', output.fd, output.fd],
    env: { PATH: SEARCH_PATH },
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => {
      readFile(options.output, 'utf8').then(
        (text) => resolve(text.trim() || `it ended with ${signal ?? code}`),
        () => resolve(`it ended with ${signal ?? code}`),
      );
    });
  });
  child.unref();
  return { ended };
}

async function startUnit({ unit, program, words, properties }: DetachedProgram): Promise<void> {
  // A unit that failed keeps its name until it is reset.
  await run('systemctl', ['reset-failed', `${unit}.service`]).catch(() => undefined);
  const flags = properties.flatMap((property) => ['--property', property]);
  const path =
    SYSTEM_PATH.split(':')
      .map((folder) => `${folder}/${program}`)
      .find(existsSync) ?? program;
  await run('systemd-run', ['--quiet', '--collect', `--unit=${unit}`, ...flags, path, ...words]);
}

/** Where it ran in a unit. Idempotent. */
export async function stopUnit(unit: string): Promise<void> {
  if (underSystemd()) await run('systemctl', ['stop', `${unit}.service`]).catch(() => undefined);
}
