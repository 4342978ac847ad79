/**
 * Reads what a client sent for a built-in kind the way a typed server does: a null is an absent field, a field that the
 * schema does not know is dropped and reported, a value of another type is an error that names its field. Quantities and times get
 * their canonical form. What says nothing, as an empty text where none may be meant, is an absent field too where that is asked for:
 * charts write much of it.
 */
import { canonicalQuantity } from './canonical-quantity.ts';
import { quantityProblem } from './quantity.ts';
import { INT_OR_STRING, QUANTITY, refName, resolveSchema, saysNothing, type Schema } from './schema.ts';

const INT32_MAX = 2 ** 31 - 1;
const MICRO_TIME = 'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime';
/** RFC 3339, with a fraction or without. */
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/;

export interface DecodeResult {
  /** Paths of dropped fields, `spec.containers[0].imagee`. */
  unknown: string[];
  /** `spec.replicas: expected an integer, got the string "three"` */
  wrongTypes: string[];
}

interface Decoding extends DecodeResult {
  dropsEmpty: boolean;
}

/** Changes `value` in place. */
export function decodeObject(
  value: Record<string, unknown>,
  schema: Schema,
  { dropsEmpty = false }: { dropsEmpty?: boolean } = {},
): DecodeResult {
  const result: Decoding = { unknown: [], wrongTypes: [], dropsEmpty };
  decodeFields(value, schema, '', result);
  return { unknown: result.unknown, wrongTypes: result.wrongTypes };
}

function decodeFields(object: Record<string, unknown>, schema: Schema, path: string, result: Decoding): void {
  const properties = schema.properties;
  const additional = typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined;
  if (properties === undefined && additional === undefined) return;
  for (const key of Object.keys(object)) {
    const field = path === '' ? key : `${path}.${key}`;
    const known = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (known === undefined && additional === undefined) {
      result.unknown.push(field);
      delete object[key];
      continue;
    }
    const inner = known ?? (additional as Schema);
    if (object[key] === null) {
      // In a map of strings a null is an empty one.
      if (known === undefined && resolveSchema(inner).type === 'string') object[key] = '';
      else delete object[key];
    }
    if (!Object.hasOwn(object, key)) continue;
    object[key] = decodeValue(object[key], inner, field, result);
    // A status is written by programs, which say what they mean.
    if (
      result.dropsEmpty &&
      known !== undefined &&
      !field.startsWith('status') &&
      saysNothing(schema, key, object[key])
    )
      delete object[key];
  }
}

function decodeValue(value: unknown, reference: Schema, path: string, result: Decoding): unknown {
  const name = refName(reference);
  if (name === QUANTITY) return decodeQuantity(value, path, result);
  if (name === INT_OR_STRING) {
    if (typeof value === 'string' || Number.isInteger(value)) return value;
    return wrong(value, path, 'an integer or a string', result);
  }
  const schema = resolveSchema(reference);
  switch (schema.type) {
    case undefined:
      return value;
    case 'object':
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        return wrong(value, path, 'an object', result);
      decodeFields(value as Record<string, unknown>, schema, path, result);
      return value;
    case 'array':
      if (!Array.isArray(value)) return wrong(value, path, 'an array', result);
      for (const [index, item] of value.entries())
        value[index] = decodeValue(item, schema.items ?? {}, `${path}[${index}]`, result);
      return value;
    case 'string':
      if (typeof value !== 'string') return wrong(value, path, 'a string', result);
      if (schema.format === 'date-time') return decodeTime(value, name === MICRO_TIME ? 6 : 0, path, result);
      return schema.format === 'byte' ? decodeBytes(value, path, result) : value;
    case 'integer':
      if (!Number.isSafeInteger(value)) return wrong(value, path, 'an integer', result);
      return schema.format === 'int32' && Math.abs(value as number) > INT32_MAX
        ? wrong(value, path, 'an integer of 32 bits', result)
        : value;
    case 'number':
      return typeof value === 'number' ? value : wrong(value, path, 'a number', result);
    case 'boolean':
      return typeof value === 'boolean' ? value : wrong(value, path, 'a boolean', result);
    default:
      return value;
  }
}

function decodeQuantity(value: unknown, path: string, result: Decoding): unknown {
  if (typeof value !== 'string' && typeof value !== 'number') return wrong(value, path, 'a quantity', result);
  const text = String(value).trim();
  const problem = quantityProblem(text);
  if (problem === undefined) return canonicalQuantity(text);
  result.wrongTypes.push(`${path}: ${problem}`);
  return value;
}

/** In UTC, as upstream writes it. @param digits  of the fraction of a second */
function decodeTime(text: string, digits: number, path: string, result: Decoding): string {
  // It is no time.
  if (text === '') return text;
  const [, whole = '', fraction = '', zone = ''] = TIME.exec(text) ?? [];
  const time = Date.parse(`${whole}${zone}`);
  if (Number.isNaN(time)) return String(wrong(text, path, 'a time as 2006-01-02T15:04:05Z', result));
  const seconds = zone === 'Z' ? whole : new Date(time).toISOString().slice(0, 'YYYY-MM-DDTHH:mm:ss'.length);
  return `${seconds}${digits === 0 ? '' : `.${fraction.padEnd(digits, '0').slice(0, digits)}`}Z`;
}

function decodeBytes(value: string, path: string, result: Decoding): string {
  const text = value.replace(/[\r\n]/g, '');
  if (text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)) return text;
  const place = text.search(/[^A-Za-z0-9+/]/);
  result.wrongTypes.push(
    `${path}: illegal base64 data at input byte ${place < 0 ? text.length - (text.length % 4) : place}`,
  );
  return value;
}

function wrong(value: unknown, path: string, expected: string, result: Decoding): unknown {
  let got = value === null ? 'null' : `${Array.isArray(value) ? 'an array' : `a ${typeof value}`}`;
  if (typeof value === 'string' || typeof value === 'number')
    got = `the ${typeof value} ${JSON.stringify(value).slice(0, 80)}`;
  result.wrongTypes.push(`${path}: expected ${expected}, got ${got}`);
  return value;
}

/** Fields that the schema requires and the object lacks, outside of `status`. */
export function missingFields(value: unknown, reference: Schema, path = '', missing: string[] = []): string[] {
  const schema = resolveSchema(reference);
  if (Array.isArray(value)) {
    if (schema.items !== undefined)
      for (const [index, item] of value.entries()) missingFields(item, schema.items, `${path}[${index}]`, missing);
    return missing;
  }
  if (typeof value !== 'object' || value === null) return missing;
  const object = value as Record<string, unknown>;
  for (const key of schema.required ?? []) {
    if (object[key] === undefined) missing.push(path === '' ? key : `${path}.${key}`);
  }
  for (const [key, inner] of Object.entries(object)) {
    if (path === '' && (key === 'status' || key === 'metadata')) continue;
    const known = schema.properties?.[key] ?? schema.additionalProperties;
    if (typeof known === 'object') missingFields(inner, known, path === '' ? key : `${path}.${key}`, missing);
  }
  return missing;
}
