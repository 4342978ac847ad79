/** Answers in protobuf, as kube-scheduler, kubelets and other clients of the API's own making ask for them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { protobufBytes, protobufFields } from '#lib/protobuf.ts';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { kindSamples } from '#testing/kind-samples.ts';
import { decodeProtobuf } from '../kinds/protobuf.ts';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
/** As client-go asks. */
const headers = { accept: `${PROTOBUF}, */*` };

/** As the encoding has it: what is empty is not there. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .map(([key, one]) => [key, withoutEmpty(one)] as const)
    .filter(
      ([, one]) =>
        one !== '' &&
        one !== 0 &&
        one !== false &&
        one !== null &&
        Object.keys(Object(one)).length + Number(typeof one !== 'object') > 0,
    );
  return Object.fromEntries(entries);
}

interface Frame {
  type: string;
  object: Record<string, unknown>;
}

async function* frames(stream: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of stream) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE()) {
      const end = 4 + bytes.readUInt32BE();
      const fields = new Map([...protobufFields(bytes.subarray(4, end))].map(({ number, value }) => [number, value]));
      const raw = [...protobufFields(protobufBytes(fields.get(2)))][0]?.value;
      yield { type: protobufBytes(fields.get(1)).toString(), object: decodeProtobuf(protobufBytes(raw)) };
      bytes = bytes.subarray(end);
    }
  }
}

describe('API server: protobuf', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  for (const { title, path, name, object, kind, apiVersion } of kindSamples()) {
    if (kind.kind === 'CustomResourceDefinition') continue;
    test(title, async () => {
      const stream = await fixture.open('GET', `${path}?watch=1&fieldSelector=metadata.name%3D${name}`, { headers });
      assert.equal(stream.headers['content-type'], `${PROTOBUF};stream=watch`);
      const watch = frames(stream as AsyncIterable<Buffer>);
      const created = await fixture.call('POST', path, { body: object, headers });
      assert.equal(created.status, 201, created.text);
      assert.equal(created.headers['content-type'], PROTOBUF);
      const json = (await fixture.call('GET', `${path}/${name}`)).json;
      const got = decodeProtobuf((await fixture.call('GET', `${path}/${name}`, { headers })).bytes);
      assert.deepEqual(withoutEmpty(got), withoutEmpty(json));
      assert.deepEqual(got, decodeProtobuf(created.bytes));
      const { value: frame } = await watch.next();
      assert.deepEqual(frame, { type: 'ADDED', object: got });
      stream.destroy();
      const query = `?fieldSelector=metadata.name%3D${name}`;
      const list = decodeProtobuf((await fixture.call('GET', path + query, { headers })).bytes);
      const items = (await fixture.call('GET', path + query)).json.items.map(withoutEmpty);
      assert.deepEqual([list['apiVersion'], list['kind']], [apiVersion, kind.listKind]);
      assert.deepEqual(
        (list['items'] as object[]).map(withoutEmpty),
        items.map((item) => {
          const { apiVersion: _version, kind: _kind, ...rest } = item as Record<string, unknown>;
          return rest;
        }),
      );
      await fixture.call('DELETE', `${path}/${name}?gracePeriodSeconds=0`);
    });
  }

  test('bookmarks, and a revision that is too old', async () => {
    const path =
      '/api/v1/configmaps?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
    const stream = await fixture.open('GET', path, { headers });
    for await (const { type, object } of frames(stream as AsyncIterable<Buffer>)) {
      if (type !== 'BOOKMARK') continue;
      assert.equal(object['kind'], 'ConfigMap');
      assert.match(String((object['metadata'] as { resourceVersion?: string }).resourceVersion), /^\d+$/);
      break;
    }
    stream.destroy();
    await fixture.store.compact(await fixture.store.revision());
    await fixture.restart();
    const old = await fixture.open('GET', '/api/v1/configmaps?watch=1&resourceVersion=1', { headers });
    const { value } = await frames(old as AsyncIterable<Buffer>).next();
    assert.deepEqual([value?.type, value?.object['kind'], value?.object['code']], ['ERROR', 'Status', 410]);
    old.destroy();
  });

  test('errors and custom resources are JSON where that is taken; else 406', async () => {
    const missing = await fixture.call('GET', '/api/v1/namespaces/default/pods/none', { headers });
    assert.deepEqual([missing.status, missing.json.reason], [404, 'NotFound']);
    const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
    assert.equal((await fixture.call('GET', crds, { headers })).json.kind, 'CustomResourceDefinitionList');
    assert.equal((await fixture.call('GET', crds, { headers: { accept: PROTOBUF } })).status, 406);
  });
});
