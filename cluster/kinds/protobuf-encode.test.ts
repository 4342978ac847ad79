import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { builtinKinds } from './builtin.ts';
import { decodeProtobuf } from './protobuf.ts';
import { encodeItem, encodeList, encodeWatchEvent, envelope, isEncodable } from './protobuf-encode.ts';
import { INT_OR_STRING, QUANTITY, refName, resolveSchema, type Schema } from './schema.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1.';

function roundTrip(object: Record<string, unknown>): unknown {
  const item = encodeItem(object);
  assert.ok(item);
  return decodeProtobuf(envelope(String(object['apiVersion']), String(object['kind']), item));
}

/** A value in every field, none of them empty. */
function filled(reference: Schema, random: () => number, depth: number): unknown {
  const name = refName(reference) ?? '';
  const schema = resolveSchema(reference);
  const number = (): number => 1 + Math.floor(random() * 100_000);
  if (name === QUANTITY) return `${number()}Mi`;
  if (name === INT_OR_STRING) return random() < 0.5 ? number() : `${number()}%`;
  if (name === `${META}Time`) return new Date(number() * 1e7).toISOString().replace(/\.\d+/, '');
  if (name === `${META}MicroTime`) return new Date(number() * 1e7).toISOString().replace(/\.\d+/, '.123456');
  if (name === `${META}FieldsV1` || name.endsWith('RawExtension')) return { 'f:any': { '.': {} } };
  if (schema.type === 'boolean') return true;
  if (schema.type === 'integer') return random() < 0.1 ? -number() : number();
  if (schema.type === 'string')
    return schema.format === 'byte' ? Buffer.from(`b${number()}`).toString('base64') : `s${number()}é`;
  if (schema.type === 'array') return [1, 2].map(() => filled(schema.items ?? {}, random, depth + 1));
  const isObject = schema['x-kubernetes-group-version-kind'] !== undefined;
  if (schema.properties !== undefined)
    return Object.fromEntries(
      Object.entries(schema.properties)
        // PodResourceClaim.source was an alpha field of 1.30; the types that the numbers come from have it no more.
        .filter(([field]) => !(name.endsWith('.PodResourceClaim') && field === 'source'))
        // The kind of an object within another is known from where it is.
        .filter(([field]) => !(depth === 0 || isObject) || !['apiVersion', 'kind'].includes(field))
        .map(([field, inner]) => [field, filled(inner, random, depth + 1)]),
    );
  if (schema.additionalProperties !== undefined)
    return { one: filled(schema.additionalProperties as Schema, random, depth + 1) };
  return { any: 'thing' };
}

describe('protobuf of every kind', () => {
  for (const { group, version, kind, schemaName } of builtinKinds) {
    const apiVersion = group === '' ? version : `${group}/${version}`;
    if (schemaName === undefined || !isEncodable(apiVersion, kind)) continue;
    it(`${apiVersion} ${kind}: every field comes back`, () => {
      let seed = 7;
      const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
      for (let round = 0; round < 3; round++) {
        const object: Record<string, unknown> = {
          apiVersion,
          kind,
          ...(filled({ $ref: `#/definitions/${schemaName}` }, random, 0) as object),
        };
        assert.deepEqual(roundTrip(object), object);
      }
    });
  }

  it('leaves out no kind but those without field numbers', () => {
    const without = builtinKinds
      .filter(({ group, version, kind }) => !isEncodable(group === '' ? version : `${group}/${version}`, kind))
      .map(({ kind }) => kind);
    assert.deepEqual(without.sort(), ['CustomResourceDefinition', 'NodeMetrics', 'PodMetrics']);
  });

  it('keeps an empty value where it is not as none', () => {
    const object = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'a' },
      spec: {
        replicas: 0,
        selector: { matchLabels: { a: '' } },
        template: {
          spec: {
            containers: [{ name: 'c' }],
            volumes: [{ name: 'v', emptyDir: {} }],
            automountServiceAccountToken: false,
          },
        },
      },
    };
    assert.deepEqual(roundTrip(object), object);
  });

  it('writes the bytes that kube-apiserver writes', () => {
    // Pod "a" in "b": the magic, then Unknown{typeMeta{v1, Pod}, raw{metadata{name, namespace}}}.
    const item = encodeItem({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'a', namespace: 'b' } });
    assert.equal(item?.toString('hex'), '0a060a01611a0162');
    assert.equal(envelope('v1', 'Pod', item).toString('hex'), '6b3873000a090a0276311203506f6412080a060a01611a0162');
    const list = decodeProtobuf(
      encodeList('v1', 'PodList', { resourceVersion: '7', remainingItemCount: 3 }, [item, item]),
    );
    const pod = { metadata: { name: 'a', namespace: 'b' } };
    const metadata = { resourceVersion: '7', remainingItemCount: 3 };
    assert.deepEqual(list, { apiVersion: 'v1', kind: 'PodList', metadata, items: [pod, pod] });
    assert.equal(encodeWatchEvent('ADDED', Buffer.from('xy')).toString('hex'), '0000000d0a05414444454412040a027879');
  });
});
