/**
 * Who manages which field (API concepts, "Server-side apply"). Everything is tracked from its creation on; an object whose
 * managed fields were taken away stays untracked until it is applied again.
 */
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { schemaOf } from '../kinds/schema.ts';
import type { ManagedFieldsEntry } from '../kinds/types/meta.ts';
import { timestamp } from './timestamp.ts';
import { fieldChanges } from './field-changes.ts';
import { difference, type FieldSet, fieldsOf, isEmpty, union } from './field-set.ts';
import { apiVersionOf } from './registry.ts';

/** Of the server's own; nobody manages them. */
const UNMANAGED = new Set([
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
]);

/** @param whole  as an update owns them (`fieldsOf`) */
export function managedSet(kind: KindDefinition, object: ApiObject, whole = false): FieldSet {
  return fieldsOf(managedPart(object), schemaOf(kind), whole);
}

/** What of an object somebody manages. */
function managedPart({ apiVersion: _version, kind: _kind, metadata, ...rest }: ApiObject): Record<string, unknown> {
  const managed: Record<string, unknown> = {};
  let any = false;
  for (const [key, value] of Object.entries(metadata)) {
    if (UNMANAGED.has(key)) continue;
    managed[key] = value;
    any = true;
  }
  return any ? { ...rest, metadata: managed } : rest;
}

export function setOf(entry: ManagedFieldsEntry): FieldSet {
  return (entry.fieldsV1 ?? {}) as FieldSet;
}

/** Of a new object, all is its creator's; unless it was applied, and that said whose it is. */
export function trackCreation(kind: KindDefinition, object: ApiObject, manager: string, time: number): void {
  if (object.metadata.managedFields !== undefined) return;
  const fields = managedSet(kind, object, true) as Record<string, unknown>;
  if (!isEmpty(fields as FieldSet))
    object.metadata.managedFields = [newEntry(kind, manager, 'Update', '', fields, time)];
}

/** After an update of an object with managed fields: what changed is the updater's now. */
export function trackUpdate(
  kind: KindDefinition,
  now: ApiObject,
  old: ApiObject,
  { fieldManager: manager, subresource, time }: { fieldManager: string; subresource: string; time: number },
): void {
  const entries = now.metadata.managedFields ?? [];
  // `[{}]` is how a client asks to forget them.
  if (entries.length === 0 || (entries.length === 1 && isEmpty(entries[0] as FieldSet))) {
    delete now.metadata.managedFields;
    return;
  }
  const { changed, removed } = fieldChanges(managedPart(now), managedPart(old), schemaOf(kind));
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
  now.metadata.managedFields = ordered(capped(kept.filter((entry) => !isEmpty(setOf(entry)))));
}

/** Managers of single updates beyond these become one. */
const UPDATERS_LIMIT = 10;
const ANCIENT = 'ancient-changes';

function capped(entries: ManagedFieldsEntry[]): ManagedFieldsEntry[] {
  const updaters = entries
    .filter(({ operation, subresource }) => operation === 'Update' && subresource === undefined)
    .sort((a, b) => ((a.time ?? '') < (b.time ?? '') ? -1 : 1));
  const old = updaters.slice(0, Math.max(0, updaters.length - UPDATERS_LIMIT + 1));
  if (updaters.length <= UPDATERS_LIMIT) return entries;
  const fieldsV1 = old.reduce<FieldSet>((all, entry) => union(all, setOf(entry)), {}) as Record<string, unknown>;
  const newest = old.at(-1) as ManagedFieldsEntry;
  return [...entries.filter((entry) => !old.includes(entry)), { ...newest, manager: ANCIENT, fieldsV1 }];
}

/** Applied ones first, then by time and name. */
export function ordered(entries: ManagedFieldsEntry[]): ManagedFieldsEntry[] {
  const key = ({ operation, time, manager, subresource }: ManagedFieldsEntry) =>
    [operation, time ?? '', manager, subresource ?? ''].join(' ');
  return entries.sort((a, b) => (key(a) < key(b) ? -1 : 1));
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
