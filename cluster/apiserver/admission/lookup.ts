/** Objects that admission looks at again and again, parsed once for each of their versions. Nobody changes them. */
import type { ResourceRef, TypedResource } from '../../kinds/kind.ts';
import type { ObjectMeta } from '../../kinds/types/meta.ts';
import { type CachedObject, kindPrefix, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';

const parsed = new WeakMap<CachedObject, unknown>();

export function read<T>(object: CachedObject): T {
  let value = parsed.get(object);
  if (value === undefined) {
    value = objectOf(object);
    parsed.set(object, value);
  }
  return value as T;
}

export function find<T extends { metadata: ObjectMeta }>(
  core: Core,
  ref: TypedResource<T>,
  namespace: string,
  name: string,
): T | undefined {
  const object = core.cache.resource(kindPrefix(ref)).objects.get(keyOf(ref, namespace, name));
  return object === undefined ? undefined : read<T>(object);
}

/** Of the namespace, or all of a kind that has none. */
export function all<T extends { metadata: ObjectMeta }>(core: Core, ref: TypedResource<T>, namespace = ''): T[] {
  const resource = core.cache.resource(kindPrefix(ref));
  if (resource.objects.size === 0) return [];
  return [...resource.list(namespace)].map((object) => read<T>(object));
}

export function keyOf(ref: ResourceRef, namespace: string, name: string): string {
  return ref.namespaced ? `${kindPrefix(ref)}${namespace}/${name}` : kindPrefix(ref) + name;
}
