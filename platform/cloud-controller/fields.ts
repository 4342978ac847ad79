/** `fields[service_plan.service_offering]=guid,name`: parts of what resources belong to, beside them. */
import type { Json } from './api.ts';
import { badQuery, splitList } from './listing.ts';

/** A key of `fields`, what may be asked of it, where it is put, and how it is found from the resources shown. */
export interface Field<T> {
  allowed: string[];
  /** In `included`: `service_plans`. */
  into: string;
  /** Whole, as the API presents them, each once. */
  of: (items: T[]) => Json[];
}

/** Which keys there may be, for lists to allow. */
export function fieldParameters<T>(fields: Record<string, Field<T>>): string[] {
  return Object.keys(fields).map((name) => `fields[${name}]`);
}

/** Undefined where none are asked for. */
export function includedFields<T>(
  query: URLSearchParams,
  fields: Record<string, Field<T>>,
  items: T[],
): Json | undefined {
  let included: Json | undefined;
  for (const [name, { allowed, into, of }] of Object.entries(fields)) {
    const value = query.get(`fields[${name}]`);
    if (value === null) continue;
    const names = splitList(value);
    const wrong = names.filter((one) => !allowed.includes(one));
    if (wrong.length > 0) {
      throw badQuery(`Fields valid keys for '${name}' are: ${allowed.map((one) => `'${one}'`).join(', ')}`);
    }
    included ??= {};
    included[into] = of(items).map((whole) => part(whole, names));
  }
  return included;
}

function part(whole: Json, names: string[]): Json {
  const shown: Json = {};
  for (const name of names) {
    const [first = '', second] = name.split('.');
    if (second === undefined) shown[first] = whole[first];
    else {
      const inner = (whole[first] ?? {}) as Json;
      shown[first] = { ...(shown[first] as Json | undefined), [second]: inner[second] };
    }
  }
  return shown;
}
