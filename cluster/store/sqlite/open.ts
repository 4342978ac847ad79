/**
 * The SQLite driver of the store: one file, one thread that writes. Reads and watches are served on the thread that
 * opened it, see `reader.ts`; writes are committed together by the writer thread, see `writer.ts`.
 */
import { type Entry, type ListResult, type Store, StoreError, type StoreEvent, type WatchBatch } from '../store.ts';
import { createWatchHub, type ReplayRange, tooOld } from '../watch-hub.ts';
import { toStoreError } from './errors.ts';
import { createHistoryPolicy, type HistoryLimits } from '../history-policy.ts';
import { markAsMade, requireNotLost } from './made.ts';
import type { WriteOperation, WriteOutcome } from './protocol.ts';
import { openReader, type PageQuery } from './reader.ts';
import { sqliteSnapshot } from './snapshot.ts';
import { openWriter } from './writer.ts';

export interface SqliteStoreOptions {
  /** The database file; its directory must be there. `-wal` and `-shm` files stand beside it while it is open. */
  path: string;
  history?: HistoryLimits;
  log?: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** A list without a limit is read in pages of so many, so that it never holds the thread for long. */
const pageSize = 500;
const replayChunk = 500;
const printableAscii = /^[\x21-\x7e]+$/;
const noValue = new Uint8Array(0);

function checkKey(key: string): void {
  if (!printableAscii.test(key)) throw new TypeError(`store key ${JSON.stringify(key)}: use printable ASCII`);
}

/** Replaced values that watchers will be told of were mostly written a moment ago. */
function createRecent(entryLimit: number, byteLimit: number) {
  const entries = new Map<string, Entry>();
  let bytes = 0;
  function drop(key: string): void {
    bytes -= entries.get(key)?.value.byteLength ?? 0;
    entries.delete(key);
  }
  return {
    drop,
    take: (key: string, revision: number): Entry | undefined => {
      const entry = entries.get(key);
      return entry?.revision === revision ? entry : undefined;
    },
    put: (entry: Entry): void => {
      drop(entry.key);
      entries.set(entry.key, entry);
      bytes += entry.value.byteLength;
      for (const oldest of entries.keys()) {
        if (entries.size <= entryLimit && bytes <= byteLimit) return;
        drop(oldest);
      }
    },
  };
}

/** @throws StoreError `corrupt`, `unavailable` */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { path } = options;
  const log = options.log ?? (() => undefined);
  requireNotLost(path);
  let committed: StoreEvent[] = [];
  let newest = 0;
  let closed: StoreError | undefined;
  const writer = await openWriter({
    path,
    onCommitted: () => {
      const events = committed;
      committed = [];
      hub.publish(events, newest);
      const target = policy.next(hub.revision, compacted);
      if (target !== undefined) compactInBackground(target);
    },
    onDead: (error) => {
      log('error', 'the store cannot be written any more', { error: error.message });
      hub.close(error);
    },
  });
  const reader = await (async () => openReader(path))().catch(async (error: unknown) => {
    await writer.close();
    throw toStoreError(error, `opening ${path}`);
  });
  try {
    markAsMade(path);
  } catch (error) {
    // A full disk keeps nobody from reading. The next one that opens it tries again.
    log('warn', 'the database was not marked as made', { error: String(error) });
  }
  newest = writer.revision;
  let compacted = writer.compacted;
  const policy = createHistoryPolicy(options.history ?? {});
  const recent = createRecent(256, 4 << 20);
  const hub = createWatchHub({
    revision: newest,
    compacted: () => compacted,
    replay,
  });

  /** In pieces, so that others get their turn. */
  async function* replay({ prefix, after, until, signal }: ReplayRange): AsyncGenerator<WatchBatch> {
    for (let last = after; ; ) {
      if (last < compacted) throw tooOld(prefix, last, compacted);
      const events = read(() => reader.events(prefix, last, until, replayChunk));
      last = events.length < replayChunk ? until : (events.at(-1)?.entry.revision ?? until);
      if (events.length > 0) yield { events, revision: last };
      if (last >= until || signal.aborted) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  function read<T>(query: () => T): T {
    if (closed) throw closed;
    try {
      return query();
    } catch (error) {
      throw toStoreError(error, `reading ${path}`);
    }
  }

  function replaced(key: string, revision: number): Entry | undefined {
    return recent.take(key, revision) ?? read(() => reader.entryAt(revision));
  }

  function compactInBackground(target: number): void {
    compact(target).catch((error: unknown) => {
      if (!closed) log('warn', 'history was not compacted', { error: String(error) });
    });
  }

  async function compact(revision: number): Promise<void> {
    // What was written may not have been told here yet.
    const last = revision > newest ? read(() => reader.revision()) : newest;
    if (revision > last) throw new StoreError('future', `compact at revision ${revision}: the newest is ${last}`);
    if (revision <= compacted) return;
    compacted = revision;
    await writer.compact(revision);
  }

  function failure(verb: string, key: string, expected: number, outcome: WriteOutcome): StoreError {
    const entry = outcome.previous > 0 ? read(() => reader.entryAt(outcome.previous) ?? reader.get(key)) : undefined;
    const what = `${verb} ${key}`;
    if (outcome.failure === 'exists') return new StoreError('exists', `${what}: the key exists`, entry && { entry });
    if (outcome.failure === 'not-found') return new StoreError('not-found', `${what}: no such key`);
    const message = `${what}: the key has revision ${outcome.previous}, not ${expected}`;
    return new StoreError('conflict', message, entry && { entry });
  }

  function succeeded(verb: WriteOperation['verb'], key: string, value: Uint8Array, outcome: WriteOutcome): Entry {
    newest = outcome.revision;
    const watched = hub.wants(key);
    const previous =
      outcome.previous > 0 && (watched || verb === 'delete') ? replaced(key, outcome.previous) : undefined;
    const last = verb === 'delete' ? (previous?.value ?? noValue) : value;
    const entry: Entry = { key, value: last, revision: outcome.revision, createRevision: outcome.created };
    if (verb === 'delete') recent.drop(key);
    else if (watched) recent.put(entry);
    if (watched) committed.push({ type: verb, entry, previous });
    return entry;
  }

  function write(verb: WriteOperation['verb'], key: string, value: Uint8Array, expected: number): Promise<Entry> {
    checkKey(key);
    const { promise, resolve, reject } = Promise.withResolvers<Entry>();
    const done = (outcome: WriteOutcome): void => {
      try {
        if (outcome.failure === undefined) resolve(succeeded(verb, key, value, outcome));
        else reject(failure(verb, key, expected, outcome));
      } catch (error) {
        reject(error);
      }
    };
    writer.write({ verb, key, value, expected, done, failed: reject });
    return promise;
  }

  async function listPages(query: Omit<PageQuery, 'limit' | 'compacted'>, limit: number): Promise<ListResult> {
    const entries: Entry[] = [];
    let { startAfter, revision } = query;
    for (;;) {
      const size = Math.min(pageSize, limit - entries.length);
      const page = read(() => reader.page({ ...query, startAfter, revision, limit: size, compacted }));
      for (const entry of page.entries) entries.push(entry);
      revision = page.revision;
      const last = page.entries.at(-1);
      if (page.remaining === 0 || !last || entries.length >= limit) {
        return { entries, revision, remaining: page.remaining };
      }
      startAfter = last.key;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  return {
    create: async (key, value) => write('create', key, value, -1),
    update: async (key, value, expectedRevision) => write('update', key, value, expectedRevision),
    delete: async (key, expectedRevision = -1) => write('delete', key, noValue, expectedRevision),
    get: async (key) => read(() => reader.get(key)),
    async list(prefix, { limit = Number.POSITIVE_INFINITY, startAfter = '', revision } = {}) {
      for (;;) {
        try {
          return await listPages({ prefix, startAfter, revision }, limit);
        } catch (error) {
          // Compaction overtook a list that asked for no revision: begin again.
          if (revision !== undefined || !(error instanceof StoreError) || error.code !== 'compacted') throw error;
        }
      }
    },
    watch: (prefix, watchOptions) => hub.watch(prefix, watchOptions),
    revision: async () => read(() => reader.revision()),
    compact,
    async *snapshot() {
      if (closed) throw closed;
      yield* sqliteSnapshot(path);
    },
    async close() {
      if (closed) return;
      closed = new StoreError('unavailable', `the store ${path} is closed`);
      hub.close(closed);
      // Last out is the writer: it folds the log into the database.
      reader.close();
      await writer.close();
    },
  };
}
