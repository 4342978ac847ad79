import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { processStartTime } from './process-start-time.ts';

/** Somebody else holds the lock and does not let go. */
export class LockTimeout extends Error {
  readonly holder: number;
  constructor(path: string, holder: number) {
    super(`${path} is held by process ${holder}`);
    this.name = 'LockTimeout';
    this.holder = holder;
  }
}

/**
 * Holds a lock that is a file with the holder's process id and when it began; one whose holder has died is taken over. Gives what lets it go.
 * Rejects with `LockTimeout` after `milliseconds`, with 0 at once. Processes of one host only.
 */
export async function lockFile(path: string, milliseconds: number): Promise<() => void> {
  const until = Date.now() + milliseconds;
  for (;;) {
    if (tryLock(path)) return () => rmSync(path, { force: true });
    const holder = holderOf(path);
    if (holder === undefined) continue;
    if (isGone(holder)) await removeDead(path, holder, until - Date.now());
    else if (Date.now() >= until) throw new LockTimeout(path, holder.pid);
    else await delay(50);
  }
}

/** Written aside and linked: whoever sees the lock sees its holder. */
function tryLock(path: string): boolean {
  const aside = `${path}.${randomUUID()}`;
  writeFileSync(aside, `${process.pid} ${processStartTime(process.pid)}\n`);
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/**
 * Of two who find the holder dead, the later would remove the lock that the earlier has taken meanwhile. So a dead holder's lock is removed
 * under a lock of its own, by who looks again under it: nobody else may remove it, and the dead take none. Who dies here is found dead there.
 */
async function removeDead(path: string, dead: Holder, milliseconds: number): Promise<void> {
  const release = await lockFile(`${path}.${dead.text.replaceAll(/[^0-9]+/g, '-')}`, milliseconds);
  try {
    if (holderOf(path)?.text === dead.text) rmSync(path, { force: true });
  } finally {
    release();
  }
}

interface Holder {
  /** As it stands in the file: of no other process, ever. */
  text: string;
  /** Of nobody where the file has none: its host lost power before it was on disk. */
  pid: number;
  startTime: string | undefined;
}

/** Its number may be another process's by now. */
function isGone({ pid, startTime }: Holder): boolean {
  const now = processStartTime(pid);
  return now === undefined || (startTime !== undefined && startTime !== now);
}

/** Undefined when it was let go meanwhile. */
function holderOf(path: string): Holder | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim();
    const [pid, startTime] = text.split(' ');
    return { text, pid: Number(pid), startTime };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
