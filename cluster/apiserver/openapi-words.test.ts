import assert from 'node:assert/strict';
import { test } from 'node:test';
import { definitions } from '../kinds/schema.ts';
import { explained } from './openapi-words.ts';

const OBJECT_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

test('what every object has is explained, field by field', () => {
  const meta = explained(OBJECT_META, definitions()[OBJECT_META] ?? {});
  for (const [field, { description }] of Object.entries(meta.properties ?? {}))
    assert.ok(description, `metadata.${field} has no words`);
  assert.match(meta.description ?? '', /^Standard object's metadata/);
  const pod = explained('io.k8s.api.core.v1.Pod', definitions()['io.k8s.api.core.v1.Pod'] ?? {});
  const { apiVersion, kind, metadata, spec } = pod.properties ?? {};
  assert.match(apiVersion?.description ?? '', /^APIVersion defines/);
  assert.match(kind?.description ?? '', /^Kind is/);
  assert.deepEqual([metadata?.$ref, spec?.description], [`#/definitions/${OBJECT_META}`, undefined]);
});

test('words that a definition brings are kept', () => {
  const schema = {
    properties: { kind: { type: 'string', description: 'own' } },
    'x-kubernetes-group-version-kind': [{ group: 'example.com', version: 'v1', kind: 'Route' }],
  };
  assert.equal(explained('com.example.v1.Route', schema).properties?.['kind']?.description, 'own');
  assert.deepEqual(explained('com.example.Part', { properties: { kind: {} } }), { properties: { kind: {} } });
});
