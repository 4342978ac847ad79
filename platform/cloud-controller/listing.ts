/** Lists as Cloud Foundry gives them: filters, order, pages, included resources. Unknown parameters are refused. */
import type { ClientObject } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ApiRequest, Json, Reply, Urls } from './api.ts';
import { CloudFoundryError } from './errors.ts';
import { matchesLabels, parseLabelSelector } from './label-selector.ts';
import { jsonBytes, withList } from './presented.ts';
import { createdAt, updatedAt } from './records.ts';

const MAX_PER_PAGE = 5_000;

export interface ListOptions<T extends ClientObject> {
  items: Stored<T>[];
  /** As JSON in bytes where it is known already: see `presented`. */
  present: (item: Stored<T>) => Json | Buffer;
  /** Values are what the client named, comma-separated; an item stays when every filter given says so. */
  filters?: Record<string, (item: Stored<T>, values: string[]) => boolean>;
  /** Besides `created_at` and `updated_at`. */
  orders?: Record<string, (item: Stored<T>) => string | number>;
  /** Allowed values of `include`, and what they add to `included` for the items of the page. */
  includes?: Record<string, (items: Stored<T>[]) => Json>;
  userLabels?: (item: Stored<T>) => Record<string, string>;
  /** Besides `includes`: what more is `included` with the items of the page. */
  included?: (items: Stored<T>[]) => Json | undefined;
  /** Parameters that are allowed and change nothing here. */
  ignored?: string[];
  defaultOrder?: string;
}

export function badQuery(detail: string): CloudFoundryError {
  return new CloudFoundryError('BadQueryParameter', `The query parameter is invalid: ${detail}`);
}

export function listReply<T extends ClientObject>(
  context: { urls: Urls },
  request: Pick<ApiRequest, 'query' | 'path'>,
  options: ListOptions<T>,
): Reply {
  const { query } = request;
  checkParameters(query, options);
  let items = options.items;
  for (const [name, filter] of Object.entries({ ...commonFilters<T>(), ...options.filters })) {
    const value = query.get(name);
    if (value === null) continue;
    const values = splitList(value);
    items = items.filter((item) => filter(item, values));
  }
  const selector = query.get('label_selector');
  if (selector !== null) {
    const requirements = parseLabelSelector(selector);
    items = items.filter((item) => matchesLabels(requirements, options.userLabels?.(item) ?? {}));
  }
  items = sorted(items, query.get('order_by') ?? options.defaultOrder ?? 'created_at', options);
  const page = numberOf(query, 'page', 1, Number.MAX_SAFE_INTEGER);
  const perPage = numberOf(query, 'per_page', 50, MAX_PER_PAGE);
  const shown = items.slice((page - 1) * perPage, page * perPage);
  const asked = includedOf(query.get('include'), shown, options);
  const more = options.included?.(shown);
  const included = asked || more ? { ...asked, ...more } : undefined;
  const around = {
    pagination: pagination(`${context.urls.api}${request.path}`, query, { page, perPage, total: items.length }),
    ...(included ? { included } : {}),
  };
  const resources = shown.map((item) => {
    const json = options.present(item);
    return Buffer.isBuffer(json) ? json : jsonBytes(json);
  });
  return { status: 200, type: 'application/json; charset=utf-8', body: withList(around, 'resources', resources) };
}

/** `include` for a single resource. */
export function includedOf<T extends ClientObject>(
  include: string | null,
  items: Stored<T>[],
  options: Pick<ListOptions<T>, 'includes'>,
): Json | undefined {
  if (include === null || include === '') return undefined;
  const merged: Json = {};
  for (const name of splitList(include)) {
    const add = options.includes && Object.hasOwn(options.includes, name) ? options.includes[name] : undefined;
    if (!add) {
      throw badQuery(
        `Invalid included resource: '${name}'. Valid included resources are: ${quoted(Object.keys(options.includes ?? {}))}`,
      );
    }
    for (const [kind, list] of Object.entries(add(items))) {
      const all = new Map<unknown, Json>();
      for (const entry of [...((merged[kind] as Json[] | undefined) ?? []), ...(list as Json[])]) {
        all.set(entry.guid, entry);
      }
      merged[kind] = [...all.values()];
    }
  }
  return merged;
}

/** A list of things that are no stored objects. */
export function plainList(context: { urls: Urls }, request: Pick<ApiRequest, 'query' | 'path'>, all: Json[]): Reply {
  const page = numberOf(request.query, 'page', 1, Number.MAX_SAFE_INTEGER);
  const perPage = numberOf(request.query, 'per_page', 50, MAX_PER_PAGE);
  const names = request.query.get('names');
  const items = names === null ? all : all.filter((item) => splitList(names).includes(String(item.name)));
  return {
    status: 200,
    body: {
      pagination: pagination(`${context.urls.api}${request.path}`, request.query, {
        page,
        perPage,
        total: items.length,
      }),
      resources: items.slice((page - 1) * perPage, page * perPage),
    },
  };
}

/** Values are separated by commas and percent-encoded a second time where they have one themselves. */
export function splitList(value: string): string[] {
  return value.split(',').map((part) => {
    try {
      return decodeURIComponent(part.trim());
    } catch {
      return part.trim(); // a lone percent sign is meant as it is
    }
  });
}

function commonFilters<T extends ClientObject>(): Record<string, (item: Stored<T>, values: string[]) => boolean> {
  const at = (read: (item: Stored<T>) => string, operator: string) => (item: Stored<T>, values: string[]) => {
    const time = Date.parse(read(item));
    const bounds = values.map((value) => Date.parse(value));
    if (bounds.some(Number.isNaN)) throw badQuery(`"${values.join(',')}" is not a time, expected 2026-01-31T12:00:00Z`);
    const [bound = 0] = bounds;
    if (operator === 'gt') return time > bound;
    if (operator === 'gte') return time >= bound;
    if (operator === 'lt') return time < bound;
    if (operator === 'lte') return time <= bound;
    return bounds.some((value) => Math.floor(value / 1000) === Math.floor(time / 1000));
  };
  const filters: Record<string, (item: Stored<T>, values: string[]) => boolean> = {
    guids: (item, values) => values.includes(item.metadata.name),
  };
  for (const [name, read] of [
    ['created_ats', createdAt],
    ['updated_ats', updatedAt],
  ] as const) {
    filters[name] = at(read, '');
    for (const operator of ['gt', 'gte', 'lt', 'lte']) filters[`${name}[${operator}]`] = at(read, operator);
  }
  return filters;
}

function checkParameters<T extends ClientObject>(query: URLSearchParams, options: ListOptions<T>): void {
  const allowed = [
    'page',
    'per_page',
    'order_by',
    'label_selector',
    ...(options.includes ? ['include'] : []),
    ...Object.keys(commonFilters<T>()),
    ...Object.keys(options.filters ?? {}),
    ...(options.ignored ?? []),
  ];
  const unknown = [...new Set(query.keys())].filter((name) => !allowed.includes(name));
  if (unknown.length > 0) {
    throw badQuery(`Unknown query parameter(s): ${quoted(unknown)}. Valid parameters are: ${quoted(allowed)}`);
  }
}

function sorted<T extends ClientObject>(items: Stored<T>[], order: string, options: ListOptions<T>): Stored<T>[] {
  const descending = order.startsWith('-');
  const name = order.replace(/^[-+]/, '');
  const keys: Record<string, (item: Stored<T>) => string | number> = {
    created_at: createdAt,
    updated_at: updatedAt,
    ...options.orders,
  };
  const key = Object.hasOwn(keys, name) ? keys[name] : undefined;
  if (!key) throw badQuery(`Order by can only be: ${quoted(Object.keys(keys))}`);
  // All are kept in the order of their creation, so that for most lists nothing is to be done.
  if (!descending && isInOrder(items, key)) return items;
  const sign = descending ? -1 : 1;
  // Keys are read once each: there are far more comparisons than items.
  return items
    .map((item) => ({ item, key: key(item), name: item.metadata.name }))
    .sort((a, b) => {
      if (a.key === b.key) return a.name < b.name ? -1 : 1;
      return (a.key < b.key ? -1 : 1) * sign;
    })
    .map(({ item }) => item);
}

function isInOrder<T extends ClientObject>(items: Stored<T>[], key: (item: Stored<T>) => string | number): boolean {
  let before: { key: string | number; name: string } | undefined;
  for (const item of items) {
    const now = { key: key(item), name: item.metadata.name };
    if (before && (before.key > now.key || (before.key === now.key && before.name > now.name))) return false;
    before = now;
  }
  return true;
}

function numberOf(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const value = query.get(name);
  if (value === null) return fallback;
  const number = /^\d{1,15}$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > max) {
    const label = name === 'page' ? 'Page' : 'Per page';
    throw badQuery(`${label} must be a positive integer${max < 1e9 ? ` between 1 and ${max}` : ''}`);
  }
  return number;
}

function pagination(
  base: string,
  query: URLSearchParams,
  position: { page: number; perPage: number; total: number },
): Json {
  const pages = Math.max(1, Math.ceil(position.total / position.perPage));
  const link = (page: number) => {
    const parameters = new URLSearchParams(query);
    parameters.set('page', String(page));
    parameters.set('per_page', String(position.perPage));
    return { href: `${base}?${parameters.toString()}` };
  };
  return {
    total_results: position.total,
    total_pages: pages,
    first: link(1),
    last: link(pages),
    next: position.page < pages ? link(position.page + 1) : null,
    previous: position.page > 1 ? link(position.page - 1) : null,
  };
}

function quoted(names: string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
