/**
 * When the write-ahead log is folded into the database, as the writer thread sees it: begun when so many bytes were written, done by
 * the checkpoint thread. The log begins anew only when all of it is in the database at a moment in which nobody writes, which
 * never comes by itself while writes go on: so when it is long, and little of it is left, the writer does that little itself.
 */
import type { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import type { CheckpointReply, ThreadData } from './protocol.ts';
import { checkpointOf } from './schema.ts';

/** Of what was written. */
const checkpointBytes = 4 << 20;
/** Pages of 4 KiB. */
const longLog = 4000;
const littleLeft = 100;
/** Under a load that is faster than the disk, little is never left. */
const mostPasses = 4;

export interface Checkpoints {
  /** Tells of a commit. */
  wrote(bytes: number): void;
  /** Nothing of it runs any more when it resolves. */
  close(): Promise<void>;
}

/** @param database  the writer's; it makes no checkpoints by itself from now on */
export function openCheckpoints(database: DatabaseSync, data: ThreadData): Checkpoints {
  database.exec('PRAGMA wal_autocheckpoint = 0');
  const ours = checkpointOf(database);
  let written = 0;
  let passes = 0;
  let worker: Worker | undefined;

  function begin(): void {
    // Not before there is something to do: a cluster at rest has its first checkpoint after an hour.
    worker ??= new Worker(new URL('./checkpoint-thread.ts', import.meta.url), { workerData: data, name: 'checkpoints' })
      .on('message', ended)
      // It could not open the database: the next one tries again.
      .on('error', () => {
        worker = undefined;
        passes = 0;
      });
    written = 0;
    passes++;
    worker.postMessage('checkpoint');
  }

  /** A turn of the event loop, so between two transactions. */
  function ended(reply: CheckpointReply | undefined): void {
    const left = reply === undefined ? 0 : reply.log - reply.checkpointed;
    if (reply === undefined || reply.log < longLog) {
      passes = 0;
    } else if (left <= littleLeft || passes >= mostPasses) {
      passes = 0;
      try {
        ours();
      } catch {
        // As in the thread.
      }
    } else begin();
  }

  return {
    wrote(bytes) {
      written += bytes;
      if (written >= checkpointBytes && passes === 0) begin();
    },
    async close() {
      await worker?.terminate();
    },
  };
}
