/**
 * The watch cache: every object's bytes in memory, in key order, and the latest changes.
 *
 * All writes of the cluster pass through this server and wait until the cache shows them, so a read of the cache sees every
 * acknowledged write. Changes come from one watch of the store, in revision order, none left out.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ApiObject, KindDefinition, StoredForm } from '../kinds/kind.ts';
import { type Store, StoreError, type StoreEvent } from '../store/store.ts';
import { parseObject, servedBytes, storedBytes } from './object-bytes.ts';
import { SortedKeys } from './sorted-keys.ts';

export const ROOT = '/registry/';
/** Of each resource: how many changes a watcher that comes late is given from memory; older ones come from the store. */
const HISTORY_LIMIT = 256;

export interface CachedObject {
  key: string;
  name: string;
  namespace: string;
  revision: number;
  /** As served, with its resourceVersion, in the storage version. */
  bytes: Buffer;
  labels: Record<string, string> | undefined;
  /** Selectable fields by path. */
  fields: Record<string, string>;
  /** As it lies in the store, where it is shown otherwise (`reshape`). */
  original?: CachedObject;
}

export interface Change {
  type: 'create' | 'update' | 'delete';
  revision: number;
  /** For a delete: the last state, with the revision of the delete. */
  object: CachedObject;
  previous: CachedObject | undefined;
  /** The object without its resourceVersion, while listeners are told of the change: theirs to read, not to keep. */
  parsed: ApiObject | undefined;
  /** Frames and other renderings that watchers share, by what they show. */
  rendered: Map<string, Buffer>;
}

export class ResourceCache {
  readonly prefix: string;
  readonly keys = new SortedKeys();
  readonly objects = new Map<string, CachedObject>();
  readonly listeners = new Set<(change: Change) => void>();
  /** The newest changes, oldest first; nothing after `historyStart` is missing. */
  readonly history: Change[] = [];
  historyStart: number;
  private readonly selectable: () => KindDefinition['selectableFields'];

  constructor(prefix: string, revision: number, selectable: () => KindDefinition['selectableFields']) {
    this.prefix = prefix;
    this.historyStart = revision;
    this.selectable = selectable;
  }

  put(object: CachedObject): void {
    if (!this.objects.has(object.key)) this.keys.add(object.key);
    this.objects.set(object.key, object);
  }

  read(key: string, value: Uint8Array, revision: number, object = parseObject(value)): CachedObject {
    const fields: Record<string, string> = {};
    for (const [path, textOf] of Object.entries(this.selectable())) {
      const text = textOf(object);
      if (text !== '') fields[path] = text;
    }
    const { name = '', namespace = '', labels } = object.metadata;
    fields['metadata.name'] = name;
    fields['metadata.namespace'] = namespace;
    return { key, name, namespace, revision, bytes: servedBytes(value, revision), labels, fields };
  }

  apply(event: StoreEvent): void {
    const { key, value, revision } = event.entry;
    const previous = this.objects.get(key);
    const parsed = parseObject(value);
    const object = this.read(key, value, revision, parsed);
    if (event.type === 'delete') {
      this.objects.delete(key);
      this.keys.remove(key);
    } else this.put(object);
    const change: Change = { type: event.type, revision, object, previous, parsed, rendered: new Map() };
    this.history.push(change);
    if (this.history.length > HISTORY_LIMIT * 2) {
      this.historyStart = this.history[HISTORY_LIMIT - 1]?.revision ?? this.historyStart;
      this.history.splice(0, HISTORY_LIMIT);
    }
    for (const listener of this.listeners) listener(change);
    change.parsed = undefined;
    // Who comes later renders it again: bytes of old changes are not kept twice.
    change.rendered.clear();
  }

  /** Shows each object as `change` makes it of what is stored. Nothing is written, so no revision changes and no watcher is told. */
  reshape(change: (object: ApiObject) => void): void {
    for (const [key, shown] of this.objects) {
      const original = shown.original ?? shown;
      const object = objectOf(original);
      change(object);
      const same = isDeepStrictEqual(object, objectOf(original));
      const now = same ? original : { ...this.read(key, storedBytes(object), original.revision, object), original };
      this.objects.set(key, now);
    }
  }

  /** Objects of the namespace, or of all when it is empty, in key order. */
  *list(namespace: string, after = ''): Generator<CachedObject> {
    const prefix = namespace === '' ? this.prefix : `${this.prefix}${namespace}/`;
    for (const key of this.keys.from(after > prefix ? after : prefix, after > prefix)) {
      if (!key.startsWith(prefix)) return;
      const object = this.objects.get(key);
      if (object !== undefined) yield object;
    }
  }
}

export class Cache {
  private readonly store: Store;
  private readonly resources = new Map<string, ResourceCache>();
  private readonly abort = new AbortController();
  private readonly waiting: { revision: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  private readonly fieldsOf: (prefix: string) => KindDefinition['selectableFields'];
  private failure: Error | undefined;
  /** Settles when the store's watch has ended. */
  ended: Promise<void> = Promise.resolve();
  revision = 0;

  constructor(store: Store, fieldsOf: (prefix: string) => KindDefinition['selectableFields']) {
    this.store = store;
    this.fieldsOf = fieldsOf;
  }

  /** Reads everything and follows from there. `onFailure` is called when the store's watch breaks: the server must stop. */
  async start(onFailure: (error: Error) => void): Promise<void> {
    const { entries, revision } = await this.store.list(ROOT);
    this.revision = revision;
    for (const { key, value, revision: written } of entries) {
      const resource = this.resource(prefixOf(key));
      resource.put(resource.read(key, value, written));
    }
    this.ended = this.follow(revision).catch((error: unknown) => {
      if (this.abort.signal.aborted) return;
      this.failure = new Error('the watch of the store ended', { cause: error });
      for (const { reject } of this.waiting.splice(0)) reject(this.failure);
      onFailure(this.failure);
    });
  }

  resource(prefix: string): ResourceCache {
    let found = this.resources.get(prefix);
    if (found === undefined) {
      found = new ResourceCache(prefix, this.revision, () => this.fieldsOf(prefix));
      this.resources.set(prefix, found);
    }
    return found;
  }

  /** Does it still follow the store? */
  get alive(): boolean {
    return this.failure === undefined;
  }

  /** Resolves when the cache shows `revision`. */
  reached(revision: number): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.revision >= revision) return Promise.resolve();
    return new Promise((resolve, reject) => this.waiting.push({ revision, resolve, reject }));
  }

  /** Changes after `after` up to now that memory no longer holds, from the store. Throws StoreError `compacted`. */
  async olderChanges(resource: ResourceCache, after: number, upTo: number): Promise<Change[]> {
    const changes: Change[] = [];
    if (after >= upTo) return changes;
    const abort = new AbortController();
    try {
      for await (const batch of this.store.watch(ROOT, { after, signal: abort.signal })) {
        for (const { type, entry, previous } of batch.events) {
          if (entry.revision > upTo || !entry.key.startsWith(resource.prefix)) continue;
          changes.push({
            type,
            revision: entry.revision,
            object: resource.read(entry.key, entry.value, entry.revision),
            previous: previous === undefined ? undefined : resource.read(entry.key, previous.value, previous.revision),
            parsed: undefined,
            rendered: new Map(),
          });
        }
        if (batch.revision >= upTo) break;
      }
    } finally {
      abort.abort();
    }
    return changes;
  }

  async close(): Promise<void> {
    this.abort.abort();
    await this.ended;
  }

  private async follow(after: number): Promise<void> {
    for await (const batch of this.store.watch(ROOT, { after, signal: this.abort.signal })) {
      for (const event of batch.events) {
        this.revision = event.entry.revision;
        this.resource(prefixOf(event.entry.key)).apply(event);
      }
      this.revision = Math.max(this.revision, batch.revision);
      this.wake();
    }
    if (!this.abort.signal.aborted) throw new StoreError('unavailable', 'the watch ended');
  }

  private wake(): void {
    const ready = this.waiting.filter(({ revision }) => revision <= this.revision);
    if (ready.length === 0) return;
    const left = this.waiting.filter(({ revision }) => revision > this.revision);
    this.waiting.splice(0, this.waiting.length, ...left);
    for (const { resolve } of ready) resolve();
  }
}

/** `/registry/<group>/<resource>/` */
export function prefixOf(key: string): string {
  const group = key.indexOf('/', ROOT.length);
  return key.slice(0, key.indexOf('/', group + 1) + 1);
}

export function kindPrefix(kind: { group: string; resource: string; stored?: StoredForm }): string {
  if (kind.stored !== undefined) return kindPrefix(kind.stored.as);
  return `${ROOT}${kind.group === '' ? 'core' : kind.group}/${kind.resource}/`;
}

export function objectKey(kind: KindDefinition, namespace: string, name: string): string {
  return kind.namespaced ? `${kindPrefix(kind)}${namespace}/${name}` : `${kindPrefix(kind)}${name}`;
}

export function objectOf(cached: CachedObject): ApiObject {
  return parseObject(cached.bytes);
}
