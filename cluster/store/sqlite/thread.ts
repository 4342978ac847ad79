/**
 * The writer thread. Each `write` message becomes one transaction: it is committed and on disk before the reply goes.
 * Compaction runs in small steps between them, so that no write waits for long.
 */
import type { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { crc32 } from 'node:zlib';
import { openCheckpoints } from './checkpoints.ts';
import type { PlainError, Reply, Request, ThreadData, WriteOperation, WriteOutcome } from './protocol.ts';
import { newestRevision, openForWriting } from './schema.ts';

/** Revisions: a write waits for no longer than forgetting these takes. */
const compactionStep = 200;
/** Each write changes one of `current` besides what it adds to `history`, each commit the root, the last branch and the last leaf of that. */
const pageSize = 4096;
const pagesOfCommit = 3;
const port = parentPort;
if (!port) throw new Error('thread.ts runs in a worker thread only');
const send = (reply: Reply): void => port.postMessage(reply);

function plain(error: unknown): PlainError {
  const code = (error as { errcode?: unknown }).errcode;
  return {
    message: error instanceof Error ? error.message : String(error),
    sqliteCode: typeof code === 'number' ? code : 0,
  };
}

function run(database: DatabaseSync): void {
  const find = database.prepare('SELECT revision, created FROM current WHERE key = ?');
  const append = database.prepare(
    'INSERT INTO history (revision, previous, created, deleted, key, checksum, value) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const add = database.prepare('INSERT INTO current (key, revision, created) VALUES (?, ?, ?)');
  const change = database.prepare('UPDATE current SET revision = ? WHERE key = ?');
  const remove = database.prepare('DELETE FROM current WHERE key = ?');
  const begin = database.prepare('BEGIN IMMEDIATE');
  const commit = database.prepare('COMMIT');
  const nothing = new Uint8Array(0);
  let revision = newestRevision(database);
  let compacted = Number(database.prepare('SELECT compacted FROM state').get()?.compacted);
  const checkpoints = openCheckpoints(database, workerData as ThreadData);
  const compactions: { id: number; revision: number }[] = [];

  function apply(operation: WriteOperation, values: ArrayBuffer, next: number): WriteOutcome {
    const row = find.get(operation.key) as { revision: number; created: number } | undefined;
    const there = { revision: 0, created: row?.created ?? 0, previous: row?.revision ?? 0 };
    if (operation.verb === 'create') {
      if (row) return { failure: 'exists', ...there };
      const value = new Uint8Array(values, operation.start, operation.end - operation.start);
      append.run(next, 0, next, 0, operation.key, crc32(value), value);
      add.run(operation.key, next, next);
      return { failure: undefined, revision: next, created: next, previous: 0 };
    }
    if (!row) return { failure: 'not-found', ...there };
    if (operation.expected !== -1 && operation.expected !== row.revision) return { failure: 'conflict', ...there };
    if (operation.verb === 'update') {
      const value = new Uint8Array(values, operation.start, operation.end - operation.start);
      append.run(next, row.revision, row.created, 0, operation.key, crc32(value), value);
      change.run(next, operation.key);
    } else {
      append.run(next, row.revision, row.created, 1, operation.key, 0, nothing);
      remove.run(operation.key);
    }
    return { failure: undefined, revision: next, created: row.created, previous: row.revision };
  }

  function rollback(): void {
    if (database.isTransaction) database.exec('ROLLBACK');
  }

  /**
   * After a commit that failed while it was written, its frames may lie whole behind the end of the log, where recovery
   * after a crash would find them. A small transaction writes over them.
   */
  function overwriteFailedCommit(): void {
    try {
      database.exec('BEGIN IMMEDIATE; UPDATE state SET format = format; COMMIT;');
    } catch {
      rollback(); // The disk still refuses; the next write that succeeds does the same.
    }
  }

  function write(operations: WriteOperation[], values: ArrayBuffer): void {
    let next = revision;
    try {
      begin.run();
      const outcomes = operations.map((operation) => {
        const outcome = apply(operation, values, next + 1);
        if (outcome.failure === undefined) next++;
        return outcome;
      });
      commit.run();
      revision = next;
      send({ type: 'written', outcomes });
      checkpoints.wrote(values.byteLength + pageSize * (pagesOfCommit + operations.length));
    } catch (error) {
      rollback();
      overwriteFailedCommit();
      send({ type: 'write-failed', error: plain(error) });
    }
  }

  /** A row is needed until the revision that replaced it is compacted; the row of a delete, until it is itself. */
  function compactStep(): void {
    const job = compactions[0];
    if (!job) return;
    if (job.revision <= compacted) {
      compactions.shift();
      send({ type: 'compacted', id: job.id, error: undefined });
    } else {
      const until = Math.min(job.revision, compacted + compactionStep);
      try {
        database.exec(`
          BEGIN IMMEDIATE;
          UPDATE state SET compacted = ${until}, revision = ${revision};
          DELETE FROM history WHERE revision IN
            (SELECT previous FROM history WHERE revision > ${compacted} AND revision <= ${until} AND previous > 0);
          DELETE FROM history WHERE revision > ${compacted} AND revision <= ${until} AND deleted = 1;
          COMMIT;`);
        compacted = until;
        checkpoints.wrote(pageSize * compactionStep);
      } catch (error) {
        rollback();
        compactions.shift();
        send({ type: 'compacted', id: job.id, error: plain(error) });
      }
    }
    if (compactions.length > 0) setImmediate(compactStep);
  }

  async function close(): Promise<void> {
    await checkpoints.close();
    database.close();
    send({ type: 'closed' });
    port?.close();
  }

  port?.on('message', (request: Request) => {
    switch (request.type) {
      case 'write':
        write(request.operations, request.values);
        break;
      case 'compact':
        compactions.push({ id: request.id, revision: request.revision });
        if (compactions.length === 1) setImmediate(compactStep);
        break;
      case 'close':
        compactions.length = 0;
        void close();
        break;
    }
  });
  send({ type: 'ready', revision, compacted });
}

try {
  run(openForWriting((workerData as ThreadData).path));
} catch (error) {
  send({ type: 'failed', error: plain(error) });
  port.close();
}
