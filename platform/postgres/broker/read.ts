/** Reads what a platform sends, which may be anything. Problems are `BrokerError`s 400 that name the field. */
import { createHash } from 'node:crypto';
import { ownField } from '#lib/own-field.ts';
import { BrokerError } from '../postgres.ts';

export type Fields = Record<string, unknown>;

/** Longer than any platform's; shorter than what is worth looking at. */
const LONGEST_ID = 256;

export function asFields(value: unknown, what: string): Fields {
  if (value === undefined || value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) throw new BrokerError(400, `${what} must be an object`);
  return value as Fields;
}

export function text(fields: Fields, name: string): string | undefined {
  const value = ownField(fields, name);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new BrokerError(400, `${name} must be a string`);
  return value;
}

export function requiredText(fields: Fields, name: string): string {
  const value = text(fields, name);
  if (value === undefined || value === '') throw new BrokerError(400, `${name} is missing`);
  return value;
}

/** What is a label's value in the cluster, as every guid is. */
export function guid(fields: Fields, name: string): string | undefined {
  const value = text(fields, name);
  if (value === undefined || /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(value)) return value;
  throw new BrokerError(400, `${name} must be a guid: at most 63 letters, digits, '-', '.' and '_'`);
}

/** Of an instance or a binding, in a path. */
export function identifier(value: string | undefined, what: string): string {
  if (value === undefined || !/^[A-Za-z0-9._~-]+$/.test(value) || value.length > LONGEST_ID) {
    throw new BrokerError(400, `${what} must be 1 to ${LONGEST_ID} letters, digits, '-', '.', '_' or '~'`);
  }
  return value;
}

/** The same for the same content, in whatever order. */
export function digestOfRequest(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .digest('hex');
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.entries(value)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([key, inner]) => [key, sorted(inner)]);
}
