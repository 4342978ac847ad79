/** Watches of the single ConfigMaps and Secrets that volumes of running pods are made of: one for each object, however many pods. */
import type { Client, Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { configMaps, secrets } from '../kinds/resources.ts';
import type { ConfigMap, Secret } from '../kinds/types/core.ts';

export interface WatchedObject {
  resource: 'configmaps' | 'secrets';
  namespace: string;
  name: string;
}

/** Told the object's resource version, or undefined where it is gone. What is there at the beginning is told too. */
type Listener = (resourceVersion: string | undefined) => void;

interface Watch {
  informer: Informer<ConfigMap | Secret>;
  listeners: Set<Listener>;
}

export class ObjectWatches {
  readonly #client: Client;
  readonly #onError: (error: unknown) => void;
  readonly #watches = new Map<string, Watch>();

  constructor(client: Client, onError: (error: unknown) => void) {
    this.#client = client;
    this.#onError = onError;
  }

  /** Returns how to end it. */
  watch(object: WatchedObject, listener: Listener): () => void {
    const key = `${object.resource}/${object.namespace}/${object.name}`;
    const watch = this.#watches.get(key) ?? this.#open(key, object);
    watch.listeners.add(listener);
    const shown = watch.informer.get(object.name, object.namespace);
    if (shown) setImmediate(() => watch.listeners.has(listener) && listener(shown.metadata.resourceVersion));
    return () => {
      if (!watch.listeners.delete(listener) || watch.listeners.size > 0) return;
      this.#watches.delete(key);
      watch.informer.close();
    };
  }

  close(): void {
    for (const { informer } of this.#watches.values()) informer.close();
    this.#watches.clear();
  }

  #open(key: string, { resource, namespace, name }: WatchedObject): Watch {
    const informer = createInformer<ConfigMap | Secret>(this.#client, resource === 'secrets' ? secrets : configMaps, {
      namespace,
      fieldSelector: `metadata.name=${name}`,
      transform: ({ metadata }): Stored<ConfigMap> => ({ metadata }),
      onError: this.#onError,
    });
    // A watch that is closed before its first list is no error of anybody's.
    informer.synced.catch(() => undefined);
    const listeners = new Set<Listener>();
    informer.onChange((now) => {
      for (const listener of listeners) listener(now?.metadata.resourceVersion);
    });
    const watch = { informer, listeners };
    this.#watches.set(key, watch);
    return watch;
  }
}
