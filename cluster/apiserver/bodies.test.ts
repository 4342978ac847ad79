import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { type ApiFixture, apiFixture } from '#testing/apiserver-fixture.ts';
import { countKeys, duplicateKeys, keysOf } from './json-check.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const YAML = { 'content-type': 'application/yaml' };

describe('API server: bodies', () => {
  let fixture: ApiFixture;
  before(async () => {
    fixture = await apiFixture();
  });
  after(() => fixture.close());

  test('a field that is there twice is refused, told of, or taken', async () => {
    const body = '{"metadata":{"name":"twice"},"data":{"a":"1","b":"2","a":"3"}}';
    const strict = await fixture.call('POST', `${MAPS}?fieldValidation=Strict`, { body });
    assert.equal(strict.status, 400);
    assert.match(strict.json.message, /strict decoding error: duplicate field "data\.a"$/);
    const warned = await fixture.call('POST', `${MAPS}?dryRun=All`, { body });
    assert.match(String(warned.headers.warning), /duplicate field \\"data\.a\\"/);
    const taken = await fixture.call('POST', `${MAPS}?fieldValidation=Ignore`, { body });
    assert.deepEqual([taken.status, taken.json['data'], taken.headers.warning], [201, { a: '3', b: '2' }, undefined]);
    const patch = '{"data":{"c":"1","c":"2"}}';
    const patched = await fixture.call('PATCH', `${MAPS}/twice?fieldValidation=Strict`, {
      body: patch,
      headers: { 'content-type': 'application/merge-patch+json' },
    });
    assert.match(patched.json.message, /duplicate field "data\.c"/);
    const text = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: twice\ndata:\n  a: "1"\n  a: "2"\n';
    const inYaml = await fixture.call('POST', `${MAPS}?fieldValidation=Strict`, { body: text, headers: YAML });
    assert.match(inYaml.json.message, /strict decoding error: line 7: key "a" already set in map/);
    const applied = await fixture.call('PATCH', `${MAPS}/twice?fieldManager=x&force=1&fieldValidation=Warn`, {
      body: text,
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
    assert.equal(applied.status, 200, applied.text);
    assert.match(String(applied.headers.warning), /already set in map/);
    const refused = await fixture.call('PATCH', `${MAPS}/twice?fieldManager=x&force=1&fieldValidation=Strict`, {
      body: text,
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
    assert.match(refused.json.message, /^error strict decoding YAML: line 7: key "a" already set in map$/);
  });

  test('an applied configuration has no unknown fields, whatever is asked for', async () => {
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'unknown', lables: {} }, dat: {} };
    for (const validation of ['Ignore', 'Warn', 'Strict']) {
      const refused = await fixture.call('PATCH', `${MAPS}/unknown?fieldManager=x&fieldValidation=${validation}`, {
        body,
        headers: { 'content-type': 'application/apply-patch+yaml' },
      });
      assert.equal(refused.status, 400);
      assert.equal(
        refused.json.message,
        'failed to create typed patch object (/unknown; /v1, Kind=ConfigMap): errors:\n  .metadata.lables: field not declared in schema\n  .dat: field not declared in schema',
      );
    }
  });

  test('every unknown field is named, before what is there twice', async () => {
    const twice = '{"metadata":{"name":"x"},"dat":{},"data":{"a":"1","a":"2"}}';
    const both = await fixture.call('POST', `${MAPS}?fieldValidation=Strict`, { body: twice });
    assert.match(both.json.message, /strict decoding error: unknown field "dat", duplicate field "data\.a"$/);
    const body = { metadata: { name: 'x', lables: {} }, spec: { containers: [{ name: 'a', imagee: 'b' }] }, extra: 1 };
    const { json } = await fixture.call('POST', '/api/v1/namespaces/default/pods?fieldValidation=Strict', { body });
    assert.equal(
      json.message,
      'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "metadata.lables", unknown field "spec.containers[0].imagee", unknown field "extra"',
    );
  });

  test('bodies in other encodings are read or refused, answers come as YAML where it is asked for', async () => {
    const body = 'metadata: {name: yaml}\ndata:\n  a: |\n    text\n';
    const created = await fixture.call('POST', MAPS, { body, headers: { ...YAML, accept: 'application/yaml' } });
    assert.equal(created.headers['content-type'], 'application/yaml');
    assert.match(created.text, /^apiVersion: v1\nkind: ConfigMap\nmetadata:\n/);
    assert.match(created.text, /data:\n {2}a: \|\n {4}text\n/);
    const missing = await fixture.call('GET', `${MAPS}/none`, { headers: { accept: 'application/yaml' } });
    assert.match(missing.text, /reason: NotFound/);
    const form = await fixture.call('POST', MAPS, { body: 'a=b', headers: { 'content-type': 'text/plain' } });
    assert.deepEqual([form.status, form.json.reason], [415, 'UnsupportedMediaType']);
    assert.match(
      form.json.message,
      /accepted media types include: application\/json, application\/yaml, application\/vnd\.kubernetes\.protobuf/,
    );
    const nothing = await fixture.call('GET', MAPS, { headers: { accept: 'application/cbor' } });
    assert.deepEqual([nothing.status, nothing.json.reason], [406, 'NotAcceptable']);
    const review = (accept: string) =>
      fixture.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
        body: { spec: { nonResourceAttributes: { path: '/', verb: 'get' } } },
        headers: { accept },
      });
    const asTable = 'application/json;as=Table;v=v1;g=meta.k8s.io';
    assert.equal((await review(asTable)).status, 406);
    assert.equal((await review(`${asTable},application/json`)).status, 201);
    const pretty = await fixture.call('GET', `${MAPS}/yaml?pretty=true`);
    assert.match(pretty.text, /^\{\n {2}"apiVersion": "v1",\n/);
  });

  test('too large, too deep, too many: each is refused with a Status', async () => {
    const large = await fixture.call('POST', MAPS, {
      body: { metadata: { name: 'x' }, data: { a: 'x'.repeat(3 << 20) } },
    });
    assert.deepEqual([large.status, large.json.reason], [413, 'RequestEntityTooLarge']);
    for (const deep of [`${'['.repeat(100_000)}`, `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`]) {
      const { status, json } = await fixture.call('POST', MAPS, { body: deep });
      assert.deepEqual([status, json.kind, json.reason], [400, 'Status', 'BadRequest']);
      assert.match(json.message, /nested more than 500 levels deep/);
      const inYaml = await fixture.call('POST', MAPS, { body: deep, headers: YAML });
      assert.deepEqual([inYaml.status, inYaml.json.kind], [400, 'Status']);
    }
    await fixture.call('POST', MAPS, { body: { metadata: { name: 'patched' } } });
    const operations = Array.from({ length: 10_001 }, () => ({ op: 'add', path: '/data', value: {} }));
    const many = await fixture.call('PATCH', `${MAPS}/patched`, {
      body: operations,
      headers: { 'content-type': 'application/json-patch+json' },
    });
    assert.deepEqual([many.status, many.json.reason], [413, 'RequestEntityTooLarge']);
    for (const body of ['', '[]', 'null', '"text"', '{"metadata":[]}', '{"metadata":{"name":5}}', '{"a":', '\u0000']) {
      const { status, json } = await fixture.call('POST', MAPS, { body });
      assert.deepEqual([status, json.kind, json.reason], [400, 'Status', 'BadRequest'], body);
    }
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefgh'.replace(/./g, (letter, at: number) => `${letter}: &${letter} [${Array.from({ length: 9 }, () => `*${'abcdefgh'[at]}`).join(',')}]\n`)}`;
    assert.equal((await fixture.call('POST', MAPS, { body: bomb, headers: YAML })).status, 400);
  });

  async function dial({ api, authority, issue } = fixture): Promise<TLSSocket> {
    const { port } = new URL(api.url);
    const { certificate: cert, key } = await issue('admin', ['system:masters']);
    const socket = connect({ host: '127.0.0.1', port: Number(port), ca: authority.certificate, cert, key });
    await once(socket, 'secureConnect');
    return socket;
  }

  test('who sends too much in pieces hears of it when it has sent all', async () => {
    const socket = await dial();
    socket.write(`POST ${MAPS} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n`);
    const piece = `100000\r\n${'x'.repeat(1 << 20)}\r\n`;
    for (let count = 0; count < 8; count += 1)
      await new Promise<void>((sent, failed) =>
        socket.write(piece, (error) => {
          if (error) failed(error);
          else sent();
        }),
      );
    socket.write('0\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    assert.match(text, /^HTTP\/1\.1 413 [^]*"reason":"RequestEntityTooLarge"/);
  });

  test('who sends its body too slowly is told so, and cut off', async (context) => {
    const hasty = await apiFixture({ requestTimeout: 300 });
    context.after(() => hasty.close());
    const socket = await dial(hasty);
    socket.write(
      `POST ${MAPS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"a`,
    );
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    assert.match(text, /^HTTP\/1\.1 408 /);
    assert.match(text, /"kind":"Status"/);
  });
});

test('duplicate keys are found wherever they are, and nowhere else', () => {
  const text = '{"a":1,"b":[{"c":1,"c":2},{"c":"\\",:{"}],"a":{"d":[1,[2,{"e":null,"e":{}}]]}, "f\\"":"x:y"}';
  assert.deepEqual(duplicateKeys(text), ['b[0].c', 'a', 'a.d[1][1].e']);
  const bytes = Buffer.from(text);
  assert.equal(countKeys(bytes) - keysOf(JSON.parse(text)), 3);
  for (const value of [{}, [], { a: { b: [{ c: 'd:{"' }] } }, 'a', [[[{ x: ':' }]]]])
    assert.equal(countKeys(Buffer.from(JSON.stringify(value))), keysOf(value));
});
