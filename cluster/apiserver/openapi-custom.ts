/**
 * Schemas of custom kinds as clients are told of them (Kubernetes, "Publish Validation Schema in OpenAPI"). Version 2 says less
 * than a definition does: what it cannot say is left out there, and where everything is allowed nothing is listed, as
 * kubectl takes whatever is not listed for a mistake.
 */
import type { KindDefinition } from '../kinds/kind.ts';
import type { Schema } from '../kinds/schema.ts';

const META = { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' };
const OWN = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: META };

export function publishedSchema(kind: KindDefinition, version: 2 | 3): Schema {
  const schema = (kind.schema ?? {}) as Schema;
  const gvk = { 'x-kubernetes-group-version-kind': [{ group: kind.group, kind: kind.kind, version: kind.version }] };
  if (version === 2 && allowsAll(schema)) return { type: 'object', ...gvk };
  const told = withEmbedded(version === 2 ? inVersion2(schema) : schema, version);
  return { ...told, type: 'object', properties: { ...told.properties, ...OWN }, ...gvk };
}

function allowsAll(schema: Schema): boolean {
  return schema['x-kubernetes-preserve-unknown-fields'] === true;
}

function inVersion2(schema: Schema): Schema {
  const {
    allOf: _1,
    anyOf: _2,
    oneOf: _3,
    not: _4,
    nullable,
    ...told
  } = { ...schema } as Schema & Record<string, unknown>;
  if (nullable === true || allowsAll(schema)) {
    delete told.items;
    delete told.properties;
  }
  const isUntold =
    nullable === true ||
    (told.type === 'array' && told.items === undefined) ||
    (told.type === 'object' && allowsAll(schema));
  if (isUntold) delete told.type;
  // A field that may be null cannot be told to be required.
  const required = told.required?.filter((name) => told.properties?.[name]?.nullable !== true);
  if (required !== undefined && required.length > 0) told.required = required;
  else delete told.required;
  return eachInner(told as Schema, inVersion2);
}

/** Whole objects within have what every object has. */
function withEmbedded(schema: Schema, version: 2 | 3): Schema {
  const told = eachInner(schema, (inner) => withEmbedded(inner, version));
  if (schema['x-kubernetes-embedded-resource'] !== true || (version === 2 && allowsAll(schema))) return told;
  const required = [...new Set([...(told.required ?? []), 'kind', 'apiVersion'])];
  return { ...told, required, properties: { ...told.properties, ...OWN } };
}

function eachInner(schema: Schema, change: (inner: Schema) => Schema): Schema {
  const { properties, items, additionalProperties } = schema;
  return {
    ...schema,
    ...(properties === undefined
      ? {}
      : { properties: Object.fromEntries(Object.entries(properties).map(([name, inner]) => [name, change(inner)])) }),
    ...(items === undefined ? {} : { items: change(items) }),
    ...(typeof additionalProperties === 'object' ? { additionalProperties: change(additionalProperties) } : {}),
  };
}
