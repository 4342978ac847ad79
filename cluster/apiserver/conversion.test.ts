import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import type { ApiObject } from '#cluster/kinds/kind.ts';
import { type ApiFixture, apiFixture, take } from '#testing/apiserver-fixture.ts';

const DEFINITIONS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const path = (version: string) => `/apis/example.com/${version}/namespaces/default/places`;
const MERGE = { 'content-type': 'application/merge-patch+json' };

type Spec = { host?: string; port?: number; address?: string };

/** v1 has a host and a port, v2 an address of both. */
function convert(object: ApiObject, wanted: string): ApiObject {
  const spec = (object['spec'] ?? {}) as Spec;
  const [host = '', port = '0'] = spec.address?.split(':') ?? [spec.host, String(spec.port)];
  return {
    ...object,
    apiVersion: wanted,
    metadata: { ...object.metadata, uid: 'mine', labels: { ...object.metadata.labels, seen: 'yes' } },
    spec: wanted.endsWith('v2') ? { address: `${host}:${port}` } : { host, port: Number(port) },
  };
}

describe('API server: versions that a webhook converts', () => {
  let fixture: ApiFixture;
  let server: Server;
  let clientConfig: object;
  let refusal: string | undefined;
  let reviews = 0;

  const version = (name: string, storage: boolean, properties: object) => ({
    name,
    served: true,
    storage,
    schema: { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties } } } },
    additionalPrinterColumns: [
      { name: 'Where', type: 'string', jsonPath: name === 'v2' ? '.spec.address' : '.spec.host' },
    ],
  });
  const definition = (storage: string) => ({
    metadata: { name: 'places.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'places', kind: 'Place' },
      conversion: { strategy: 'Webhook', webhook: { clientConfig, conversionReviewVersions: ['v1'] } },
      versions: [
        version('v1', storage === 'v1', { host: { type: 'string' }, port: { type: 'integer' } }),
        version('v2', storage === 'v2', { address: { type: 'string' } }),
      ],
    },
  });

  before(async () => {
    fixture = await apiFixture();
    const pair = await fixture.issue('converter');
    server = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
      const answer = async () => {
        const review = (await json(request)) as {
          request: { uid: string; desiredAPIVersion: string; objects: ApiObject[] };
        };
        const { uid, desiredAPIVersion, objects } = review.request;
        reviews++;
        const result = refusal === undefined ? { status: 'Success' } : { status: 'Failed', message: refusal };
        const convertedObjects = objects.map((object) => convert(object, desiredAPIVersion));
        response.end(JSON.stringify({ ...review, response: { uid, result, convertedObjects } }));
      };
      answer().catch((error: unknown) => response.destroy(error as Error));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const caBundle = Buffer.from(fixture.authority.certificate).toString('base64');
    clientConfig = { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/`, caBundle };
    const made = await fixture.call('POST', DEFINITIONS, { body: definition('v1') });
    assert.equal(made.status, 201, made.text);
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await fixture.close();
  });

  const get = async (as: string, name: string) => (await fixture.call('GET', `${path(as)}/${name}`)).json;

  test('an object is written, read, listed and changed in either version', async () => {
    const created = await fixture.call('POST', path('v2'), {
      body: { metadata: { name: 'a' }, spec: { address: 'x:1' } },
    });
    assert.equal(created.status, 201, created.text);
    assert.deepEqual([created.json.apiVersion, created.json['spec']], ['example.com/v2', { address: 'x:1' }]);
    const kept = await get('v1', 'a');
    assert.deepEqual([kept.apiVersion, kept['spec']], ['example.com/v1', { host: 'x', port: 1 }]);
    const other = await get('v2', 'a');
    assert.equal(other.metadata.uid, kept.metadata.uid);
    assert.equal(other.metadata.resourceVersion, kept.metadata.resourceVersion);
    assert.deepEqual(other.metadata.labels, { seen: 'yes' });
    await fixture.call('POST', path('v1'), { body: { metadata: { name: 'b' }, spec: { host: 'y', port: 2 } } });
    const before = reviews;
    const listed = await fixture.call('GET', path('v2'));
    assert.deepEqual(
      listed.json.items.map(({ apiVersion, spec }) => [apiVersion, spec]),
      [
        ['example.com/v2', { address: 'x:1' }],
        ['example.com/v2', { address: 'y:2' }],
      ],
    );
    assert.equal(reviews, before + 1, 'all of them at once');
    await fixture.call('GET', path('v2'));
    assert.equal(reviews, before + 1, 'each revision once');
    const patched = await fixture.call('PATCH', `${path('v2')}/a`, {
      body: { spec: { address: 'z:3' } },
      headers: MERGE,
    });
    assert.deepEqual(patched.json['spec'], { address: 'z:3' });
    assert.deepEqual((await get('v1', 'a'))['spec'], { host: 'z', port: 3 });
    const { json } = await fixture.call('GET', path('v2'), {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    assert.deepEqual(
      (json as unknown as { rows: { cells: string[] }[] }).rows.map(({ cells }) => cells),
      [
        ['a', 'z:3'],
        ['b', 'y:2'],
      ],
    );
  });

  test('a watch shows its version, in order', async () => {
    const events = await fixture.watch(`${path('v2')}?watch=1`);
    const seen = async (count: number) =>
      (await take(events, count)).map(({ type, object }) => `${type} ${(object['spec'] as Spec).address}`);
    assert.deepEqual(await seen(2), ['ADDED z:3', 'ADDED y:2']);
    for (const port of [10, 11, 12])
      await fixture.call('PATCH', `${path('v1')}/b`, { body: { spec: { port } }, headers: MERGE });
    await fixture.call('DELETE', `${path('v1')}/b`);
    assert.deepEqual(await seen(4), ['MODIFIED y:10', 'MODIFIED y:11', 'MODIFIED y:12', 'DELETED y:12']);
    await events.return(undefined);
  });

  test('what was kept in the old storage version goes on after the change to a new one', async () => {
    const current = await fixture.call('GET', `${DEFINITIONS}/places.example.com`);
    const body = { ...current.json, spec: definition('v2').spec };
    const changed = await fixture.call('PUT', `${DEFINITIONS}/places.example.com`, { body });
    assert.equal(changed.status, 200, changed.text);
    assert.deepEqual((changed.json['status'] as { storedVersions: string[] }).storedVersions, ['v1', 'v2']);
    const listed = await fixture.call('GET', path('v2'));
    assert.deepEqual(
      listed.json.items.map(({ apiVersion, spec }) => [apiVersion, spec]),
      [['example.com/v2', { address: 'z:3' }]],
    );
    const patched = await fixture.call('PATCH', `${path('v1')}/a`, { body: { spec: { port: 4 } }, headers: MERGE });
    assert.deepEqual([patched.json.apiVersion, patched.json['spec']], ['example.com/v1', { host: 'z', port: 4 }]);
    assert.deepEqual((await get('v2', 'a'))['spec'], { address: 'z:4' });
  });

  test('a webhook that refuses, and a conversion that is none, are told', async () => {
    await get('v1', 'a');
    refusal = 'not today';
    const failed = await fixture.call('GET', `${path('v1')}/a`);
    assert.equal(failed.status, 200, 'made before');
    await fixture.call('PATCH', `${path('v2')}/a`, { body: { spec: { address: 'w:5' } }, headers: MERGE });
    const refused = await fixture.call('GET', `${path('v1')}/a`);
    assert.deepEqual(
      [refused.status, refused.json.message],
      [500, 'conversion webhook for example.com/v1, Kind=Place failed: not today'],
    );
    refusal = undefined;
    const { spec } = definition('v1');
    const wrong = await fixture.call('POST', DEFINITIONS, {
      body: {
        metadata: { name: 'spots.example.com' },
        spec: {
          ...spec,
          names: { plural: 'spots', kind: 'Spot' },
          conversion: { strategy: 'Webhook', webhook: { conversionReviewVersions: ['v1beta1'] } },
        },
      },
    });
    const { causes } = wrong.json['details'] as { causes: { field: string }[] };
    assert.deepEqual(
      causes.map(({ field }) => field),
      ['spec.conversion.webhook.clientConfig', 'spec.conversion.webhook.conversionReviewVersions'],
    );
    const gone = await fixture.call('DELETE', `${path('v1')}/a`);
    assert.equal(gone.status, 200, gone.text);
  });
});
