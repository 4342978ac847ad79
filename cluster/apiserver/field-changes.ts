/** What an update changed, as sets of fields: both states are walked together, and only what differs is looked into. */
import { isDeepStrictEqual } from 'node:util';
import { fieldSchema, isLeftOut, resolveSchema, type Schema } from '../kinds/schema.ts';
import { type FieldSet, fieldsOf, isAtomicMap, itemElement, listKind, withSelf } from './field-set.ts';

export interface FieldChanges {
  /** New, or with another value. */
  changed: FieldSet;
  removed: FieldSet;
}

export function fieldChanges(now: unknown, old: unknown, schema: Schema | undefined): FieldChanges {
  const changes: FieldChanges = { changed: {}, removed: {} };
  if (isObject(now) && isObject(old)) compareObjects(now, old, schema, changes);
  return changes;
}

function compareObjects(
  now: Record<string, unknown>,
  old: Record<string, unknown>,
  schema: Schema | undefined,
  { changed, removed }: FieldChanges,
): void {
  for (const [key, value] of Object.entries(now)) {
    const before = Object.hasOwn(old, key) ? old[key] : undefined;
    if (value === before || value === undefined) continue;
    const inner = fieldSchema(schema, key);
    if (before === undefined) changed[`f:${key}`] = whole(value, inner, schema, key);
    else compareValues(value, before, inner, { element: `f:${key}`, changed, removed });
  }
  for (const [key, before] of Object.entries(old)) {
    if (before === undefined || (Object.hasOwn(now, key) && now[key] !== undefined)) continue;
    removed[`f:${key}`] = whole(before, fieldSchema(schema, key), schema, key);
  }
}

function compareValues(
  now: unknown,
  old: unknown,
  schema: Schema | undefined,
  { element, changed, removed }: FieldChanges & { element: string },
): void {
  const inner: FieldChanges = { changed: {}, removed: {} };
  if (isObject(now) && isObject(old) && !isAtomicMap(schema)) compareObjects(now, old, schema, inner);
  else if (Array.isArray(now) && Array.isArray(old) && schema !== undefined && listKind(schema) !== 'atomic')
    compareLists(now, old, schema, inner);
  else {
    if (!isDeepStrictEqual(now, old)) changed[element] = {};
    return;
  }
  for (const _ in inner.changed) {
    changed[element] = inner.changed;
    break;
  }
  for (const _ in inner.removed) {
    removed[element] = inner.removed;
    break;
  }
}

function compareLists(now: unknown[], old: unknown[], schema: Schema, changes: FieldChanges): void {
  const items = schema.items === undefined ? undefined : resolveSchema(schema.items);
  const before = new Map(old.map((item) => [itemElement(item, schema), item]));
  for (const item of now) {
    const element = itemElement(item, schema);
    if (!before.has(element)) changes.changed[element] = wholeItem(item, items);
    else compareValues(item, before.get(element), items, { element, ...changes });
    before.delete(element);
  }
  for (const [element, item] of before) changes.removed[element] = wholeItem(item, items);
}

function wholeItem(item: unknown, schema: Schema | undefined): FieldSet {
  return withSelf(fieldsOf(item, schema, true));
}

/** A field that comes or goes as a whole. */
function whole(value: unknown, schema: Schema | undefined, parent: Schema | undefined, key: string): FieldSet {
  const set = fieldsOf(value, schema, true);
  return parent !== undefined && isLeftOut(parent, key) ? withSelf(set) : set;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
