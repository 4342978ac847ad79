/**
 * The store's contract: one revisioned map from keys to bytes. Everything that the cluster knows is in it.
 *
 * Every write gets a revision of its own, a number that only grows, across all keys. The store is linearizable: a read that
 * starts after a write was acknowledged sees it. A write is on disk (fsync) before it is acknowledged.
 *
 * Keys are `/`-separated printable ASCII, as `/registry/<group>/<resource>/<namespace>/<name>`; a prefix ends with `/`.
 * Values are opaque bytes and are never copied or parsed here; who gets one must not change it.
 *
 * Drivers: `sqlite/` (default) and `etcd/`. `testing/store-contract.ts` is run against each.
 */
export type StoreErrorCode =
  | 'exists' // create: the key is there; `entry` holds what is
  | 'not-found' // update, delete: the key is not there
  | 'conflict' // update, delete: the key has another revision; `entry` holds what is
  | 'compacted' // list at, or watch from, a revision that history no longer holds
  | 'future' // list at a revision that does not exist yet
  | 'unavailable' // the disk refused (full, read-only), etcd does not answer, the driver is closed. The write did not happen.
  | 'unknown' // whoever was to write did not say whether it did: the write may have happened. Read what is there.
  | 'too-large' // the value is larger than the driver takes
  | 'corrupt'; // the database is damaged; the message says where

export class StoreError extends Error {
  readonly code: StoreErrorCode;
  readonly entry: Entry | undefined;
  constructor(code: StoreErrorCode, message: string, options?: ErrorOptions & { entry?: Entry }) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
    this.entry = options?.entry;
  }
}

export interface Entry {
  key: string;
  value: Uint8Array;
  /** Of the write that made this value. */
  revision: number;
  /** Of the write that created the key. */
  createRevision: number;
}

export interface StoreEvent {
  type: 'create' | 'update' | 'delete';
  /** For a delete: the key's last value, with the revision of the delete. */
  entry: Entry;
  /** The value before this event; undefined for a create. */
  previous: Entry | undefined;
}

export interface ListResult {
  /** In ascending byte order of their keys. */
  entries: Entry[];
  /** The store's revision that this list shows, also for the pages that follow. */
  revision: number;
  /** Keys after the last one returned; 0 when this is the end. */
  remaining: number;
}

export interface Store {
  create(key: string, value: Uint8Array): Promise<Entry>;
  update(key: string, value: Uint8Array, expectedRevision: number): Promise<Entry>;
  /** Returns the last value with the revision of the delete. Without `expectedRevision` whatever is there goes. */
  delete(key: string, expectedRevision?: number): Promise<Entry>;
  get(key: string): Promise<Entry | undefined>;
  /**
   * @param startAfter  a key; only greater ones are returned (pages)
   * @param revision    shows the map as it was; default: now
   */
  list(prefix: string, options?: { limit?: number; startAfter?: string; revision?: number }): Promise<ListResult>;
  /**
   * Every event of the prefix with a revision greater than `after`, in order, none twice, none left out; then those to
   * come, in batches as they were committed together. `progress` batches (no events) may come at any time and say that
   * everything up to `revision` was delivered. Rejects with `compacted` when `after` is too old, also later, when the
   * consumer falls so far behind that its backlog (100,000 events) would have to be kept: it lists again.
   */
  watch(prefix: string, options: { after: number; signal: AbortSignal }): AsyncIterable<WatchBatch>;
  /** The newest revision. */
  revision(): Promise<number>;
  /** Forgets what only revisions below `revision` can see. */
  compact(revision: number): Promise<void>;
  /**
   * Everything as it is at one revision, in key order, in pages, while writes go on; at least one page. Rejects with `compacted`
   * when it takes longer than history lasts (etcd): begin again.
   */
  snapshot(): AsyncIterable<SnapshotPage>;
  close(): Promise<void>;
}

export interface WatchBatch {
  events: StoreEvent[];
  revision: number;
}

export interface SnapshotPage {
  /** The same on every page. */
  revision: number;
  entries: Entry[];
}
