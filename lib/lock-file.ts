import { randomUUID } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

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
 * Holds a lock that is a file with the holder's process id; one whose holder has died is taken over. Gives what lets it go.
 * Rejects with `LockTimeout` after `milliseconds`. Processes of one host only.
 */
export async function lockFile(path: string, milliseconds: number): Promise<() => void> {
  const until = Date.now() + milliseconds;
  for (;;) {
    if (tryLock(path)) return () => rmSync(path, { force: true });
    const holder = holderOf(path);
    if (holder === undefined) continue;
    if (!existsSync(`/proc/${holder}`)) rmSync(path, { force: true });
    else if (Date.now() > until) throw new LockTimeout(path, holder);
    else await delay(50);
  }
}

/** Written aside and linked: whoever sees the lock sees its holder. */
function tryLock(path: string): boolean {
  const aside = `${path}.${randomUUID()}`;
  writeFileSync(aside, `${process.pid}\n`);
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

/** Undefined when it was let go meanwhile. */
function holderOf(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8')) || undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
