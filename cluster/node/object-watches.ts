/** Watches of the single objects that volumes of pods are made of, or wait for: one for each object, however many pods. */
import type { Client, Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { configMaps, persistentVolumeClaims, secrets, volumeAttachments } from '../kinds/resources.ts';
import type { ConfigMap } from '../kinds/types/core.ts';

/** Of each only its metadata is kept, which all kinds have alike. */
const resources = {
  configmaps: configMaps,
  secrets: secrets as TypedResource<ConfigMap>,
  persistentvolumeclaims: persistentVolumeClaims as TypedResource<ConfigMap>,
  volumeattachments: volumeAttachments as unknown as TypedResource<ConfigMap>,
};

export interface WatchedObject {
  resource: keyof typeof resources;
  /** Empty where the kind has none. */
  namespace: string;
  name: string;
}

/** Told the object's resource version, or undefined where it is gone. What is there at the beginning is told too. */
type Listener = (resourceVersion: string | undefined) => void;

interface Watch {
  informer: Informer<ConfigMap>;
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
    const informer = createInformer(this.#client, resources[resource], {
      ...(namespace !== '' && { namespace }),
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
