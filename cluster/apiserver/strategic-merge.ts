/**
 * Strategic merge patch (API concepts, "Update API objects in place using kubectl patch"): JSON merge patch that knows,
 * from the schema, which lists are merged and by which key. Directives: `$patch`, `$retainKeys`, `$deleteFromPrimitiveList`,
 * `$setElementOrder`.
 */
import { fieldSchema, resolveSchema, type Schema } from '../kinds/schema.ts';
import { badRequest } from './errors.ts';

type Json = Record<string, unknown>;

const DELETE_FROM = '$deleteFromPrimitiveList/';
const ORDER = '$setElementOrder/';

export function strategicMerge(target: unknown, patch: unknown, schema: Schema | undefined): unknown {
  if (!isObject(patch)) return patch;
  const result: Json = isObject(target) ? { ...target } : {};
  const directive = patch['$patch'];
  if (directive === 'delete') return undefined;
  if (directive === 'replace') return withoutDirectives({ ...patch });
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`Unknown patch type found: ${String(directive)}; expected delete, merge or replace`);
  retainKeys(result, patch, patch['$retainKeys']);
  const [deletions, orders] = [directives(patch, DELETE_FROM), directives(patch, ORDER)];
  for (const [key, values] of deletions) {
    const list = Object.hasOwn(result, key) ? result[key] : undefined;
    const deleted = new Set(values);
    if (Array.isArray(list)) result[key] = list.filter((item) => !deleted.has(item));
  }
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$') || key === '__proto__') continue;
    if (value === null) {
      delete result[key];
      continue;
    }
    const before = Object.hasOwn(result, key) ? result[key] : undefined;
    const inner = fieldSchema(schema, key);
    // How a list is merged is said where the list is a field.
    const merged = Array.isArray(value) ? mergeList(before, value, inner) : strategicMerge(before, value, inner);
    if (merged === undefined) delete result[key];
    else result[key] = merged;
  }
  for (const [key, order] of orders) {
    const list = Object.hasOwn(result, key) ? result[key] : undefined;
    const before = isObject(target) && Object.hasOwn(target, key) ? target[key] : undefined;
    if (Array.isArray(list)) result[key] = ordered(list, order, before, mergeKey(fieldSchema(schema, key)));
  }
  return result;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isMerged(schema: Schema | undefined): boolean {
  return schema?.['x-kubernetes-patch-strategy']?.split(',').includes('merge') === true;
}

function mergeKey(schema: Schema | undefined): string | undefined {
  return schema?.['x-kubernetes-patch-merge-key'];
}

function directives(patch: Json, prefix: string): [string, unknown[]][] {
  return Object.entries(patch).flatMap(([key, value]): [string, unknown[]][] => {
    if (!key.startsWith(prefix)) return [];
    if (!Array.isArray(value)) throw badRequest(`${key} must be a list`);
    return [[key.slice(prefix.length), value]];
  });
}

/** What the patch says is among what it keeps. */
function retainKeys(result: Json, patch: Json, keys: unknown): void {
  if (keys === undefined) return;
  if (!Array.isArray(keys)) throw badRequest('$retainKeys must be a list');
  const retained = new Set(keys);
  if (Object.keys(patch).some((key) => !key.startsWith('$') && !retained.has(key)))
    throw badRequest('invalid patch format of retainKeys');
  for (const key of Object.keys(result)) if (!retained.has(key)) delete result[key];
}

function mergeList(target: unknown, patch: unknown[], schema: Schema | undefined): unknown[] {
  const plain = patch.filter(
    (item) => !(isObject(item) && item['$patch'] === 'replace' && Object.keys(item).length === 1),
  );
  if (plain.length < patch.length) return plain.map(withoutDirectives);
  if (!isMerged(schema)) return patch.map(withoutDirectives);
  const before = Array.isArray(target) ? target : [];
  const key = mergeKey(schema);
  if (key === undefined) return ordered([...new Set([...before, ...patch])], patch, before, key);
  const items = schema?.items === undefined ? undefined : resolveSchema(schema.items);
  const result = [...before];
  // By the value of their key, so that long lists take no longer for each item than short ones. Some have it twice.
  const places = Map.groupBy(result.keys(), (at) => (isObject(result[at]) ? result[at][key] : GONE));
  for (const item of patch) {
    if (!isObject(item)) throw badRequest(`expected an object with the merge key "${key}" in a list that is merged`);
    if (item[key] === undefined)
      throw badRequest(`map: ${JSON.stringify(item).slice(0, 200)} does not contain declared merge key: ${key}`);
    const own = places.get(item[key]);
    const at = own?.[0];
    if (at === undefined) {
      if (item['$patch'] !== 'delete') places.set(item[key], [result.push(strategicMerge({}, item, items)) - 1]);
    } else if (item['$patch'] === 'delete') {
      result[at] = GONE;
      own?.shift();
    } else result[at] = strategicMerge(result[at], item, items);
  }
  return ordered(
    result.filter((one) => one !== GONE),
    patch,
    before,
    key,
  );
}

/** In the place of an item that a patch took away, until it is done. */
const GONE = Symbol('gone');

/**
 * What the order names comes in it, all else as it was before. Of one of each the one that was first stays first; what is new goes
 * before what the order does not name.
 */
function ordered(list: unknown[], order: unknown[], before: unknown, key: string | undefined): unknown[] {
  const identity = (item: unknown) => (key !== undefined && isObject(item) ? item[key] : item);
  const rankIn = (items: unknown[]) => new Map(items.toReversed().map((item, at) => [identity(item), -at]));
  const [wanted, known] = [rankIn(order), rankIn(Array.isArray(before) ? before : [])];
  const sorted = (items: unknown[], ranks: Map<unknown, number>) =>
    items.toSorted((a, b) => (ranks.get(identity(a)) ?? 1) - (ranks.get(identity(b)) ?? 1));
  const named = sorted(
    list.filter((item) => wanted.has(identity(item))),
    wanted,
  );
  const others = sorted(
    list.filter((item) => !wanted.has(identity(item))),
    known,
  );
  const result: unknown[] = [];
  let at = 0;
  for (const item of named) {
    const place = known.get(identity(item));
    const isBefore = (other: unknown) => place !== undefined && (known.get(identity(other)) ?? place) < place;
    while (at < others.length && isBefore(others[at])) result.push(others[at++]);
    result.push(item);
  }
  return [...result, ...others.slice(at)];
}

function withoutDirectives(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectives);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) =>
      key === '$patch' ||
      key === '$retainKeys' ||
      key.startsWith(DELETE_FROM) ||
      key.startsWith(ORDER) ||
      inner === null
        ? []
        : [[key, withoutDirectives(inner)]],
    ),
  );
}
