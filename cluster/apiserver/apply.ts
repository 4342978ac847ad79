/** Server-side apply: what the applied configuration says is merged, what it no longer says is removed. */
import { isDeepStrictEqual } from 'node:util';
import type { ApiObject, KindDefinition } from '../kinds/kind.ts';
import { fieldSchema, resolveSchema, type Schema, schemaOf } from '../kinds/schema.ts';
import type { ManagedFieldsEntry, StatusCause } from '../kinds/types/meta.ts';
import { StatusError } from './errors.ts';
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
} from './field-set.ts';
import { managedSet, newEntry, setOf } from './managed-fields.ts';

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
  const wanted = managedSet(kind, applied);
  let entries: ManagedFieldsEntry[] = structuredClone(live?.metadata.managedFields ?? []);
  if (live !== undefined && entries.length === 0)
    entries = [
      newEntry(
        kind,
        'before-first-apply',
        'Update',
        '',
        managedSet(kind, live) as Record<string, unknown>,
        options.time,
      ),
    ];
  const isMine = (entry: ManagedFieldsEntry) =>
    entry.manager === options.manager &&
    entry.operation === 'Apply' &&
    (entry.subresource ?? '') === options.subresource;
  const others = entries.filter((entry) => !isMine(entry));
  const mine = entries.find(isMine);
  if (live !== undefined) resolveConflicts(live, applied, wanted, others, schema, options);
  const merged = mergeValue(live ?? {}, applied, schema) as ApiObject;
  if (mine !== undefined) {
    const theirs = others.reduce<FieldSet>((all, entry) => union(all, setOf(entry)), {});
    const dropped = difference(difference(setOf(mine), wanted), theirs);
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
  merged.metadata.managedFields = [...others.filter((entry) => !isEmpty(setOf(entry))), own];
  return merged;
}

function resolveConflicts(
  live: ApiObject,
  applied: ApiObject,
  wanted: FieldSet,
  others: ManagedFieldsEntry[],
  schema: Schema | undefined,
  { force }: ApplyOptions,
): void {
  const causes: StatusCause[] = [];
  for (const entry of others) {
    const paths: string[][] = [];
    eachMember(intersection(wanted, setOf(entry)), (path) => {
      if (path.at(-1)?.startsWith('k:') === true) return;
      if (!isDeepStrictEqual(valueAt(live, path, schema), valueAt(applied, path, schema))) paths.push(path);
    });
    if (paths.length === 0) continue;
    if (force) entry.fieldsV1 = difference(setOf(entry), setOfPaths(paths)) as Record<string, unknown>;
    else
      causes.push(
        ...paths.map((path) => ({
          reason: 'FieldManagerConflict',
          message: `conflict with "${entry.manager}"${entry.subresource ? ` with subresource "${entry.subresource}"` : ''} using ${entry.apiVersion}`,
          field: formatPath(path),
        })),
      );
  }
  if (causes.length === 0) return;
  const plural = causes.length === 1 ? 'conflict' : 'conflicts';
  const texts = causes.map(({ message, field }) => `${message}: ${field}`).join('\n');
  throw new StatusError(409, 'Conflict', `Apply failed with ${causes.length} ${plural}: ${texts}`, { causes });
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
