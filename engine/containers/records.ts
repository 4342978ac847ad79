/**
 * Small JSON files that are replaced by rename: a reader sees the old or the new one, also after the engine was killed.
 * They are not synced: after a power failure no container runs, and one whose record is lost is removed as half-made.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../sys/libc.ts';

/** Two writers of one record do not meet in one file. */
let written = 0;

/** Synchronous, as every small write on the way of a start: tens of microseconds, where a turn of the thread pool may take milliseconds. */
export function writeRecord(path: string, value: unknown): void {
  written += 1;
  const aside = `${path}.${process.pid}-${written}.new`;
  writeFileSync(aside, JSON.stringify(value), { mode: 0o600 });
  renameSync(aside, path);
}

/** Takes away what was being written into a directory's records when an engine was killed. For the open, when nobody writes. */
export async function removeAsides(directory: string): Promise<void> {
  for (const name of await readdir(directory))
    if (/\.\d+-\d+\.new$/.test(name)) await rm(join(directory, name), { force: true });
}

/** Undefined where there is no record, or where it is not whole. */
export async function readRecord<T>(path: string, isValid: (value: unknown) => value is T): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
  try {
    const value: unknown = JSON.parse(text);
    return isValid(value) ? value : undefined;
  } catch {
    // Cut short by a power failure: as good as none.
    return undefined;
  }
}
