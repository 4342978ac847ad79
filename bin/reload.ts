/**
 * Asks a running server to take up keys that have changed, and waits until it has: a file with a name for the request, a signal, and a
 * file of the same name with what came of it, both below the instance's run directory.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HostError } from './host-error.ts';
import type { Instance } from './instance.ts';
import { readyPid } from './supervise.ts';

interface Outcome {
  request: string;
  /** What went wrong. */
  error?: string;
  /** What was done. */
  said?: string;
}

const PATIENCE = 600_000;
const requestFile = ({ runDirectory }: Instance): string => join(runDirectory, 'reload');
const outcomeFile = ({ runDirectory }: Instance): string => join(runDirectory, 'reloaded');

/** In the server: `work` says what it did. Returns how to stop. */
export function onReload(instance: Instance, work: () => Promise<string>): () => void {
  const reload = async (): Promise<void> => {
    const request = read(requestFile(instance));
    const outcome = await work().then(
      (said): Outcome => ({ request, said }),
      (error: unknown): Outcome => ({ request, error: error instanceof Error ? error.message : String(error) }),
    );
    writeFileSync(`${outcomeFile(instance)}.new`, JSON.stringify(outcome), { mode: 0o600 });
    renameSync(`${outcomeFile(instance)}.new`, outcomeFile(instance));
  };
  let last = Promise.resolve();
  const onSignal = (): void => void (last = last.then(reload));
  process.on('SIGHUP', onSignal);
  return () => process.off('SIGHUP', onSignal);
}

/** Undefined where no server runs. @throws HostError when it could not */
export async function requestReload(instance: Instance): Promise<string | undefined> {
  const pid = readyPid(instance, 'server');
  if (pid === undefined) return undefined;
  const request = randomUUID();
  writeFileSync(requestFile(instance), request, { mode: 0o600 });
  const watcher = watch(instance.runDirectory);
  try {
    const outcome = new Promise<Outcome>((resolve, reject) => {
      const look = (): void => {
        const found = JSON.parse(read(outcomeFile(instance)) || '{}') as Partial<Outcome>;
        if (found.request === request) resolve(found as Outcome);
        else if (readyPid(instance, 'server') !== pid) reject(new Error('it ended'));
      };
      watcher.on('change', look);
      AbortSignal.timeout(PATIENCE).addEventListener('abort', () => reject(new Error('it does not answer')));
    });
    process.kill(pid, 'SIGHUP');
    const { error, said } = await outcome;
    if (error !== undefined) throw new Error(error);
    return said ?? '';
  } catch (cause) {
    throw new HostError(
      'not-ready',
      `The server did not take up the keys: ${(cause as Error).message}.`,
      'It does at its next start; give the command again to be sure.',
      { cause },
    );
  } finally {
    watcher.close();
    for (const file of [requestFile(instance), outcomeFile(instance)]) rmSync(file, { force: true });
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
