/**
 * The database: two tables and a row of bookkeeping.
 *
 * `history` is a log with one row for each write, in order, so that a write touches the end of one tree and not an index
 * of it. `current` says which row is a key's newest. The map as it was at an older revision is `current` with the rows
 * after that revision undone: every row knows the row that it replaced (`previous`, 0 for a create).
 */
import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { isMarked } from './made.ts';
import type { CheckpointReply } from './protocol.ts';

const formatVersion = 1;

const tables = `
  CREATE TABLE IF NOT EXISTS history (
    revision INTEGER PRIMARY KEY,
    previous INTEGER NOT NULL,
    created INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    key TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    value BLOB NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS current (
    key TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    created INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    format INTEGER NOT NULL,
    compacted INTEGER NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT;
  INSERT INTO state (id, format, compacted, revision) VALUES (1, ${formatVersion}, 0, 0) ON CONFLICT DO NOTHING;
`;

/** Only the owner may read it: there are Secrets in it. SQLite gives the files beside it the same mode. */
export function makePrivateFile(path: string): void {
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
}

/** Opens for writing, in the one thread that does, and makes the tables of a new database. */
export function openForWriting(path: string): DatabaseSync {
  makePrivateFile(path);
  const database = new DatabaseSync(path, { timeout: 5000 });
  // FULL: in WAL mode a commit is followed by fsync before anybody sees it. The file of the log
  // shrinks again when a burst made it grow; who writes for long makes no checkpoints itself (`checkpoints.ts`).
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 33554432;
    PRAGMA cell_size_check = ON;
  `);
  const format = database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'state'`).get()
    ? (database.prepare('SELECT format FROM state').get() as { format: number } | undefined)?.format
    : undefined;
  if (format !== undefined && format !== formatVersion) {
    throw new Error(
      `the database has format ${format}, this version reads ${formatVersion}: use the version that wrote it`,
    );
  }
  // Its log was lost, with all that was not in the file yet. SQLite cannot tell; 11 is its code for a damaged file.
  if (format === undefined && isMarked(path))
    throw Object.assign(new Error('it is empty, and was not before'), { errcode: 11 });
  if (format === undefined) database.exec(`BEGIN IMMEDIATE; ${tables} COMMIT;`);
  return database;
}

export function openForReading(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  database.exec('PRAGMA query_only = ON; PRAGMA cell_size_check = ON; PRAGMA cache_size = -4000;');
  return database;
}

/** A compaction may have taken the newest row: that of a delete. */
export const NEWEST_REVISION =
  'SELECT max(revision, (SELECT coalesce(max(revision), 0) FROM history)) AS revision FROM state';

export function newestRevision(database: DatabaseSync): number {
  return Number(database.prepare(NEWEST_REVISION).get()?.revision);
}

/** What of the log nobody reads any more goes into the database; waits for no reader and no writer. */
export function checkpointOf(database: DatabaseSync): () => CheckpointReply {
  const statement = database.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  return () => {
    const { log, checkpointed } = statement.get() as unknown as CheckpointReply;
    return { log, checkpointed };
  };
}
