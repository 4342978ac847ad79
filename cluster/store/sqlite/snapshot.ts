import type { SnapshotPage } from '../store.ts';
import { toStoreError } from './errors.ts';
import { type Row, toEntry } from './reader.ts';
import { newestRevision, openForReading } from './schema.ts';

const PAGE = 500;

/**
 * The database as it is now, from a connection of its own: another process may be writing to it. What is replaced meanwhile stays in the
 * write-ahead log until this ends.
 * @throws StoreError
 */
export async function* sqliteSnapshot(path: string): AsyncGenerator<SnapshotPage> {
  try {
    yield* pages(path);
  } catch (error) {
    throw toStoreError(error, `reading ${path}`);
  }
}

async function* pages(path: string): AsyncGenerator<SnapshotPage> {
  const database = openForReading(path);
  try {
    database.exec('BEGIN');
    const revision = newestRevision(database);
    const page = database.prepare(
      `SELECT h.* FROM current c JOIN history h ON h.revision = c.revision WHERE c.key > ? ORDER BY c.key LIMIT ${PAGE}`,
    );
    for (let last = ''; ; ) {
      const entries = (page.all(last) as unknown as Row[]).map(toEntry);
      yield { revision, entries };
      if (entries.length < PAGE) return;
      last = entries.at(-1)?.key ?? '';
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    database.close();
  }
}
