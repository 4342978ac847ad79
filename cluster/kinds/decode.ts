/**
 * Reads what a client sent for a built-in kind the way a typed server does: a null is an absent field, a field that the
 * schema does not know is dropped and reported, a value of another type is an error that names its field. Quantities get their
 * canonical form.
 */
import { canonicalQuantity } from './canonical-quantity.ts';
import { quantityProblem } from './quantity.ts';
import { INT_OR_STRING, QUANTITY, refName, resolveSchema, type Schema } from './schema.ts';

const INT32_MAX = 2 ** 31 - 1;

export interface DecodeResult {
  /** Paths of dropped fields, `spec.containers[0].imagee`. */
  unknown: string[];
  /** `spec.replicas: expected an integer, got the string "three"` */
  wrongTypes: string[];
}

/** Changes `value` in place. */
export function decodeObject(value: Record<string, unknown>, schema: Schema): DecodeResult {
  const result: DecodeResult = { unknown: [], wrongTypes: [] };
  decodeFields(value, schema, '', result);
  return result;
}

function decodeFields(object: Record<string, unknown>, schema: Schema, path: string, result: DecodeResult): void {
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
    if (Object.hasOwn(object, key)) object[key] = decodeValue(object[key], inner, field, result);
  }
}

function decodeValue(value: unknown, reference: Schema, path: string, result: DecodeResult): unknown {
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
      if (schema.format === 'date-time' && Number.isNaN(Date.parse(value)))
        return wrong(value, path, 'a time as 2006-01-02T15:04:05Z', result);
      return value;
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

function decodeQuantity(value: unknown, path: string, result: DecodeResult): unknown {
  if (typeof value !== 'string' && typeof value !== 'number') return wrong(value, path, 'a quantity', result);
  const text = String(value).trim();
  const problem = quantityProblem(text);
  if (problem === undefined) return canonicalQuantity(text);
  result.wrongTypes.push(`${path}: ${problem}`);
  return value;
}

function wrong(value: unknown, path: string, expected: string, result: DecodeResult): unknown {
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
