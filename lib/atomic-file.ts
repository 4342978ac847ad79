/**
 * Durable files: what these functions acknowledged is there after a crash, whole, or the old content is.
 *
 * Only the sync leaves this thread: the other calls touch memory, and handing one to another thread and back costs more
 * than the call itself (of small files written at once, two thirds of the processor time).
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsync as fsyncCallback, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { coalesced } from './coalesced.ts';

/** Files with this prefix were being written when the process died; whoever owns the directory removes them at open. */
export const ASIDE_PREFIX = '.aside-';

const fsync = promisify(fsyncCallback);
const syncs = new Map<string, { sync: () => Promise<void>; waiting: number }>();

/** Makes creations, renames and removals in a directory durable. Calls at the same time share the work. */
export async function syncDirectory(directory: string): Promise<void> {
  const entry = syncs.get(directory) ?? { sync: coalesced(() => syncOnce(directory)), waiting: 0 };
  syncs.set(directory, entry);
  entry.waiting += 1;
  try {
    await entry.sync();
  } finally {
    entry.waiting -= 1;
    if (entry.waiting === 0) syncs.delete(directory);
  }
}

async function syncOnce(directory: string): Promise<void> {
  const file = openSync(directory, 'r');
  try {
    await fsync(file);
  } finally {
    closeSync(file);
  }
}

/** A new file that is durable but for its name. @throws where there is one; after a failure the caller removes it */
export async function writeNewFile(path: string, content: string | Uint8Array, mode: number): Promise<void> {
  const file = openSync(path, 'wx', mode);
  try {
    writeFileSync(file, content);
    await fsync(file);
  } finally {
    closeSync(file);
  }
}

/** Replaces a file: written aside in the same directory, synced, renamed, directory synced. Readers see old or new, never a part. */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number } = {},
): Promise<void> {
  const directory = dirname(path);
  const aside = join(directory, `${ASIDE_PREFIX}${randomBytes(6).toString('hex')}-${basename(path).slice(0, 100)}`);
  try {
    await writeNewFile(aside, content, options.mode ?? 0o644);
    renameSync(aside, path);
  } catch (error) {
    rmSync(aside, { force: true });
    throw error;
  }
  await syncDirectory(directory);
}
