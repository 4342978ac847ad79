/**
 * Durable files: what these functions acknowledged is there after a crash, whole, or the old content is.
 */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { coalesced } from './coalesced.ts';

/** Files with this prefix were being written when the process died; whoever owns the directory removes them at open. */
export const ASIDE_PREFIX = '.aside-';

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
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
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
    const handle = await open(aside, 'wx', options.mode ?? 0o644);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
  await syncDirectory(directory);
}
