/**
 * The main thread's side of the writer thread: group commit. Writes that come while a transaction is being committed
 * wait and go together in the next one, so many writers share each fsync.
 */
import { getCompileCacheDir } from 'node:module';
import { Worker } from 'node:worker_threads';
import { StoreError } from '../store.ts';
import { toStoreError } from './errors.ts';
import type { PlainError, Reply, Request, ThreadData, WriteOperation, WriteOutcome } from './protocol.ts';

/** One transaction's worth at most: bounds what a failure takes along, and the wait of the first write in it. */
const batchOperations = 1024;
const batchBytes = 4 << 20;

interface PendingWrite {
  verb: WriteOperation['verb'];
  key: string;
  value: Uint8Array;
  expected: number;
  /** Called in revision order, in one turn for all writes of a transaction. */
  done: (outcome: WriteOutcome) => void;
  failed: (error: StoreError) => void;
}

interface Writer {
  /** As the thread found them at start. */
  readonly revision: number;
  readonly compacted: number;
  write(pending: PendingWrite): void;
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}

interface WriterOptions {
  path: string;
  /** After the `done` calls of one transaction. */
  onCommitted: () => void;
  onDead: (error: StoreError) => void;
}

export async function openWriter(options: WriterOptions): Promise<Writer> {
  const action = `writing to ${options.path}`;
  const data: ThreadData = { path: options.path };
  // A thread does not inherit the compile cache; without it the thread would load a compiler for two small files.
  const cache = getCompileCacheDir();
  const worker = new Worker(new URL('./thread.ts', import.meta.url), {
    workerData: data,
    name: 'store',
    env: cache === undefined ? process.env : { ...process.env, NODE_COMPILE_CACHE: cache },
  });
  const queue: PendingWrite[] = [];
  let inFlight: PendingWrite[] | undefined;
  let scheduled = false;
  let dead: StoreError | undefined;
  let closing = false;
  let opened = false;
  const compactions = new Map<number, { resolve: () => void; reject: (error: StoreError) => void }>();
  let nextCompaction = 1;
  const ready = Promise.withResolvers<{ revision: number; compacted: number }>();
  const closed = Promise.withResolvers<void>();

  const fromThread = (error: PlainError): StoreError =>
    toStoreError(new Error(error.message), action, error.sqliteCode);
  const send = (request: Request, transfer: ArrayBuffer[] = []): void => worker.postMessage(request, transfer);

  function die(error: StoreError): void {
    if (dead) return;
    dead = error;
    ready.reject(error); // Does nothing when it was ready.
    for (const pending of queue.splice(0)) pending.failed(error);
    // Their transaction may have been committed before the thread ended.
    const unknown = new StoreError('unknown', error.message, { cause: error });
    for (const pending of inFlight ?? []) pending.failed(unknown);
    inFlight = undefined;
    for (const compaction of compactions.values()) compaction.reject(error);
    compactions.clear();
    closed.resolve();
    if (opened && !closing) options.onDead(error);
  }

  function flush(): void {
    scheduled = false;
    if (inFlight || dead || queue.length === 0) return;
    let bytes = 0;
    let size = 0;
    for (const pending of queue) {
      if (size === batchOperations || (size > 0 && bytes + pending.value.byteLength > batchBytes)) break;
      bytes += pending.value.byteLength;
      size++;
    }
    const batch = size === queue.length ? queue.splice(0) : queue.splice(0, size);
    const values = new Uint8Array(bytes);
    let offset = 0;
    const operations = batch.map((pending) => {
      const start = offset;
      values.set(pending.value, start);
      offset += pending.value.byteLength;
      return { verb: pending.verb, key: pending.key, expected: pending.expected, start, end: offset };
    });
    inFlight = batch;
    send({ type: 'write', operations, values: values.buffer }, [values.buffer]);
  }

  function finish(settle: (pending: PendingWrite, index: number) => void): void {
    const batch = inFlight ?? [];
    inFlight = undefined;
    batch.forEach(settle);
    options.onCommitted();
    if (queue.length > 0) flush();
    else if (closing) send({ type: 'close' });
  }

  worker.on('message', (reply: Reply) => {
    switch (reply.type) {
      case 'ready':
        ready.resolve(reply);
        break;
      case 'failed':
        die(toStoreError(new Error(reply.error.message), `opening ${options.path}`, reply.error.sqliteCode));
        break;
      case 'written':
        finish((pending, index) => {
          const outcome = reply.outcomes[index];
          if (outcome) pending.done(outcome);
        });
        break;
      case 'write-failed': {
        const error = fromThread(reply.error);
        finish((pending) => pending.failed(error));
        break;
      }
      case 'compacted': {
        const waiting = compactions.get(reply.id);
        compactions.delete(reply.id);
        if (reply.error) waiting?.reject(fromThread(reply.error));
        else waiting?.resolve();
        break;
      }
      case 'closed':
        closed.resolve();
        break;
    }
  });
  worker.on('error', (error) => die(toStoreError(error, `the writer thread of ${options.path} failed`)));
  worker.on('exit', () => die(toStoreError(new Error('it is closed'), action)));

  const found = await ready.promise;
  opened = true;
  return {
    ...found,
    write(pending) {
      if (dead || closing) {
        pending.failed(dead ?? toStoreError(new Error('it is closed'), action));
        return;
      }
      queue.push(pending);
      if (inFlight || scheduled) return;
      scheduled = true;
      // Later in this turn: what the caller writes in one go is one transaction.
      queueMicrotask(flush);
    },
    compact(revision) {
      if (dead || closing) return Promise.reject(dead ?? toStoreError(new Error('it is closed'), action));
      const id = nextCompaction++;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      compactions.set(id, { resolve, reject });
      send({ type: 'compact', id, revision });
      return promise;
    },
    async close() {
      if (!closing) {
        closing = true;
        if (!dead && !inFlight && queue.length === 0) send({ type: 'close' });
      }
      await closed.promise;
      await worker.terminate();
    },
  };
}
