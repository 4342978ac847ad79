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
  retainKeys(result, patch['$retainKeys']);
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
    if (Array.isArray(list)) result[key] = reorder(list, order, mergeKey(fieldSchema(schema, key)));
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

function retainKeys(result: Json, keys: unknown): void {
  if (keys === undefined) return;
  if (!Array.isArray(keys)) throw badRequest('$retainKeys must be a list');
  const retained = new Set(keys);
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
  if (key === undefined) return [...new Set([...before, ...patch])];
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
  return result.filter((one) => one !== GONE);
}

/** In the place of an item that a patch took away, until it is done. */
const GONE = Symbol('gone');

/** Items that the order names come in it; others keep their place behind the one they followed. */
function reorder(list: unknown[], order: unknown[], key: string | undefined): unknown[] {
  const identity = (item: unknown) => (key !== undefined && isObject(item) ? item[key] : item);
  const ranks = new Map(order.map((item, index) => [identity(item), index]));
  let last = -1;
  const placed = list.map((item, index) => {
    const rank = ranks.get(identity(item));
    if (rank !== undefined) last = rank;
    return { item, index, rank: rank ?? last + 0.5 };
  });
  return placed.sort((a, b) => a.rank - b.rank || a.index - b.index).map(({ item }) => item);
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
