/**
 * Sets of field paths as `metadata.managedFields` writes them (FieldsV1): `f:` a field, `k:` an item of a list by its keys,
 * `v:` an item of a set, `.` the thing itself. An empty object is a member without further ones below it.
 */
import { fieldSchema, isLeftOut, resolveSchema, type Schema } from '../kinds/schema.ts';

export interface FieldSet {
  [element: string]: FieldSet;
}

const SELF = '.';

export function listKind(schema: Schema | undefined): 'map' | 'set' | 'atomic' {
  const type = schema?.['x-kubernetes-list-type'];
  return type === 'map' || type === 'set' ? type : 'atomic';
}

export function isAtomicMap(schema: Schema | undefined): boolean {
  return schema?.['x-kubernetes-map-type'] === 'atomic';
}

/** How an item is named in its list. */
export function itemElement(item: unknown, schema: Schema): string {
  if (listKind(schema) === 'set') return `v:${JSON.stringify(item)}`;
  const object = (typeof item === 'object' && item !== null ? item : {}) as Record<string, unknown>;
  const keys = [...(schema['x-kubernetes-list-map-keys'] ?? [])].sort();
  // A port's protocol is a key with a default.
  const entries = keys.map((key) => [key, object[key] ?? (key === 'protocol' ? 'TCP' : null)]);
  return `k:${JSON.stringify(Object.fromEntries(entries))}`;
}

/**
 * Every leaf that `value` has.
 *
 * @param whole  maps, lists and structures that would not be there without their content are members too, as in what an
 *               update brings in
 */
export function fieldsOf(value: unknown, schema: Schema | undefined, whole = false): FieldSet {
  const set: FieldSet = {};
  if (Array.isArray(value)) {
    if (listKind(schema) === 'atomic' || schema === undefined) return set;
    for (const item of value) {
      const inner = fieldsOf(item, schema.items === undefined ? undefined : resolveSchema(schema.items), whole);
      set[itemElement(item, schema)] = withSelf(inner);
    }
    return set;
  }
  if (typeof value !== 'object' || value === null || isAtomicMap(schema)) return set;
  for (const [key, field] of Object.entries(value)) {
    if (field === undefined) continue;
    const inner = fieldsOf(field, fieldSchema(schema, key), whole);
    set[`f:${key}`] = whole && schema !== undefined && isLeftOut(schema, key) ? withSelf(inner) : inner;
  }
  return set;
}

/** A node is a member when it is a leaf or says so itself. */
function isMember(set: FieldSet): boolean {
  return SELF in set || Object.keys(set).length === 0;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = { ...a };
  for (const [element, inner] of Object.entries(b)) {
    const mine = a[element];
    if (mine === undefined) result[element] = inner;
    else {
      const both = union(mine, inner);
      if (Object.keys(both).length > 0 && element !== SELF && (isMember(mine) || isMember(inner)) && hasChildren(both))
        both[SELF] = {};
      result[element] = both;
    }
  }
  return result;
}

function hasChildren(set: FieldSet): boolean {
  for (const element in set) if (element !== SELF) return true;
  return false;
}

/** In place: a member itself, not only what is in it. */
export function withSelf(set: FieldSet): FieldSet {
  if (hasChildren(set)) set[SELF] = {};
  return set;
}

/** The same with whatever holds a member a member too: who owns a part of a thing wants the thing to be there. */
export function withHolders(set: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [element, inner] of Object.entries(set)) {
    if (element === SELF) continue;
    result[element] = hasChildren(inner) ? { ...withHolders(inner), [SELF]: {} } : {};
  }
  return result;
}

/** What is in `a` and not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [element, mine] of Object.entries(a)) {
    const theirs = b[element];
    if (theirs === undefined) {
      result[element] = mine;
      continue;
    }
    if (element === SELF) continue;
    const left = difference(mine, theirs);
    if (isMember(mine) && !isMember(theirs))
      result[element] = { ...left, ...(hasChildren(left) ? { [SELF]: {} } : {}) };
    else if (Object.keys(left).length > 0) result[element] = left;
  }
  return result;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result: FieldSet = {};
  for (const [element, mine] of Object.entries(a)) {
    const theirs = b[element];
    if (theirs === undefined) continue;
    const inner = intersection(mine, theirs);
    const both = isMember(mine) && isMember(theirs);
    if (both) result[element] = hasChildren(inner) ? { ...inner, [SELF]: {} } : {};
    else if (Object.keys(inner).length > 0) result[element] = inner;
  }
  return result;
}

export function isEmpty(set: FieldSet): boolean {
  for (const _ in set) return false;
  return true;
}

/** Calls back for each member. */
export function eachMember(set: FieldSet, visit: (path: string[]) => void, path: string[] = []): void {
  for (const [element, inner] of Object.entries(set)) {
    if (element === SELF) continue;
    const here = [...path, element];
    if (isMember(inner)) visit(here);
    eachMember(inner, visit, here);
  }
}

export function setOfPaths(paths: string[][]): FieldSet {
  const set: FieldSet = {};
  for (const path of paths) {
    let at = set;
    for (const [index, element] of path.entries()) {
      const known = at[element];
      if (known === undefined) at[element] = {};
      else if (index < path.length - 1 && Object.keys(known).length === 0) known[SELF] = {};
      else if (index === path.length - 1 && hasChildren(known)) known[SELF] = {};
      at = at[element] as FieldSet;
    }
  }
  return set;
}

/** `.spec.containers[name="web"].image` */
export function formatPath(path: string[]): string {
  return path
    .map((element) => {
      const text = element.slice(2);
      if (element.startsWith('f:')) return `.${text}`;
      if (element.startsWith('v:')) return `[=${text}]`;
      const keys = JSON.parse(text) as Record<string, unknown>;
      return `[${Object.entries(keys)
        .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
        .join(',')}]`;
    })
    .join('');
}

/** The value at a path; undefined when there is none. */
export function valueAt(root: unknown, path: string[], rootSchema: Schema | undefined): unknown {
  let [value, schema] = [root, rootSchema];
  for (const element of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (element.startsWith('f:')) {
      const key = element.slice(2);
      value = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
      schema = fieldSchema(schema, key);
    } else {
      if (!Array.isArray(value) || schema === undefined) return undefined;
      const list = schema;
      value = value.find((item) => itemElement(item, list) === element);
      schema = list.items === undefined ? undefined : resolveSchema(list.items);
    }
  }
  return value;
}
