/**
 * One informer of a resource for all that run in one process over one client: its objects are parsed and kept once.
 * It is closed with the last of those that share it.
 */
import type { TypedResource } from '../kinds/kind.ts';
import type { Client, ClientObject, Informer } from './client.ts';
import { createInformer, type SharableInformer } from './informer.ts';
import type { IndexFunction } from './object-cache.ts';

interface Shared {
  informer: SharableInformer<ClientObject>;
  users: number;
}

const sharedByClient = new WeakMap<Client, Map<string, Shared>>();

/** @param indexes  of one name, all sharers must mean the same function */
export function sharedInformer<T extends ClientObject>(
  client: Client,
  resource: TypedResource<T>,
  indexes: Record<string, IndexFunction<T>> = {},
  onError?: (error: unknown) => void,
): Informer<T> {
  let byResource = sharedByClient.get(client);
  if (!byResource) sharedByClient.set(client, (byResource = new Map()));
  const shares = byResource;
  const key = `${resource.group}/${resource.version}/${resource.resource}`;
  let shared = shares.get(key);
  if (!shared) {
    const created = createInformer(
      client,
      resource,
      onError && { onError },
    ) as unknown as SharableInformer<ClientObject>;
    shares.set(key, (shared = { informer: created, users: 0 }));
  }
  shared.users++;
  const { informer } = shared;
  const typed = informer as unknown as SharableInformer<T>;
  for (const [name, keysOf] of Object.entries(indexes)) typed.addIndex(name, keysOf);
  const stops = new Set<() => void>();
  let closed = false;
  return {
    ...typed,
    onChange(listener) {
      const stop = typed.onChange(listener);
      stops.add(stop);
      return () => {
        stops.delete(stop);
        stop();
      };
    },
    close() {
      if (closed) return;
      closed = true;
      for (const stop of stops) stop();
      shared.users--;
      if (shared.users > 0) return;
      shares.delete(key);
      informer.close();
    },
  };
}
