/**
 * The field schemas of the built-in kinds (`schema/*.json`), and what is common to them and to the structural schemas of
 * CustomResourceDefinitions. Loaded on first use, a few milliseconds.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { KindDefinition } from './kind.ts';
import type { ValidationRule } from './types/apiextensions.ts';

export interface Schema {
  $ref?: string;
  type?: string;
  format?: string;
  title?: string;
  description?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  required?: string[];
  default?: unknown;
  enum?: unknown[];
  nullable?: boolean;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minProperties?: number;
  maxProperties?: number;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  not?: Schema;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-embedded-resource'?: boolean;
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: 'atomic' | 'granular';
  'x-kubernetes-validations'?: ValidationRule[];
  'x-kubernetes-patch-strategy'?: string;
  'x-kubernetes-patch-merge-key'?: string;
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[];
}

/** Numbers of a message's fields in protobuf (`protobuf-fields.json`). */
export interface MessageFields {
  values?: Record<string, number>;
  pointers?: Record<string, number>;
  /** Messages whose fields are the parent's own in JSON. */
  inline?: Record<string, number>;
}

const REF = '#/definitions/';
export const QUANTITY = 'io.k8s.apimachinery.pkg.api.resource.Quantity';
export const INT_OR_STRING = 'io.k8s.apimachinery.pkg.util.intstr.IntOrString';
export const OBJECT_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

let loaded: Record<string, Schema> | undefined;

/** Every definition by its name. Nobody changes them. */
export function definitions(): Record<string, Schema> {
  if (loaded === undefined) {
    const directory = new URL('./schema/', import.meta.url);
    loaded = {};
    for (const file of readdirSync(directory)) {
      if (file.endsWith('.json')) Object.assign(loaded, JSON.parse(readFileSync(new URL(file, directory), 'utf8')));
    }
  }
  return loaded;
}

/** Of one definition, the fields that are left out where they are empty. */
interface LeftOut {
  /** Lists, maps, and what may be absent besides having any value. */
  pointers: ReadonlySet<string>;
  /** What has a value always: an empty one is none. */
  values: ReadonlySet<string>;
}

let optional: Map<Schema, LeftOut> | undefined;

function leftOut(): Map<Schema, LeftOut> {
  if (optional === undefined) {
    optional = new Map();
    const file = new URL('./protobuf-fields.json', import.meta.url);
    const messages = JSON.parse(readFileSync(file, 'utf8')) as Record<string, MessageFields>;
    const fieldsOf = (name: string, side: 'pointers' | 'values'): string[] => [
      ...Object.keys(messages[name]?.[side] ?? {}),
      ...Object.keys(messages[name]?.inline ?? {}).flatMap((inner) => fieldsOf(inner, side)),
    ];
    for (const [name, definition] of Object.entries(definitions())) {
      if (messages[name] === undefined) continue;
      const always = new Set(definition.required);
      const some = (side: 'pointers' | 'values') => new Set(fieldsOf(name, side).filter((one) => !always.has(one)));
      optional.set(definition, { pointers: some('pointers'), values: some('values') });
    }
  }
  return optional;
}

/**
 * Of a built-in object: is the field left out where it is empty, rather than there with an empty value? Then it is said
 * of who brings it in that he owns the field itself, not only what is in it.
 */
export function isLeftOut(schema: Schema, field: string): boolean {
  // Custom resources leave out whatever they do not have.
  return leftOut().get(schema)?.pointers.has(field) ?? field !== 'metadata';
}

/** Does the value say nothing, so that a typed server leaves the field out? An empty text, list or map, 0, `false`. */
export function saysNothing(schema: Schema, field: string, value: unknown): boolean {
  const fields = leftOut().get(schema);
  if (fields === undefined) return false;
  if (value === '' || value === 0 || value === false) return fields.values.has(field);
  if (typeof value !== 'object' || value === null || Object.keys(value).length > 0) return false;
  const isMap = Array.isArray(value) || fieldSchema(schema, field)?.additionalProperties !== undefined;
  // Maps with a type of their own look like values.
  return isMap && (fields.pointers.has(field) || fields.values.has(field));
}

/** The schema itself, where it only names another. */
export function resolveSchema(schema: Schema): Schema {
  if (schema.$ref === undefined) return schema;
  return definitions()[refName(schema) ?? ''] ?? {};
}

export function refName(schema: Schema): string | undefined {
  return schema.$ref?.startsWith(REF) ? schema.$ref.slice(REF.length) : undefined;
}

/** Of a kind's objects; undefined for a custom kind that brings none. */
export function schemaOf(kind: KindDefinition): Schema | undefined {
  if (kind.schema !== undefined) return kind.schema as Schema;
  return kind.schemaName === undefined ? undefined : definitions()[kind.schemaName];
}

/** Of a field, by the object's schema; undefined where nothing is known about it. */
export function fieldSchema(schema: Schema | undefined, field: string): Schema | undefined {
  if (schema === undefined) return undefined;
  const own = schema.properties;
  const found = own !== undefined && Object.hasOwn(own, field) ? own[field] : undefined;
  if (found !== undefined) return resolveSchema(found);
  return typeof schema.additionalProperties === 'object' ? resolveSchema(schema.additionalProperties) : undefined;
}
