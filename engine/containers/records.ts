/**
 * Small JSON files that are replaced by rename: a reader sees the old or the new one, also after the engine was killed.
 * They are not synced: after a power failure no container runs, and one whose record is lost is removed as half-made.
 */
import { rename, readFile, writeFile } from 'node:fs/promises';
import { hasCode } from '../sys/libc.ts';

/** Two writers of one record do not meet in one file. */
let written = 0;

export async function writeRecord(path: string, value: unknown): Promise<void> {
  written += 1;
  const aside = `${path}.${process.pid}-${written}.new`;
  await writeFile(aside, JSON.stringify(value), { mode: 0o600 });
  await rename(aside, path);
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
