/**
 * One write: a transaction that compares the key's revision, and the truth about it when etcd's answer is lost.
 *
 * Every write also compares the revision of the store's marker. When an answer is lost, the marker is written: after that no earlier
 * write of anybody can take effect any more. Then the events up to there tell whether this one did; they all come by the
 * store's one watch, which every write listens to from its start. Writes that were only overtaken by a marker are sent again.
 *
 * Where the store has a tenant (`tenure.ts`), every write compares that it still is.
 *
 * What is left: two processes that write the same bytes over the same revision, and both lose their answers, are both told
 * that it was theirs.
 */
import { coalesced } from '#lib/coalesced.ts';
import { type Entry, StoreError, type StoreEvent } from '../store.ts';
import { attemptMilliseconds, type EtcdClient, pause } from './client.ts';
import { isRefused, toStoreError } from './errors.ts';
import type { EventBatch } from './follow.ts';
import { GrpcError } from '#lib/grpc.ts';
import { type Keyspace, repeatTxn } from './keyspace.ts';
import type { KeyValue, Transaction, TxnAnswer } from './messages.ts';
import type { Tenure } from './tenure.ts';

export interface Write {
  verb: StoreEvent['type'];
  key: string;
  value: Uint8Array;
  /** 0: the key is not there. */
  expected: number;
}

export interface Writes {
  write(write: Write): Promise<Entry>;
  /** Of every event of the store, as it comes. */
  onEvents(batch: EventBatch): void;
  /** Writes the marker and waits until its event has come; returns its revision in etcd. @throws StoreError */
  fence(): Promise<number>;
}

interface Pending {
  write: Write;
  /** An event that may be its own. */
  seen: Entry | undefined;
  beside: SameKey;
}

/** Writes of one key that are under way. */
interface SameKey {
  writes: Set<Pending>;
  /** Revisions that were told to one of them: two may have written the same. */
  told: Set<number>;
}

/** No revision of etcd's: nothing has it. */
const NEVER = -1;

export interface WritesOptions {
  client: EtcdClient;
  keyspace: Keyspace;
  /** Of etcd: the events that come are later. */
  after: number;
  /** Compared by every write, where one server alone may write. */
  tenure?: Tenure | undefined;
}

export function createWrites({ client, keyspace, after, tenure }: WritesOptions): Writes {
  const pending = new Map<string, SameKey>();
  const waiting = new Set<{ raw: number; resolve: () => void }>();
  let reached = after;
  /** As far as is known: a write that compares an older one is told. */
  let marker = 0;

  function listen(write: Write): Pending {
    const beside = pending.get(write.key) ?? { writes: new Set(), told: new Set() };
    pending.set(write.key, beside);
    const own: Pending = { write, seen: undefined, beside };
    beside.writes.add(own);
    return own;
  }

  function forget(own: Pending): void {
    own.beside.writes.delete(own);
    if (own.beside.writes.size === 0) pending.delete(own.write.key);
  }

  async function untilReached(raw: number): Promise<void> {
    if (reached >= raw) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const one = { raw, resolve };
    waiting.add(one);
    const late = new StoreError('unavailable', 'the events of etcd did not come in time');
    const timer = setTimeout(() => reject(late), client.timeoutMilliseconds);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      waiting.delete(one);
    }
  }

  const writeMarker = coalesced(async () => {
    const put = { key: keyspace.marker, value: Buffer.alloc(0) };
    const { header } = await repeatTxn(client, 'marking a revision', { compare: [], success: [{ put }], failure: [] });
    marker = Math.max(marker, header.revision);
  });

  async function fence(): Promise<number> {
    await writeMarker();
    await untilReached(marker);
    return marker;
  }

  /** Of a write that compared the marker's revision `compared`. Undefined: it was not done, and cannot be any more. */
  async function fate(own: Pending, compared: number, lost: GrpcError): Promise<Entry | undefined> {
    try {
      // Whoever lost an answer at the same time may have written it already.
      if (marker === compared) await writeMarker();
      await untilReached(marker);
      return claim(own, own.seen);
    } catch (cause) {
      const { verb, key } = own.write;
      throw new StoreError(
        'unknown',
        `${verb} ${key}: etcd did not say whether it was done (${lost.message}): read what is there`,
        { cause },
      );
    }
  }

  async function attempts(own: Pending): Promise<Entry> {
    const { write } = own;
    const deadline = performance.now() + client.timeoutMilliseconds;
    for (let attempt = 0; ; attempt++) {
      const compared = marker;
      const held = tenure && { key: tenure.key, modRevision: tenure.raw };
      try {
        const transaction = transactionOf(keyspace, write, { marker: compared, held });
        const answer = await client.txn(transaction, attemptMilliseconds(deadline));
        if (answer.succeeded) {
          const entry = claim(own, written(keyspace, write, answer));
          if (entry !== undefined) return entry;
          continue;
        }
        if (held !== undefined && answer.kvs[2]?.[0]?.modRevision !== held.modRevision) {
          await tenure?.settle();
          if (!(await pause(attempt, deadline)))
            throw new StoreError('unavailable', `${write.verb} ${write.key}: the store was not taken back in time`);
          continue;
        }
        const now = answer.kvs[0]?.[0]?.modRevision ?? 0;
        if (now === compared) throw refusal(keyspace, write, answer);
        marker = Math.max(marker, now);
      } catch (error) {
        if (!(error instanceof GrpcError)) throw error;
        const refused = isRefused(error);
        const done = error.sent && !refused ? await fate(own, compared, error) : undefined;
        if (done !== undefined) return done;
        if (refused || !(await pause(attempt, deadline))) throw toStoreError(error, `${write.verb} ${write.key}`);
      }
    }
  }

  return {
    async write(write) {
      const own = listen(write);
      try {
        return await attempts(own);
      } finally {
        forget(own);
      }
    },
    onEvents({ events, raw }) {
      for (const event of events)
        for (const own of pending.get(event.entry.key)?.writes ?? [])
          if (isOwn(own.write, event)) own.seen = event.entry;
      reached = raw;
      for (const one of waiting) if (one.raw <= raw) one.resolve();
    },
    fence,
  };
}

/** Undefined when another was told that it is its own: this one is as good as not done. */
function claim({ beside }: Pending, entry: Entry | undefined): Entry | undefined {
  if (entry === undefined || beside.told.has(entry.revision)) return undefined;
  beside.told.add(entry.revision);
  return entry;
}

function isOwn({ verb, value, expected }: Write, event: StoreEvent): boolean {
  if (event.type !== verb || (event.previous?.revision ?? 0) !== expected) return false;
  return verb === 'delete' || Buffer.compare(value, event.entry.value) === 0;
}

interface Compared {
  marker: number;
  held: { key: Buffer; modRevision: number } | undefined;
}

function transactionOf(
  keyspace: Keyspace,
  { verb, key: name, value, expected }: Write,
  { marker, held }: Compared,
): Transaction {
  const key = keyspace.physical(name);
  const raw = keyspace.raw(expected);
  return {
    compare: [
      { key, modRevision: verb === 'create' ? 0 : raw > 0 ? raw : NEVER },
      { key: keyspace.marker, modRevision: marker },
      ...(held === undefined ? [] : [held]),
    ],
    success:
      verb === 'delete'
        ? [{ remove: { key } }]
        : verb === 'update'
          ? // The first tells when the key was created.
            [{ range: { key, keysOnly: true } }, { put: { key, value } }]
          : [{ put: { key, value } }],
    failure: [
      { range: { key: keyspace.marker, keysOnly: true } },
      { range: { key } },
      ...(held === undefined ? [] : [{ range: { key: held.key, keysOnly: true } }]),
    ],
  };
}

function written(keyspace: Keyspace, { verb, key, value }: Write, { header, kvs }: TxnAnswer): Entry {
  const revision = keyspace.revision(header.revision);
  if (verb === 'create') return { key, value, revision, createRevision: revision };
  const before = keyspace.toEntry(kvs[0]?.[0] as KeyValue);
  return { key, value: verb === 'delete' ? before.value : value, revision, createRevision: before.createRevision };
}

function refusal(keyspace: Keyspace, { verb, key, expected }: Write, { kvs }: TxnAnswer): StoreError {
  const found = kvs[1]?.[0];
  const action = `${verb} ${key}`;
  if (found === undefined) return new StoreError('not-found', `${action}: no such key`);
  const entry = keyspace.toEntry(found);
  if (verb === 'create') return new StoreError('exists', `${action}: the key exists`, { entry });
  return new StoreError('conflict', `${action}: the key has revision ${entry.revision}, not ${expected}`, { entry });
}
