/**
 * The etcd driver of the store (etcd 3.4 or later, by gRPC). Writes are transactions, see `writes.ts`; reads are linearizable;
 * all watches of this process are served from one watch of etcd, see `follow.ts` and `../watch-hub.ts`.
 *
 * etcd's compaction is for everybody who uses it: give it to Sampan alone, or to instances of Sampan.
 */
import { createHistoryPolicy, type HistoryLimits } from '../history-policy.ts';
import { pagedSnapshot } from '../snapshot.ts';
import { type Entry, type ListResult, type Store, StoreError, type WatchBatch } from '../store.ts';
import { createWatchHub, type ReplayRange } from '../watch-hub.ts';
import { type EtcdOptions, openEtcdClient } from './client.ts';
import { eventsFrom } from './follow.ts';
import { openKeyspace } from './keyspace.ts';
import { type Tenant, takeTenure } from './tenure.ts';
import { createWrites } from './writes.ts';

export interface EtcdStoreOptions extends EtcdOptions {
  /** Before every key: one store of several in one etcd. It does not end with a slash. */
  prefix: string;
  /** A store that another owner made is refused. */
  owner?: string;
  /** Who serves the store, where one server alone may; see `tenure.ts`. */
  tenant?: Tenant;
  history?: HistoryLimits;
  log?: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** A list without a limit is read in pages of so many. */
const pageSize = 1000;
const nameable = /^\/[\x21-\x7e]+$/;

/** @throws StoreError `unavailable` when etcd does not answer or the store is another's, `corrupt` */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<Store> {
  const log = options.log ?? (() => undefined);
  const client = openEtcdClient(options);
  const open = async () => {
    const keyspace = await openKeyspace(client, options.prefix, options.owner ?? '');
    const tenure = options.tenant && (await takeTenure(client, options.prefix, options.tenant));
    const { header } = await client.range('opening etcd', { key: keyspace.marker, countOnly: true });
    return { keyspace, tenure, raw: header.revision };
  };
  const {
    keyspace,
    tenure,
    raw: start,
  } = await open().catch((error: unknown) => {
    client.close();
    throw error;
  });
  const stop = new AbortController();
  const writes = createWrites({ client, keyspace, after: start, tenure });
  const policy = createHistoryPolicy(options.history ?? {});
  let failure: StoreError | undefined;
  let compacted = keyspace.floor;
  /** Is the hub's revision that of an event, or of a marker? */
  let eventful = false;

  const hub = createWatchHub({
    revision: keyspace.revision(start),
    compacted: () => compacted,
    replay,
  });

  async function* replay({ prefix, after, until, signal }: ReplayRange): AsyncGenerator<WatchBatch> {
    // Only an event tells that those before it have come.
    if (!eventful) await writes.fence();
    const range = { after: keyspace.raw(after), signal: AbortSignal.any([signal, stop.signal]) };
    for await (const { events, raw } of eventsFrom(client, keyspace, range)) {
      const revision = Math.min(keyspace.revision(raw), until);
      const own = events.filter(({ entry }) => entry.revision <= until && entry.key.startsWith(prefix));
      if (own.length > 0) yield { events: own, revision };
      if (revision === until) return;
    }
  }

  async function follow(after: number): Promise<void> {
    const onTrouble = (error: Error): void =>
      log('warn', 'etcd is not followed for the moment', { error: error.message });
    for await (const batch of eventsFrom(client, keyspace, { after, signal: stop.signal, onTrouble })) {
      eventful = true;
      writes.onEvents(batch);
      hub.publish(batch.events, keyspace.revision(batch.raw));
      const target = policy.next(hub.revision, compacted);
      if (target !== undefined) compactInBackground(target);
    }
  }

  /** Watchers cannot go on when a compaction was faster; the store can. */
  async function followOn(): Promise<void> {
    for (let after = start; !stop.signal.aborted; ) {
      try {
        await follow(after);
      } catch (error) {
        if (!(error instanceof StoreError && error.code === 'compacted')) throw error;
        log('warn', 'etcd was compacted beyond what was seen of it', { error: error.message });
        hub.drop(error);
        const revision = await newest();
        after = keyspace.raw(revision);
        eventful = false;
        hub.publish([], revision);
      }
    }
  }

  const fail = (message: string) => (error: unknown) => {
    if (stop.signal.aborted) return;
    failure ??= error instanceof StoreError ? error : new StoreError('unavailable', String(error), { cause: error });
    log('error', message, { error: failure.message });
    hub.close(failure);
  };
  const followed = followOn().catch(fail('etcd cannot be followed any more'));
  const kept = tenure?.kept().catch(fail('the store is served no more'));

  function compactInBackground(target: number): void {
    compact(target).catch((error: unknown) => {
      if (!stop.signal.aborted) log('warn', 'history was not compacted', { error: String(error) });
    });
  }

  async function compact(revision: number): Promise<void> {
    requireOpen();
    if (revision <= compacted) return;
    // What is compacted before it was seen here could not be told to watchers.
    if (revision > hub.revision && revision <= (await newest())) await writes.fence();
    await client.compact(keyspace.raw(revision));
    compacted = Math.max(compacted, revision);
  }

  async function newest(): Promise<number> {
    const { header } = await client.range('reading the revision', { key: keyspace.marker, countOnly: true });
    return keyspace.revision(header.revision);
  }

  function requireOpen(): void {
    if (failure) throw failure;
  }

  async function listPages(
    prefix: string,
    { limit, startAfter, revision }: { limit: number; startAfter: string; revision: number | undefined },
  ): Promise<ListResult> {
    const end = keyspace.physical(`${prefix.slice(0, -1)}0`);
    const entries: Entry[] = [];
    let at = revision;
    // Behind the marker, too.
    let key = keyspace.physical(`${startAfter > prefix ? startAfter : prefix}\0`);
    for (;;) {
      const { header, kvs, count } = await client.range(`list of ${prefix}`, {
        key,
        end,
        limit: Math.min(pageSize, limit - entries.length),
        revision: at === undefined ? 0 : keyspace.raw(at),
      });
      for (const kv of kvs) entries.push(keyspace.toEntry(kv));
      at ??= keyspace.revision(header.revision);
      const remaining = count - kvs.length;
      const last = kvs.at(-1);
      if (remaining === 0 || last === undefined || entries.length >= limit) return { entries, revision: at, remaining };
      key = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  function checkKey(key: string): void {
    requireOpen();
    if (!nameable.test(key))
      throw new TypeError(`store key ${JSON.stringify(key)}: begin with a slash and use printable ASCII`);
  }

  async function get(key: string): Promise<Entry | undefined> {
    checkKey(key);
    const { kvs } = await client.range(`read of ${key}`, { key: keyspace.physical(key) });
    return kvs[0] && keyspace.toEntry(kvs[0]);
  }

  /** Whatever is there goes: what that is has to be known, so that a lost answer can be understood. */
  async function deleteAny(key: string): Promise<Entry> {
    for (;;) {
      const found = await get(key);
      if (found === undefined) throw new StoreError('not-found', `delete ${key}: no such key`);
      try {
        return await writes.write({ verb: 'delete', key, value: found.value, expected: found.revision });
      } catch (error) {
        if (!(error instanceof StoreError && error.code === 'conflict')) throw error;
      }
    }
  }

  const store: Store = {
    async create(key, value) {
      checkKey(key);
      return await writes.write({ verb: 'create', key, value, expected: 0 });
    },
    async update(key, value, expected) {
      checkKey(key);
      return await writes.write({ verb: 'update', key, value, expected });
    },
    async delete(key, expected) {
      checkKey(key);
      if (expected === undefined) return await deleteAny(key);
      return await writes.write({ verb: 'delete', key, value: Buffer.alloc(0), expected });
    },
    get,
    async list(prefix, { limit = Number.POSITIVE_INFINITY, startAfter = '', revision } = {}) {
      requireOpen();
      if (revision !== undefined && revision < compacted)
        throw new StoreError('compacted', `list at revision ${revision}: history begins at ${compacted}`);
      for (;;) {
        try {
          return await listPages(prefix, { limit, startAfter, revision });
        } catch (error) {
          // Compaction overtook a list that asked for no revision: begin again.
          if (revision !== undefined || !(error instanceof StoreError) || error.code !== 'compacted') throw error;
        }
      }
    },
    watch: (prefix, watchOptions) => hub.watch(prefix, watchOptions),
    async revision() {
      requireOpen();
      return await newest();
    },
    compact,
    snapshot: () => pagedSnapshot(store),
    async close() {
      if (stop.signal.aborted) return;
      failure ??= new StoreError('unavailable', `the store ${options.prefix} in etcd is closed`);
      stop.abort();
      hub.close(failure);
      await tenure?.release();
      client.close();
      await Promise.all([followed, kept]);
    },
  };
  return store;
}
