import { crc32 } from 'node:zlib';
import type { SnapshotPage } from '../store.ts';
import { toStoreError } from './errors.ts';
import { openForWriting } from './schema.ts';

/**
 * A new database with these keys, at revisions after `after`, without history; whole on disk when it resolves. Nothing else may
 * have the file open, and a half-made one is not to be used: make it aside. Returns the number of keys.
 * @throws StoreError
 */
export async function copyIntoSqlite(path: string, pages: AsyncIterable<SnapshotPage>, after: number): Promise<number> {
  const database = openForWriting(path);
  try {
    const row = database.prepare(
      'INSERT INTO history (revision, previous, created, deleted, key, checksum, value) VALUES (?, 0, ?, 0, ?, ?, ?)',
    );
    const current = database.prepare('INSERT INTO current (key, revision, created) VALUES (?, ?, ?)');
    let revision = after;
    for await (const { entries } of pages) {
      database.exec('BEGIN IMMEDIATE');
      for (const { key, value } of entries) {
        revision++;
        row.run(revision, revision, key, crc32(value), value);
        current.run(key, revision, revision);
      }
      database.exec('COMMIT');
    }
    database.exec(`UPDATE state SET compacted = ${revision}, revision = ${revision}`);
    return revision - after;
  } catch (error) {
    throw toStoreError(error, `copying into ${path}`);
  } finally {
    // The last connection: it folds the log into the database and removes it.
    database.close();
  }
}
