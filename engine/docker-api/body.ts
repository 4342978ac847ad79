/** The JSON body of a request, read field by field: what does not fit is refused, naming the field. */
import { readBounded } from '#lib/read-bounded.ts';
import type { Call } from './call.ts';
import { DockerError } from './errors.ts';

export type Document = Readonly<Record<string, unknown>>;

const LARGEST_BODY = 4 * 1024 * 1024;

/** An empty body is an empty object. @throws DockerError 400, 413 */
export async function readBody(call: Call): Promise<Document> {
  const tooLong = () => new DockerError(413, `the body has more than ${LARGEST_BODY} bytes`);
  const bytes = await readBounded(call.request, LARGEST_BODY, tooLong);
  if (bytes.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new DockerError(400, 'invalid JSON: the body is no JSON object in UTF-8', { cause });
  }
  return asObject(value, 'the body') ?? {};
}

function bad(field: string, wanted: string, value: unknown): DockerError {
  const shown = (JSON.stringify(value) ?? 'undefined').slice(0, 100);
  return new DockerError(400, `invalid parameter: ${field} is ${shown}, not ${wanted}`);
}

function asObject(value: unknown, field: string): Document | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || Array.isArray(value)) throw bad(field, 'an object', value);
  return value as Document;
}

/** Reads the fields of one object; absent and null are the same. */
export class Fields {
  readonly document: Document;
  readonly #path: string;

  constructor(document: Document, path = '') {
    this.document = document;
    this.#path = path;
  }

  name(field: string): string {
    return this.#path === '' ? field : `${this.#path}.${field}`;
  }

  has(field: string): boolean {
    return this.document[field] !== undefined && this.document[field] !== null;
  }

  text(field: string): string {
    const value = this.document[field];
    if (value === undefined || value === null) return '';
    if (typeof value !== 'string' || value.includes('\0')) throw bad(this.name(field), 'a string', value);
    return value;
  }

  flag(field: string): boolean {
    const value = this.document[field];
    if (value === undefined || value === null) return false;
    if (typeof value !== 'boolean') throw bad(this.name(field), 'true or false', value);
    return value;
  }

  integer(field: string): number {
    const value = this.document[field];
    if (value === undefined || value === null) return 0;
    if (!Number.isSafeInteger(value)) throw bad(this.name(field), 'a whole number', value);
    return value as number;
  }

  /** Undefined where it is absent. */
  strings(field: string): string[] | undefined {
    const value = this.document[field];
    if (value === undefined || value === null) return undefined;
    if (!Array.isArray(value) || value.some((one) => typeof one !== 'string' || one.includes('\0')))
      throw bad(this.name(field), 'a list of strings', value);
    return value as string[];
  }

  /** A string counts as a list of one. */
  words(field: string): string[] | undefined {
    const value = this.document[field];
    return typeof value === 'string' ? [value] : this.strings(field);
  }

  stringMap(field: string): Record<string, string> {
    const entries = Object.entries(asObject(this.document[field], this.name(field)) ?? {});
    for (const [key, value] of entries)
      if (typeof value !== 'string') throw bad(`${this.name(field)}[${JSON.stringify(key)}]`, 'a string', value);
    return Object.fromEntries(entries) as Record<string, string>;
  }

  keys(field: string): string[] {
    return Object.keys(asObject(this.document[field], this.name(field)) ?? {});
  }

  object(field: string): Fields {
    return new Fields(asObject(this.document[field], this.name(field)) ?? {}, this.name(field));
  }

  objects(field: string): Fields[] {
    const value = this.document[field];
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw bad(this.name(field), 'a list', value);
    return value.map((one, index) => {
      const path = `${this.name(field)}[${index}]`;
      return new Fields(asObject(one, path) ?? {}, path);
    });
  }

  refuse(field: string, why: string): DockerError {
    return new DockerError(400, `invalid parameter: ${this.name(field)}: ${why}`);
  }
}
