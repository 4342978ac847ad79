/** Server-side apply: what the applied configuration says is merged, what it no longer says is removed. */
import { isDeepStrictEqual } from 'node:util';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { fieldSchema, resolveSchema, type Schema, schemaOf } from '../kinds/schema.ts';
import type { ManagedFieldsEntry, StatusCause } from '../kinds/types/meta.ts';
import { badRequest, StatusError } from './errors.ts';
import {
  difference,
  eachMember,
  type FieldSet,
  formatPath,
  intersection,
  isAtomicMap,
  isEmpty,
  itemElement,
  listKind,
  setOfPaths,
  union,
  valueAt,
  withHolders,
} from './field-set.ts';
import { managedSet, newEntry, ordered, setOf } from './managed-fields.ts';

const KUBECTL = 'kubectl';
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

export interface ApplyOptions {
  manager: string;
  force: boolean;
  subresource: string;
  time: number;
}

/** The object to write, with its managed fields. Throws 409 with a cause for each field that another manager holds. */
export function applyTo(
  kind: KindDefinition,
  live: ApiObject | undefined,
  applied: ApiObject,
  options: ApplyOptions,
): ApiObject {
  const schema = schemaOf(kind);
  refuseDuplicates(applied, schema, '');
  const wanted = managedSet(kind, applied);
  let entries: ManagedFieldsEntry[] = structuredClone(live?.metadata.managedFields ?? []);
  if (live !== undefined && entries.length === 0)
    entries = [
      newEntry(
        kind,
        'before-first-apply',
        'Update',
        '',
        managedSet(kind, live, true) as Record<string, unknown>,
        options.time,
      ),
    ];
  const isMine = (entry: ManagedFieldsEntry) =>
    entry.manager === options.manager &&
    entry.operation === 'Apply' &&
    (entry.subresource ?? '') === options.subresource;
  const others = entries.filter((entry) => !isMine(entry));
  const mine = entries.find(isMine);
  const merged = mergeValue(live ?? {}, applied, schema) as ApiObject;
  if (live !== undefined) resolveConflicts({ live, merged, wanted, others, kind }, options);
  if (mine !== undefined) {
    const theirs = others.reduce<FieldSet>((all, entry) => union(all, setOf(entry)), {});
    const dropped = difference(difference(withHolders(setOf(mine)), withHolders(wanted)), withHolders(theirs));
    removeFields(merged, dropped, schema);
  }
  const own = newEntry(
    kind,
    options.manager,
    'Apply',
    options.subresource,
    wanted as Record<string, unknown>,
    options.time,
  );
  if (mine !== undefined && isDeepStrictEqual(mine.fieldsV1, own.fieldsV1) && mine.time !== undefined)
    own.time = mine.time;
  if (options.manager === KUBECTL && live?.metadata.annotations?.[LAST_APPLIED] !== undefined)
    merged.metadata.annotations = { ...merged.metadata.annotations, [LAST_APPLIED]: `${JSON.stringify(applied)}\n` };
  merged.metadata.managedFields = ordered([...others.filter((entry) => !isEmpty(setOf(entry))), own]);
  return merged;
}

/** Two items under one name: nobody could say later which is whose. */
function refuseDuplicates(value: unknown, schema: Schema | undefined, at: string): void {
  if (Array.isArray(value) && schema !== undefined) {
    const named = listKind(schema) !== 'atomic';
    const items = schema.items === undefined ? undefined : resolveSchema(schema.items);
    const seen = new Set<string>();
    for (const item of value) {
      const element = named ? itemElement(item, schema) : '';
      if (named && seen.has(element))
        throw badRequest(
          `failed to create typed patch object: ${at}: duplicate entries for key ${formatPath([element])}`,
        );
      seen.add(element);
      refuseDuplicates(item, items, named ? `${at}${formatPath([element])}` : at);
    }
  } else if (isObject(value))
    for (const [key, inner] of Object.entries(value)) refuseDuplicates(inner, fieldSchema(schema, key), `${at}.${key}`);
}

interface Merge {
  live: ApiObject;
  merged: ApiObject;
  wanted: FieldSet;
  others: ManagedFieldsEntry[];
  kind: KindDefinition;
}

/** What another manager holds and this configuration would change. Takes it away from him, or throws. */
function resolveConflicts({ live, merged, wanted, others, kind }: Merge, options: ApplyOptions): void {
  const schema = schemaOf(kind);
  const conflicts = others.flatMap((entry) => {
    const paths: string[][] = [];
    eachMember(intersection(wanted, setOf(entry)), (path) => {
      // An item's own fields tell.
      if (path.at(-1)?.startsWith('k:') === true) return;
      if (!isDeepStrictEqual(valueAt(live, path, schema), valueAt(merged, path, schema))) paths.push(path);
    });
    return paths.length === 0 ? [] : [{ entry, paths }];
  });
  if (conflicts.length === 0) return;
  const all = conflicts.flatMap(({ paths }) => paths);
  if (!options.force && !wasAppliedByClient(kind, live, all, options.manager)) throw conflictError(conflicts);
  for (const { entry, paths } of conflicts)
    entry.fieldsV1 = difference(setOf(entry), setOfPaths(paths)) as Record<string, unknown>;
}

/** kubectl that goes from applying itself to server-side apply takes over what it applied before. */
function wasAppliedByClient(kind: KindDefinition, live: ApiObject, paths: string[][], manager: string): boolean {
  if (manager !== KUBECTL) return false;
  try {
    const last = JSON.parse(live.metadata.annotations?.[LAST_APPLIED] ?? '') as ApiObject;
    const applied = managedSet(kind, { ...last, metadata: { ...last.metadata } });
    return isEmpty(difference(setOfPaths(paths), applied));
  } catch {
    // No such annotation, or not one of kubectl's.
    return false;
  }
}

function conflictError(conflicts: { entry: ManagedFieldsEntry; paths: string[][] }[]): StatusError {
  const causes: StatusCause[] = conflicts.flatMap(({ entry, paths }) =>
    paths.map((path) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with "${entry.manager}"${entry.subresource ? ` with subresource "${entry.subresource}"` : ''} using ${entry.apiVersion}`,
      field: formatPath(path),
    })),
  );
  const plural = causes.length === 1 ? 'conflict' : 'conflicts';
  const texts = causes.map(({ message, field }) => `${message}: ${field}`).join('\n');
  return new StatusError(409, 'Conflict', `Apply failed with ${causes.length} ${plural}: ${texts}`, { causes });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mergeValue(live: unknown, applied: unknown, schema: Schema | undefined): unknown {
  if (isObject(applied) && isObject(live) && !isAtomicMap(schema)) {
    const result: Record<string, unknown> = { ...live };
    for (const [key, value] of Object.entries(applied)) {
      if (key === '__proto__') continue;
      const before = Object.hasOwn(live, key) ? live[key] : undefined;
      result[key] = before === undefined ? value : mergeValue(before, value, fieldSchema(schema, key));
    }
    return result;
  }
  if (Array.isArray(applied) && Array.isArray(live) && schema !== undefined && listKind(schema) !== 'atomic')
    return mergeList(live, applied, schema);
  return applied;
}

/** The applied items in their order, each merged with its own; then what only the live list has. */
function mergeList(live: unknown[], applied: unknown[], schema: Schema): unknown[] {
  const items = schema.items === undefined ? undefined : resolveSchema(schema.items);
  const named = new Map(live.map((item) => [itemElement(item, schema), item]));
  const seen = new Set<string>();
  const result = applied.map((item) => {
    const element = itemElement(item, schema);
    seen.add(element);
    return named.has(element) ? mergeValue(named.get(element), item, items) : item;
  });
  for (const [element, item] of named) if (!seen.has(element)) result.push(item);
  return result;
}

function removeFields(value: unknown, set: FieldSet, schema: Schema | undefined): void {
  if (Array.isArray(value) && schema !== undefined) {
    const items = schema.items === undefined ? undefined : resolveSchema(schema.items);
    for (let index = value.length - 1; index >= 0; index--) {
      const found = set[itemElement(value[index], schema)];
      if (found === undefined) continue;
      if ('.' in found || Object.keys(found).length === 0) value.splice(index, 1);
      else removeFields(value[index], found, items);
    }
  } else if (isObject(value)) {
    for (const [element, inner] of Object.entries(set)) {
      const key = element.slice(2);
      if (!element.startsWith('f:') || !Object.hasOwn(value, key)) continue;
      if ('.' in inner || Object.keys(inner).length === 0) delete value[key];
      else {
        removeFields(value[key], inner, fieldSchema(schema, key));
        const left = value[key];
        if ((isObject(left) && Object.keys(left).length === 0) || (Array.isArray(left) && left.length === 0))
          delete value[key];
      }
    }
  }
}
