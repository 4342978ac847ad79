import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { writeTar } from '#lib/tar/write.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { fileEntry } from './entries.ts';
import { pushLayer } from './push-layer.ts';
import { RegistryClient } from './registry-client.ts';
import { readSingleLayer, writeImage } from './single-layer.ts';

let registry: TestRegistry;

before(async () => {
  registry = await startTestRegistry();
});

after(async () => {
  await registry[Symbol.asyncDispose]();
});

test('blobs are streamed, read whole and by range, and mounted', async () => {
  const { client } = registry;
  const content = randomBytes(300_000);
  async function* pieces() {
    for (let at = 0; at < content.length; at += 1000) yield content.subarray(at, at + 1000);
  }
  await client.streamBlob('a/one', pieces(), () => digestOf(content));
  const digest = digestOf(content);
  assert.equal(await client.blobSize('a/one', digest), content.length);
  assert.equal(await client.blobSize('a/one', digestOf('else')), undefined);
  const whole = await client.readBlob('a/one', digest);
  assert.ok(whole);
  assert.ok(content.equals(await buffer(whole)));
  const part = await client.readBlob('a/one', digest, { start: 10, end: 19 });
  assert.ok(part);
  assert.deepEqual(await buffer(part), content.subarray(10, 20));
  assert.equal(await client.readBlob('a/one', digestOf('else')), undefined);
  assert.equal(await client.mountBlob('b/two', digest, 'a/one'), true);
  assert.equal(await client.blobSize('b/two', digest), content.length);
});

test('a source that fails fails the upload with its own error', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(10);
    throw new RangeError('broken on the way');
  }
  const upload = registry.client.streamBlob('a/broken', broken(), () => digestOf('x'));
  await assert.rejects(upload, { name: 'RangeError', message: 'broken on the way' });
});

test('a connection that its other side closes between two requests is no error', async () => {
  let connections = 0;
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  const served = new WeakSet<object>();
  const server = createHttpsServer({ cert: pair.certificate, key: pair.key }, ({ socket }, response) => {
    if (served.has(socket)) socket.destroy();
    else response.writeHead(404).end();
    served.add(socket);
  });
  server.on('secureConnection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = new RegistryClient({ ...registry.options, host, ca: authority.certificate });
  for (let round = 0; round < 3; round += 1) assert.equal(await client.getManifest('a/one', 'x'), undefined);
  assert.equal(connections, 3);
  client.close();
  server.close();
});

test('a registry that is silent is given up, one that waits for what is uploaded is not', async () => {
  const client = new RegistryClient({ ...registry.options, silence: 2000 });
  const content = randomBytes(20);
  async function* slow() {
    yield content.subarray(0, 10);
    await delay(4500);
    yield content.subarray(10);
  }
  await client.streamBlob('a/slow', slow(), () => digestOf(content));
  assert.equal(await client.blobSize('a/slow', digestOf(content)), 20);
  client.close();
  const server = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const silent = new RegistryClient({ ...registry.options, host, silence: 100 });
  await assert.rejects(silent.blobSize('a/one', digestOf(content)), /no byte for 0\.1 s/);
  silent.close();
  server.close();
});

test('a blob goes in one request; to a registry that takes none so, in two', async () => {
  const content = Buffer.from('a blob at hand');
  const digest = digestOf(content);
  assert.equal(await registry.client.putBlob('a/short', content), digest);
  assert.equal(await registry.client.blobSize('a/short', digest), content.length);
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  const seen: string[] = [];
  const old = createHttpsServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
    void buffer(request).then((body) => {
      seen.push(`${request.method} ${request.url} ${body.length}`);
      response.statusCode = { HEAD: 404, POST: 202, PUT: 201 }[request.method ?? ''] ?? 500;
      if (request.method === 'POST') response.setHeader('location', '/v2/a/short/blobs/uploads/7');
      response.end();
    });
  }).listen(0, '127.0.0.1');
  await once(old, 'listening');
  const host = `127.0.0.1:${(old.address() as AddressInfo).port}`;
  const client = new RegistryClient({ ...registry.options, host, ca: authority.certificate });
  assert.equal(await client.putBlob('a/short', content), digest);
  assert.deepEqual(seen, [
    `HEAD /v2/a/short/blobs/${digest} 0`,
    `POST /v2/a/short/blobs/uploads/?digest=${digest} ${content.length}`,
    `PUT /v2/a/short/blobs/uploads/7?digest=${digest} ${content.length}`,
  ]);
  client.close();
  old.close();
});

test('manifests and tags', async () => {
  const { client } = registry;
  const layers = [await pushLayer(client, 'c/image', writeTar([fileEntry('hello', 'world')]))];
  const digest = await writeImage(client, 'c/image', 'v1', {
    architecture: 'amd64',
    layers,
    run: { Labels: { a: 'b' } },
  });
  assert.equal((await client.getManifest('c/image', 'v1'))?.digest, digest);
  assert.deepEqual(await readSingleLayer(client, 'c/image', 'v1'), { layer: layers[0], labels: { a: 'b' } });
  assert.deepEqual(await client.tags('c/image'), ['v1']);
  await client.deleteManifest('c/image', 'v1');
  await client.deleteManifest('c/image', 'v1');
  assert.deepEqual(await client.tags('c/image'), []);
  assert.deepEqual(await client.tags('c/nothing'), []);
  assert.equal(await client.getManifest('c/image', 'v1'), undefined);
});

test("an image in Docker's form is read as well", async () => {
  const { client } = registry;
  const config = Buffer.from('{"os":"linux"}');
  await client.streamBlob('a/docker', Readable.from([config]), () => digestOf(config));
  const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
  const part = {
    mediaType: 'application/vnd.docker.container.image.v1+json',
    digest: digestOf(config),
    size: config.length,
  };
  const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: part, layers: [] }));
  await client.putManifest('a/docker', '1', body, { mediaType });
  assert.deepEqual((await client.getImage('a/docker', '1'))?.config, { os: 'linux' });
});

test('the same tar is the same layer, sent as it is made or from memory', async () => {
  for (const compression of ['gzip', 'none'] as const) {
    const make = (isShort: boolean) =>
      pushLayer(registry.client, 'd/layers', writeTar([fileEntry('a', randomFixed())]), { compression, isShort });
    const layer = await make(false);
    assert.deepEqual(await make(false), layer);
    assert.deepEqual(await make(true), layer);
    assert.equal(await registry.client.blobSize('d/layers', layer.digest), layer.sizeBytes);
  }
});

function randomFixed(): Buffer {
  return Buffer.alloc(500_000, 'sampan');
}

test('errors name the request', async () => {
  const other = new RegistryClient({ ...registry.options, password: 'wrong' });
  await assert.rejects(other.tags('a/one'), {
    code: 'registry',
    message: /GET https:\/\/127\.0\.0\.1:\d+\/v2\/a\/one\/tags\/list: 401/,
  });
  other.close();
  const gone = new RegistryClient({ ...registry.options, host: '127.0.0.1:1' });
  await assert.rejects(gone.tags('a/one'), { code: 'registry', message: /ECONNREFUSED/ });
  gone.close();
});
