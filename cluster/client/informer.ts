import { setTimeout as delay } from 'node:timers/promises';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { ApiError, type Client, type ClientObject, type Informer, type InformerOptions } from './client.ts';
import { createObjectCache, type IndexFunction } from './object-cache.ts';

const firstRetry = 50;
const lastRetry = 5000;

/** An informer that others can share: indexes may come later. */
export interface SharableInformer<T extends ClientObject> extends Informer<T> {
  addIndex(name: string, keysOf: IndexFunction<T>): void;
}

function matches(labels: Record<string, string> | undefined, wanted: Record<string, string>): boolean {
  return Object.entries(wanted).every(([name, value]) => labels?.[name] === value);
}

/**
 * Starts at once. What goes wrong on the way is told to `options.onError` and tried again, after 50 ms doubling to 5 s.
 * Resource versions are compared as numbers, which Kubernetes permits for those of one resource.
 */
export function createInformer<T extends ClientObject>(
  client: Client,
  resource: TypedResource<T>,
  options: InformerOptions<T> = {},
): SharableInformer<T> {
  const cache = createObjectCache<T>(options.indexes ?? {});
  const listeners = new Set<(now: Stored<T> | undefined, old: Stored<T> | undefined) => void>();
  const waiting = new Set<{ version: number; resolve: () => void }>();
  const stop = new AbortController();
  const synced = Promise.withResolvers<void>();
  synced.promise.catch(() => undefined);
  const report = options.onError ?? (() => undefined);
  const selection = {
    ...(options.namespace !== undefined && { namespace: options.namespace }),
    ...(options.labelSelector !== undefined && { labelSelector: options.labelSelector }),
    ...(options.fieldSelector !== undefined && { fieldSelector: options.fieldSelector }),
    signal: stop.signal,
  };
  let version = '';

  function tell(now: Stored<T> | undefined, old: Stored<T> | undefined): void {
    for (const listener of listeners) {
      try {
        listener(now, old);
      } catch (error) {
        report(error);
      }
    }
  }

  function advance(resourceVersion: string): void {
    version = resourceVersion;
    const shown = Number(resourceVersion);
    for (const waiter of waiting) {
      if (waiter.version > shown) continue;
      waiting.delete(waiter);
      waiter.resolve();
    }
  }

  function put(received: Stored<T>): void {
    const object = options.transform ? options.transform(received) : received;
    const old = cache.put(object);
    if (old?.metadata.resourceVersion !== object.metadata.resourceVersion) tell(object, old);
  }

  function remove(namespace: string, name: string): void {
    const old = cache.remove(namespace, name);
    if (old) tell(undefined, old);
  }

  async function list(): Promise<void> {
    const { items, resourceVersion } = await client.list(resource, selection);
    const listed = new Set(items.map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`));
    for (const { metadata } of Array.from(cache.all())) {
      const namespace = metadata.namespace ?? '';
      if (!listed.has(`${namespace}/${metadata.name}`)) remove(namespace, metadata.name);
    }
    for (const item of items) {
      const old = cache.get(item.metadata.namespace ?? '', item.metadata.name);
      // The name was given to another object meanwhile: its listeners see the one go and the other come.
      if (old && old.metadata.uid !== item.metadata.uid) remove(item.metadata.namespace ?? '', item.metadata.name);
      put(item);
    }
    advance(resourceVersion);
    synced.resolve();
  }

  async function watch(onEvent: () => void): Promise<void> {
    for await (const event of client.watch(resource, { ...selection, resourceVersion: version })) {
      onEvent();
      if (event.type === 'BOOKMARK') {
        advance(event.resourceVersion);
      } else {
        const { metadata } = event.object;
        if (event.type === 'DELETED') remove(metadata.namespace ?? '', metadata.name);
        else put(event.object);
        advance(metadata.resourceVersion);
      }
    }
  }

  async function run(): Promise<void> {
    let retry = firstRetry;
    while (!stop.signal.aborted) {
      try {
        if (version === '') await list();
        await watch(() => {
          retry = firstRetry;
        });
      } catch (error) {
        if (stop.signal.aborted) return;
        const ended = error instanceof ApiError && error.reason === 'ConnectionClosed';
        if (!ended) report(error);
        if (error instanceof ApiError && error.code === 410) version = '';
        await delay(retry * (0.5 + Math.random()), undefined, { signal: stop.signal }).catch(() => undefined);
        retry = Math.min(retry * 2, lastRetry);
      }
    }
  }

  run().catch(report);

  return {
    synced: synced.promise,
    addIndex: cache.addIndex,
    get: (name, namespace = '') => cache.get(namespace, name),
    list({ namespace, labels } = {}) {
      const objects = namespace === undefined ? cache.all() : cache.inNamespace(namespace);
      return labels ? [...objects].filter((object) => matches(object.metadata.labels, labels)) : [...objects];
    },
    byIndex: cache.byIndex,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    reached(resourceVersion, signal) {
      const wanted = Number(resourceVersion);
      if (!Number.isFinite(wanted))
        throw new TypeError(`resource version ${JSON.stringify(resourceVersion)} is no number`);
      if (version !== '' && Number(version) >= wanted) return Promise.resolve();
      return new Promise((resolve, reject) => {
        const onAbort = (): void => {
          waiting.delete(waiter);
          reject(signal?.reason);
        };
        const waiter = {
          version: wanted,
          resolve: () => {
            signal?.removeEventListener('abort', onAbort);
            resolve();
          },
        };
        if (signal?.aborted) onAbort();
        else {
          signal?.addEventListener('abort', onAbort);
          waiting.add(waiter);
        }
      });
    },
    close() {
      stop.abort();
      listeners.clear();
      synced.reject(new ApiError(0, 'Closed', `informer of ${resource.resource}: closed`));
    },
  };
}
