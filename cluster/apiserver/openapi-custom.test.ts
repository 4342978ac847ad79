import assert from 'node:assert/strict';
import { test } from 'node:test';
import { customKinds } from '../kinds/custom.ts';
import type { KindDefinition } from '../kinds/kind.ts';
import type { Schema } from '../kinds/schema.ts';
import type { CustomResourceDefinition } from '../kinds/types/apiextensions.ts';
import { publishedSchema } from './openapi-custom.ts';

const GVK = { 'x-kubernetes-group-version-kind': [{ group: 'example.com', kind: 'Route', version: 'v1' }] };
const META = { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' };
const OWN = { apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: META };
const ANY = { 'x-kubernetes-preserve-unknown-fields': true };

function kindOf(openAPIV3Schema: Schema): KindDefinition {
  const definition = {
    metadata: { name: 'routes.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Cluster',
      names: { plural: 'routes', kind: 'Route' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema } }],
    },
  };
  const [kind] = customKinds(definition as unknown as CustomResourceDefinition);
  assert.ok(kind);
  return kind;
}

test('where everything is allowed, version 2 lists nothing', () => {
  const kind = kindOf({ type: 'object', properties: { a: { type: 'string' } }, ...ANY });
  assert.deepEqual(publishedSchema(kind, 2), { type: 'object', ...GVK });
  assert.deepEqual(publishedSchema(kind, 3), {
    type: 'object',
    properties: { a: { type: 'string' }, ...OWN },
    ...ANY,
    ...GVK,
  });
});

test('version 2 leaves out what it cannot say, at any depth', () => {
  const kind = kindOf({
    type: 'object',
    properties: {
      free: { type: 'object', properties: { a: { type: 'string' } }, ...ANY },
      freeList: { type: 'array', items: { type: 'string' }, ...ANY },
      list: {
        type: 'array',
        items: {
          type: 'object',
          required: ['either', 'b'],
          properties: { either: { type: 'string', nullable: true }, b: { type: 'string', anyOf: [{ minLength: 1 }] } },
        },
      },
      map: {
        type: 'object',
        additionalProperties: { type: 'object', properties: { c: { type: 'integer' } }, not: {} },
      },
    },
  });
  assert.deepEqual(publishedSchema(kind, 2), {
    type: 'object',
    properties: {
      free: ANY,
      freeList: ANY,
      list: {
        type: 'array',
        items: { type: 'object', required: ['b'], properties: { either: {}, b: { type: 'string' } } },
      },
      map: { type: 'object', additionalProperties: { type: 'object', properties: { c: { type: 'integer' } } } },
      ...OWN,
    },
    ...GVK,
  });
});

test('objects within have what every object has, unless version 2 says nothing of them', () => {
  const embedded = { type: 'object', 'x-kubernetes-embedded-resource': true, properties: { spec: { type: 'object' } } };
  const kind = kindOf({ type: 'object', properties: { one: embedded, free: { ...embedded, ...ANY } } });
  const whole = { ...embedded, required: ['kind', 'apiVersion'], properties: { spec: { type: 'object' }, ...OWN } };
  assert.deepEqual(publishedSchema(kind, 3).properties, { one: whole, free: { ...whole, ...ANY }, ...OWN });
  assert.deepEqual(publishedSchema(kind, 2).properties, {
    one: whole,
    free: { 'x-kubernetes-embedded-resource': true, ...ANY },
    ...OWN,
  });
});
