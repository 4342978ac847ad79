/** What the main thread and the writer thread say to each other. */

/** A write: its value is `values` from `start` to `end` of the batch's one transferred buffer. */
export interface WriteOperation {
  verb: 'create' | 'update' | 'delete';
  key: string;
  /** -1: whatever is there. */
  expected: number;
  start: number;
  end: number;
}

/** `previous` is the revision that was replaced, or the one that is there when the write failed (0: nothing is). */
export interface WriteOutcome {
  failure: 'exists' | 'not-found' | 'conflict' | undefined;
  revision: number;
  created: number;
  previous: number;
}

export interface PlainError {
  message: string;
  /** SQLite's extended result code; 0 when the error is not SQLite's. */
  sqliteCode: number;
}

export type Request =
  | { type: 'write'; operations: WriteOperation[]; values: ArrayBuffer }
  | { type: 'compact'; id: number; revision: number }
  | { type: 'close' };

export type Reply =
  | { type: 'ready'; revision: number; compacted: number }
  | { type: 'failed'; error: PlainError }
  | { type: 'written'; outcomes: WriteOutcome[] }
  | { type: 'write-failed'; error: PlainError }
  | { type: 'compacted'; id: number; error: PlainError | undefined }
  | { type: 'closed' };

export interface ThreadData {
  path: string;
}

/** What a checkpoint found: pages in the log, and how many of them are in the database by now. */
export interface CheckpointReply {
  log: number;
  checkpointed: number;
}
