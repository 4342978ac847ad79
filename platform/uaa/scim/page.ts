/** Lists of SCIM: filter, order, attributes and a page of them (SCIM 1.1, section 3.2.2). */
import { UaaError } from '../uaa.ts';
import { type Attributes, parseFilter } from './filter.ts';

export interface Listed {
  /** As clients see it. */
  json: Record<string, unknown>;
  attributes: Attributes;
}

const SCHEMAS = ['urn:scim:schemas:core:1.0'];
const DEFAULT_COUNT = 100;
const MAX_COUNT = 500;

export function scimPage(all: Listed[], query: URLSearchParams, names: readonly string[]): Record<string, unknown> {
  const text = query.get('filter') ?? '';
  const filter = text.trim() === '' ? () => true : parseFilter(text, names);
  const by = (query.get('sortBy') ?? names[0] ?? '').toLowerCase();
  if (!names.includes(by)) throw new UaaError('invalid_scim_resource', `sortBy must be one of ${names.join(', ')}`);
  const sign = query.get('sortOrder')?.toLowerCase().startsWith('desc') ? -1 : 1;
  const key = ({ attributes }: Listed) => String(attributes[by]?.[0] ?? '').toLowerCase();
  const found = all
    .filter(({ attributes }) => filter(attributes))
    .sort((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
  const startIndex = numberOf(query, 'startIndex', 1);
  const count = Math.min(numberOf(query, 'count', DEFAULT_COUNT), MAX_COUNT);
  const wanted = query.get('attributes')?.split(',').filter(Boolean);
  return {
    resources: found.slice(startIndex - 1, startIndex - 1 + count).map(({ json }) => picked(json, wanted)),
    startIndex,
    itemsPerPage: count,
    totalResults: found.length,
    schemas: SCHEMAS,
  };
}

function picked(json: Record<string, unknown>, wanted: string[] | undefined): Record<string, unknown> {
  if (!wanted) return json;
  // `emails.value` asks for the emails.
  const names = wanted.map((name) => name.split('.')[0]?.toLowerCase());
  return Object.fromEntries(Object.entries(json).filter(([name]) => names.includes(name.toLowerCase())));
}

function numberOf(query: URLSearchParams, name: string, fallback: number): number {
  const text = query.get(name);
  if (text === null) return fallback;
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1)
    throw new UaaError('invalid_scim_resource', `${name} must be a positive number`);
  return Number(text);
}
