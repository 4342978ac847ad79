/**
 * Who manages which field (API concepts, "Server-side apply").
 *
 * Updates are tracked from the first apply on: an object that nobody ever applied carries no managed fields, and its
 * first apply finds all of them owned by `before-first-apply`, as upstream does for objects from before it tracked.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { schemaOf } from '../kinds/schema.ts';
import type { ManagedFieldsEntry } from '../kinds/types/meta.ts';
import { timestamp } from './create.ts';
import { difference, eachMember, type FieldSet, fieldsOf, isEmpty, setOfPaths, union, valueAt } from './field-set.ts';
import { apiVersionOf } from './registry.ts';

/** Of the server's own; nobody manages them. */
const UNMANAGED = [
  'name',
  'namespace',
  'uid',
  'creationTimestamp',
  'resourceVersion',
  'generation',
  'managedFields',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'selfLink',
  'generateName',
];

export function managedSet(kind: KindDefinition, object: ApiObject): FieldSet {
  const { apiVersion: _version, kind: _kind, metadata, ...rest } = object;
  const managed = Object.fromEntries(Object.entries(metadata).filter(([key]) => !UNMANAGED.includes(key)));
  const set = fieldsOf({ ...rest, metadata: managed }, schemaOf(kind));
  if (Object.keys(managed).length === 0) delete set['f:metadata'];
  return set;
}

export function setOf(entry: ManagedFieldsEntry): FieldSet {
  return (entry.fieldsV1 ?? {}) as FieldSet;
}

/** After an update of an object with managed fields: what changed is the updater's now. */
export function trackUpdate(
  kind: KindDefinition,
  now: ApiObject,
  old: ApiObject,
  manager: string,
  subresource: string,
  time: number,
): void {
  const entries = now.metadata.managedFields ?? [];
  // `[{}]` is how a client asks to forget them.
  if (entries.length === 0 || (entries.length === 1 && isEmpty(entries[0] as FieldSet))) {
    delete now.metadata.managedFields;
    return;
  }
  const before = managedSet(kind, old);
  const after = managedSet(kind, now);
  const removed = difference(before, after);
  const changed = changedMembers(kind, now, old, after);
  if (isEmpty(removed) && isEmpty(changed)) return;
  const gone = union(removed, changed);
  const mine = (entry: ManagedFieldsEntry) =>
    entry.manager === manager && entry.operation === 'Update' && (entry.subresource ?? '') === subresource;
  const kept: ManagedFieldsEntry[] = entries.map((entry) => ({
    ...entry,
    fieldsV1: difference(setOf(entry), mine(entry) ? removed : gone) as Record<string, unknown>,
  }));
  const own = kept.find(mine);
  if (!isEmpty(changed)) {
    const fieldsV1 = union(own === undefined ? {} : setOf(own), changed) as Record<string, unknown>;
    if (own !== undefined) Object.assign(own, { fieldsV1, time: timestamp(time) });
    else kept.push(newEntry(kind, manager, 'Update', subresource, fieldsV1, time));
  }
  now.metadata.managedFields = kept.filter((entry) => !isEmpty(setOf(entry)));
}

export function newEntry(
  kind: KindDefinition,
  manager: string,
  operation: 'Apply' | 'Update',
  subresource: string,
  fieldsV1: Record<string, unknown>,
  time: number,
): ManagedFieldsEntry {
  return {
    manager,
    operation,
    apiVersion: apiVersionOf(kind),
    time: timestamp(time),
    fieldsType: 'FieldsV1',
    fieldsV1,
    ...(subresource === '' ? {} : { subresource }),
  };
}

function changedMembers(kind: KindDefinition, now: ApiObject, old: ApiObject, after: FieldSet): FieldSet {
  const schema = schemaOf(kind);
  const paths: string[][] = [];
  eachMember(after, (path) => {
    const [value, before] = [valueAt(now, path, schema), valueAt(old, path, schema)];
    // An item of a list that was there before: its own fields tell what changed.
    const item = path.at(-1)?.startsWith('k:') === true;
    if (before === undefined || (!item && !isDeepStrictEqual(value, before))) paths.push(path);
  });
  return setOfPaths(paths);
}
