import type { Stored } from '../kinds/kind.ts';
import type { ClientObject } from './client.ts';

export type IndexFunction<T extends ClientObject> = (object: Stored<T>) => string[];

/** The informer's copy: objects by namespace and name, and by the keys of any index. */
export function createObjectCache<T extends ClientObject>(indexes: Record<string, IndexFunction<T>>) {
  const byNamespace = new Map<string, Map<string, Stored<T>>>();
  const indexed = new Map<string, { keysOf: IndexFunction<T>; objects: Map<string, Set<Stored<T>>> }>();

  function index(
    object: Stored<T>,
    { keysOf, objects }: { keysOf: IndexFunction<T>; objects: Map<string, Set<Stored<T>>> },
  ): void {
    for (const key of keysOf(object)) {
      const set = objects.get(key);
      if (set) set.add(object);
      else objects.set(key, new Set([object]));
    }
  }

  function unindex(object: Stored<T>): void {
    for (const { keysOf, objects } of indexed.values()) {
      for (const key of keysOf(object)) {
        const set = objects.get(key);
        set?.delete(object);
        if (set?.size === 0) objects.delete(key);
      }
    }
  }

  function* all(): Generator<Stored<T>> {
    for (const objects of byNamespace.values()) yield* objects.values();
  }

  function addIndex(name: string, keysOf: IndexFunction<T>): void {
    if (indexed.has(name)) return;
    const entry = { keysOf, objects: new Map<string, Set<Stored<T>>>() };
    indexed.set(name, entry);
    for (const object of all()) index(object, entry);
  }
  for (const [name, keysOf] of Object.entries(indexes)) addIndex(name, keysOf);

  return {
    all,
    addIndex,
    get: (namespace: string, name: string): Stored<T> | undefined => byNamespace.get(namespace)?.get(name),
    inNamespace: (namespace: string): Iterable<Stored<T>> => byNamespace.get(namespace)?.values() ?? [],
    byIndex(name: string, key: string): Stored<T>[] {
      const entry = indexed.get(name);
      if (!entry) throw new TypeError(`the informer has no index ${JSON.stringify(name)}`);
      return [...(entry.objects.get(key) ?? [])];
    },
    /** Returns what was there. */
    put(object: Stored<T>): Stored<T> | undefined {
      const namespace = object.metadata.namespace ?? '';
      let objects = byNamespace.get(namespace);
      if (!objects) byNamespace.set(namespace, (objects = new Map()));
      const old = objects.get(object.metadata.name);
      if (old) unindex(old);
      objects.set(object.metadata.name, object);
      for (const entry of indexed.values()) index(object, entry);
      return old;
    },
    remove(namespace: string, name: string): Stored<T> | undefined {
      const objects = byNamespace.get(namespace);
      const old = objects?.get(name);
      if (!old) return undefined;
      unindex(old);
      objects?.delete(name);
      if (objects?.size === 0) byNamespace.delete(namespace);
      return old;
    },
  };
}
