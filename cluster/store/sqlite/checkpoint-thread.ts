/**
 * The checkpoint thread: folds the write-ahead log into the database while the writer goes on. Most of a checkpoint is the fsync of
 * pages that lie all over the file; a writer that did it itself would keep every write waiting for tens of milliseconds.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import type { CheckpointReply, ThreadData } from './protocol.ts';
import { checkpointOf } from './schema.ts';

const port = parentPort;
if (!port) throw new Error('checkpoint-thread.ts runs in a worker thread only');

const database = new DatabaseSync((workerData as ThreadData).path, { timeout: 5000 });
database.exec('PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON; PRAGMA cache_size = -256;');
const checkpoint = checkpointOf(database);

port.on('message', () => {
  let reply: CheckpointReply | undefined;
  try {
    reply = checkpoint();
  } catch {
    // A full or failing disk: the log keeps what is in it, the writer says what it thinks of the disk, and the next one tries again.
  }
  port.postMessage(reply);
});
