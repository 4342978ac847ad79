/**
 * Structural schemas of CustomResourceDefinitions (Kubernetes "Specifying a structural schema"): pruning, defaulting and
 * validation. CEL rules are `custom-rules.ts`, what a schema itself must be is `structural-schema.ts`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { RE2JS } from '@bufbuild/re2';
import { linearPattern } from '../cel/patterns.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, invalid, notSupported, required, wrongType } from './field-errors.ts';
import { fitsFormat, hasFormat } from './formats.ts';
import type { Schema } from './schema.ts';

/** Drops in place what the schema does not specify; returns the paths. `metadata` is not the schema's to specify. */
export function prune(value: unknown, schema: Schema, path = '', dropped: string[] = []): string[] {
  if (Array.isArray(value)) {
    if (schema.items !== undefined)
      for (const [index, item] of value.entries()) prune(item, schema.items, `${path}[${index}]`, dropped);
    return dropped;
  }
  if (typeof value !== 'object' || value === null) return dropped;
  const object = value as Record<string, unknown>;
  const root = path === '' || schema['x-kubernetes-embedded-resource'] === true;
  for (const key of Object.keys(object)) {
    const field = path === '' ? key : `${path}.${key}`;
    if (root && (key === 'apiVersion' || key === 'kind' || key === 'metadata')) continue;
    const inner = propertySchema(schema, key);
    if (inner !== undefined) prune(object[key], inner, field, dropped);
    else if (schema['x-kubernetes-preserve-unknown-fields'] !== true && schema.additionalProperties !== true) {
      dropped.push(field);
      delete object[key];
    }
  }
  return dropped;
}

/** Fills in place what is absent, or null without being nullable. */
export function fillDefaults(value: unknown, schema: Schema): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) fillDefaults(item, schema.items);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  const object = value as Record<string, unknown>;
  for (const [key, inner] of Object.entries(schema.properties ?? {})) {
    if (inner.default === undefined) continue;
    if (object[key] === undefined || (object[key] === null && inner.nullable !== true))
      object[key] = structuredClone(inner.default);
  }
  for (const key of Object.keys(object)) {
    const inner = propertySchema(schema, key);
    if (inner !== undefined) fillDefaults(object[key], inner);
  }
}

export interface Place {
  path: string;
  /** What is there before the change; undefined where nothing is, or where nobody can tell. */
  old?: unknown;
}

/**
 * What did not change was let in once, by a schema that may have been another one: it is not looked at again (Kubernetes "Validation
 * ratcheting"), so that a stricter schema does not hold up changes of everything else.
 */
export function validateStructure(
  value: unknown,
  schema: Schema,
  at: Place = { path: '' },
  errors: FieldError[] = [],
): FieldError[] {
  const { path, old } = at;
  if (value === null && schema.nullable === true) return errors;
  if (old !== undefined && isDeepStrictEqual(value, old)) return errors;
  const type = typeProblem(value, schema);
  if (type !== undefined) {
    errors.push(
      wrongType(path, typeName(value), `${path} in body must be of type ${type}: ${JSON.stringify(typeName(value))}`),
    );
    return errors;
  }
  if (schema.enum !== undefined && !schema.enum.some((one) => JSON.stringify(one) === JSON.stringify(value)))
    errors.push(notSupported(path, value, schema.enum.map(String)));
  if (typeof value === 'string') validateString(value, schema, path, errors);
  else if (typeof value === 'number') validateNumber(value, schema, path, errors);
  else if (Array.isArray(value)) validateArray(value, schema, at, errors);
  else if (typeof value === 'object' && value !== null)
    validateObject(value as Record<string, unknown>, schema, at, errors);
  validateLogic(value, schema, path, errors);
  return errors;
}

/** Undefined when the text is none. */
export function linearPatternOf(pattern: string): RE2JS | undefined {
  try {
    return linearPattern(pattern);
  } catch {
    return undefined;
  }
}

export function propertySchema(schema: Schema, key: string): Schema | undefined {
  if (schema.properties !== undefined && Object.hasOwn(schema.properties, key)) return schema.properties[key];
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined;
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

/** The type that it should have, or undefined. */
function typeProblem(value: unknown, schema: Schema): string | undefined {
  const name = typeName(value);
  if (schema['x-kubernetes-int-or-string'] === true)
    return name === 'integer' || name === 'string' ? undefined : 'integer,string';
  if (schema.type === undefined || schema.type === name) return undefined;
  return schema.type === 'number' && name === 'integer' ? undefined : schema.type;
}

function validateString(value: string, schema: Schema, path: string, errors: FieldError[]): void {
  const length = [...value].length;
  if (schema.maxLength !== undefined && length > schema.maxLength)
    errors.push(invalid(path, value, `${path} in body should be at most ${schema.maxLength} chars long`));
  if (schema.minLength !== undefined && length < schema.minLength)
    errors.push(invalid(path, value, `${path} in body should be at least ${schema.minLength} chars long`));
  if (schema.pattern !== undefined && linearPatternOf(schema.pattern)?.test(value) === false)
    errors.push(invalid(path, value, `${path} in body should match '${schema.pattern}'`));
  if (schema.format !== undefined && !hasFormat(value, schema.format))
    errors.push(wrongType(path, value, `${path} in body must be of type ${schema.format}: ${JSON.stringify(value)}`));
}

function validateNumber(value: number, schema: Schema, path: string, errors: FieldError[]): void {
  const { minimum, maximum, multipleOf } = schema;
  if (schema.format !== undefined && !fitsFormat(value, schema.format))
    errors.push(wrongType(path, value, `${path} in body must be of type ${schema.format}: "number"`));
  if (maximum !== undefined && (schema.exclusiveMaximum === true ? value >= maximum : value > maximum))
    errors.push(
      invalid(
        path,
        value,
        `${path} in body should be less than ${schema.exclusiveMaximum === true ? '' : 'or equal to '}${maximum}`,
      ),
    );
  if (minimum !== undefined && (schema.exclusiveMinimum === true ? value <= minimum : value < minimum))
    errors.push(
      invalid(
        path,
        value,
        `${path} in body should be greater than ${schema.exclusiveMinimum === true ? '' : 'or equal to '}${minimum}`,
      ),
    );
  if (multipleOf !== undefined && value % multipleOf !== 0)
    errors.push(invalid(path, value, `${path} in body should be a multiple of ${multipleOf}`));
}

/** What an item of a list was: only the items of a map can be told apart. */
export function counterpart(item: unknown, old: unknown, schema: Schema): unknown {
  if (schema['x-kubernetes-list-type'] !== 'map' || !Array.isArray(old)) return undefined;
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  const at = (one: unknown, key: string) => (one as Record<string, unknown> | null)?.[key];
  return old.find((one) => keys.every((key) => at(one, key) === at(item, key)));
}

function validateArray(value: unknown[], schema: Schema, { path, old }: Place, errors: FieldError[]): void {
  if (schema.maxItems !== undefined && value.length > schema.maxItems)
    errors.push(invalid(path, value.length, `${path} in body should have at most ${schema.maxItems} items`));
  if (schema.minItems !== undefined && value.length < schema.minItems)
    errors.push(invalid(path, value.length, `${path} in body should have at least ${schema.minItems} items`));
  const keys = schema['x-kubernetes-list-type'] === 'map' ? (schema['x-kubernetes-list-map-keys'] ?? []) : undefined;
  const unique = keys !== undefined || schema['x-kubernetes-list-type'] === 'set' || schema.uniqueItems === true;
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    const field = `${path}[${index}]`;
    if (unique) {
      const identity = keys === undefined ? item : keys.map((key) => (item as Record<string, unknown> | null)?.[key]);
      const text = JSON.stringify(identity);
      if (seen.has(text))
        errors.push(
          duplicate(
            field,
            keys === undefined ? item : Object.fromEntries(keys.map((key, at) => [key, (identity as unknown[])[at]])),
          ),
        );
      seen.add(text);
    }
    if (schema.items !== undefined)
      validateStructure(item, schema.items, { path: field, old: counterpart(item, old, schema) }, errors);
  }
}

function validateObject(
  value: Record<string, unknown>,
  schema: Schema,
  { path, old }: Place,
  errors: FieldError[],
): void {
  const before = typeof old === 'object' && old !== null && !Array.isArray(old) ? (old as Record<string, unknown>) : {};
  const keys = Object.keys(value);
  const at = (key: string) => (path === '' ? key : `${path}.${key}`);
  if (schema['x-kubernetes-embedded-resource'] === true)
    for (const key of ['apiVersion', 'kind']) if (!value[key]) errors.push(required(at(key), 'must not be empty'));
  for (const key of schema.required ?? []) {
    if (value[key] === undefined) errors.push(required(at(key)));
  }
  if (schema.maxProperties !== undefined && keys.length > schema.maxProperties)
    errors.push(invalid(path, keys.length, `${path} in body should have at most ${schema.maxProperties} properties`));
  if (schema.minProperties !== undefined && keys.length < schema.minProperties)
    errors.push(invalid(path, keys.length, `${path} in body should have at least ${schema.minProperties} properties`));
  for (const key of keys) {
    const inner = propertySchema(schema, key);
    if (inner !== undefined && !(path === '' && key === 'metadata'))
      validateStructure(value[key], inner, { path: at(key), old: before[key] }, errors);
  }
}

function validateLogic(value: unknown, schema: Schema, path: string, errors: FieldError[]): void {
  const holds = (inner: Schema) => validateStructure(value, inner, { path }, []).length === 0;
  for (const inner of schema.allOf ?? []) validateStructure(value, inner, { path }, errors);
  if (schema.anyOf !== undefined && !schema.anyOf.some(holds))
    errors.push(invalid(path, value, `${path} in body must validate at least one schema (anyOf)`));
  if (schema.oneOf !== undefined && schema.oneOf.filter(holds).length !== 1)
    errors.push(invalid(path, value, `${path} in body must validate one and only one schema (oneOf)`));
  if (schema.not !== undefined && holds(schema.not))
    errors.push(invalid(path, value, `${path} in body must not validate the schema (not)`));
}
