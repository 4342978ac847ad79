/**
 * Readers of request bodies: each takes what it finds, and collects what is wrong; `done` throws all of it together as one
 * 422, in Cloud Foundry's words where it has words.
 */
import type { UserMetadata } from '../resources/types.ts';
import { UnprocessableError } from './errors.ts';

/** Of memory: in less the engine starts nothing, as Docker's. */
export const LEAST_MEMORY = 6;
/** Of memory, of disk: a terabyte. */
export const MOST_MEGABYTES = 1024 * 1024;

export class Reader {
  readonly body: Record<string, unknown>;
  readonly errors: string[] = [];

  constructor(body: unknown) {
    this.body = isObject(body) ? body : {};
    if (!isObject(body)) this.errors.push('The request body must be a JSON object');
  }

  /** Refuses fields that are not known: a typing error must not be taken for consent. */
  only(...names: string[]): this {
    const unknown = Object.keys(this.body).filter((name) => !names.includes(name));
    if (unknown.length > 0) this.errors.push(`Unknown field(s): ${unknown.map((name) => `'${name}'`).join(', ')}`);
    return this;
  }

  fail(message: string): void {
    this.errors.push(message);
  }

  has(name: string): boolean {
    return this.body[name] !== undefined;
  }

  name(field = 'name', options: { required?: boolean } = {}): string | undefined {
    const value = this.body[field];
    const label = capitalized(field);
    if (value === undefined) {
      if (options.required) this.errors.push(`${label} can't be blank`);
      return undefined;
    }
    const problem = nameProblem(value, label);
    if (problem) this.errors.push(problem);
    return typeof value === 'string' ? value : undefined;
  }

  string(field: string): string | undefined {
    const value = this.body[field];
    if (value === undefined) return undefined;
    if (typeof value === 'string') return value;
    this.errors.push(`${capitalized(field)} must be a string`);
    return undefined;
  }

  /** Null is told from absent. */
  nullableString(field: string): string | null | undefined {
    return this.body[field] === null ? null : this.string(field);
  }

  boolean(field: string): boolean | undefined {
    const value = this.body[field];
    if (value === undefined || typeof value === 'boolean') return value;
    this.errors.push(`${capitalized(field)} must be a boolean`);
    return undefined;
  }

  integer(field: string, range: { min: number; max: number }): number | undefined {
    const value = this.body[field];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value)) {
      this.errors.push(`${capitalized(field)} must be an integer`);
    } else if (value < range.min) {
      this.errors.push(`${capitalized(field)} must be greater than or equal to ${range.min}`);
    } else if (value > range.max) {
      this.errors.push(`${capitalized(field)} must be less than or equal to ${range.max}`);
    } else return value;
    return undefined;
  }

  megabytes(field: string, { least = 1 }: { least?: number } = {}): number | undefined {
    return this.integer(field, { min: least, max: MOST_MEGABYTES });
  }

  object(field: string): Reader | undefined {
    const value = this.body[field];
    if (value === undefined || value === null) return undefined;
    if (!isObject(value)) {
      this.errors.push(`${capitalized(field)} must be an object`);
      return undefined;
    }
    const reader = new Reader(value);
    // One list of errors: the nested reader's complaints are the request's.
    Object.defineProperty(reader, 'errors', { value: this.errors });
    return reader;
  }

  strings(field: string): string[] | undefined {
    const value = this.body[field];
    if (value === undefined || value === null) return undefined;
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    this.errors.push(`${capitalized(field)} must be an array of strings`);
    return undefined;
  }

  /** The guid of `relationships.<name>.data.guid`. */
  relationship(name: string, options: { required?: boolean } = {}): string | undefined {
    const relationships = this.body.relationships;
    const entry = isObject(relationships) ? relationships[name] : undefined;
    const data = isObject(entry) ? entry.data : undefined;
    const guid = isObject(data) ? data.guid : undefined;
    if (typeof guid === 'string' && guid !== '') return guid;
    if (options.required || guid !== undefined) {
      this.errors.push(
        `Relationships ${capitalized(name)} must be structured like this: "${name}: {"data": {"guid": "valid-guid"}}"`,
      );
    }
    return undefined;
  }

  metadata(): { labels?: Record<string, string | null>; annotations?: Record<string, string | null> } | undefined {
    const metadata = this.object('metadata');
    if (!metadata) return undefined;
    const labels = pairs(metadata.body.labels, 'label', this.errors);
    const annotations = pairs(metadata.body.annotations, 'annotation', this.errors);
    return { ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) };
  }

  done(): void {
    if (this.errors.length > 0) throw new UnprocessableError([...new Set(this.errors)]);
  }
}

/** The guids of `{"data": [{"guid": …}]}`. */
export function readGuids(reader: Reader, value: unknown): string[] {
  if (value === undefined) return [];
  const data = isObject(value) ? value['data'] : undefined;
  if (Array.isArray(data) && data.every((item) => isObject(item) && typeof item['guid'] === 'string')) {
    return data.map((item: { guid: string }) => item.guid);
  }
  reader.fail('Data must be structured like this: "data": [{"guid": "valid-guid"}]');
  return [];
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Names are for people: anything that prints, but nothing that breaks a line, a quotation or a log. */
export function nameProblem(value: unknown, label = 'Name'): string | undefined {
  if (typeof value !== 'string') return `${label} must be a string`;
  if (value.trim() === '') return `${label} can't be blank`;
  if ([...value].length > 255) return `${label} is too long (maximum is 255 characters)`;
  if (/[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e]/u.test(value)) {
    return `${label} ${JSON.stringify(value.slice(0, 60))} has a control character; use letters, digits, spaces and punctuation`;
  }
  if (/["'`\\<>]/.test(value)) {
    return `${label} ${JSON.stringify(value.slice(0, 60))} has a quotation mark, backslash or angle bracket; leave it out`;
  }
  if (!value.isWellFormed()) return `${label} is not valid Unicode`;
  return undefined;
}

/** Environment variables as Cloud Foundry takes them: a name and a text; null removes one. */
export function environmentProblems(values: Record<string, unknown>): string[] {
  const problems: string[] = [];
  for (const [name, value] of Object.entries(values)) {
    const shown = JSON.stringify(name.slice(0, 60));
    if (/^VCAP_/i.test(name)) problems.push(`Environment variable names cannot start with VCAP_: ${shown}`);
    else if (/^(PORT|CF_INSTANCE_.*|INSTANCE_INDEX|MEMORY_LIMIT)$/i.test(name)) {
      problems.push(`Environment variable names cannot be ${name.toUpperCase().slice(0, 60)}: the platform sets it`);
    } else if (!/^[A-Za-z_.-][A-Za-z0-9_.-]{0,252}$/.test(name)) {
      problems.push(
        `Environment variable name ${shown} must be letters, digits, '_', '-' and '.', and not begin with a digit`,
      );
    }
    if (value === null || typeof value === 'string') {
      if (typeof value === 'string' && value.includes('\0'))
        problems.push(`Environment variable ${shown} has a NUL character`);
    } else
      problems.push(
        `Non-string value in environment variable for key ${shown}, value ${JSON.stringify(value)?.slice(0, 60)}`,
      );
  }
  return problems;
}

const SIZE_UNITS: Record<string, number> = { M: 1, MB: 1, G: 1024, GB: 1024, T: 1024 * 1024, TB: 1024 * 1024 };

/** `256M`, `1GB`, `1.5G` in megabytes; undefined when it is none. */
export function parseMegabytes(value: unknown): number | undefined {
  const match = /^\s*(\d{1,12}(?:\.\d{1,6})?)\s*([MGT]B?)\s*$/i.exec(String(value));
  const unit = SIZE_UNITS[(match?.[2] ?? '').toUpperCase()];
  if (!match || unit === undefined) return undefined;
  const megabytes = Math.round(Number(match[1]) * unit);
  return megabytes > 0 ? megabytes : undefined;
}

const METADATA_KEY = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^$|^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

function pairs(
  value: unknown,
  what: 'label' | 'annotation',
  errors: string[],
): Record<string, string | null> | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) {
    errors.push(`Metadata ${what}s is not an object`);
    return undefined;
  }
  const result: Record<string, string | null> = {};
  for (const [key, entry] of Object.entries(value)) {
    const shown = JSON.stringify(key.slice(0, 60));
    if (!METADATA_KEY.test(key)) errors.push(`Metadata ${what} key error: ${shown} contains invalid characters`);
    else if (entry !== null && typeof entry !== 'string')
      errors.push(`Metadata ${what} value error: ${shown} must be a string`);
    else if (what === 'label' && entry !== null && !LABEL_VALUE.test(entry)) {
      errors.push(
        `Metadata label value error: '${entry.slice(0, 60)}' contains invalid characters or is longer than 63`,
      );
    } else if (entry !== null && entry.length > 5000) {
      errors.push(`Metadata ${what} value error: ${shown} is greater than 5000 characters`);
    } else result[key] = entry;
  }
  return result;
}

/** Null removes a key. */
export function mergeMetadata(
  old: UserMetadata | undefined,
  change: { labels?: Record<string, string | null>; annotations?: Record<string, string | null> } | undefined,
): UserMetadata {
  const merge = (base: Record<string, string>, delta: Record<string, string | null> | undefined) =>
    Object.fromEntries(
      Object.entries({ ...base, ...delta }).filter((entry): entry is [string, string] => entry[1] !== null),
    );
  return {
    labels: merge(old?.labels ?? {}, change?.labels),
    annotations: merge(old?.annotations ?? {}, change?.annotations),
  };
}

function capitalized(field: string): string {
  const words = field.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
