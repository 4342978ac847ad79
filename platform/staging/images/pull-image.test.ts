import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { digestOf } from '#lib/digest.ts';
import { addressGuard } from '#lib/guarded-address.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { type ImageConfigFile, ociArchitecture } from './oci.ts';
import { PULLED_REPOSITORY, pullImage, type PullOptions } from './pull-image.ts';

/** A registry of others: bytes by path; `slow` is asked for again and again. */
const documents = new Map<string, Buffer>();
/** What `private/<name>` wants to see. */
const AUTHORIZATIONS: Record<string, string> = {
  password: `Basic ${Buffer.from('ann:secret').toString('base64')}`,
  token: 'Bearer abc',
};
const asked: string[] = [];
const server = createServer((request, response) => {
  const path = request.url ?? '';
  asked.push(path);
  const word = /^\/v2\/private\/(\w+)\//.exec(path)?.[1];
  if (word !== undefined && request.headers.authorization !== AUTHORIZATIONS[word]) {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
    return;
  }
  const found = documents.get(path);
  response.writeHead(found === undefined ? 404 : 200).end(found);
});
let registry: TestRegistry;
let host = '';

before(async () => {
  registry = await startTestRegistry();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(async () => {
  server.close();
  server.closeAllConnections();
  await registry[Symbol.asyncDispose]();
});

const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

interface Made {
  layers: { bytes: string; mediaType?: string; digest?: string }[];
  diffIds?: string[];
}

function publish(name: string, { layers, diffIds = layers.map(({ bytes }) => digestOf(Buffer.from(bytes))) }: Made) {
  const put = (kind: string, bytes: Buffer, at = digestOf(bytes)) => {
    documents.set(`/v2/${name}/${kind}/${at}`, bytes);
    return { digest: at, size: bytes.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const described = layers.map(({ bytes, mediaType = DOCKER_LAYER, digest }) => ({
    mediaType,
    ...put('blobs', Buffer.from(bytes), digest),
  }));
  const file = { architecture: ociArchitecture(), os: 'linux', config: { User: 'cnb' }, rootfs: { diff_ids: diffIds } };
  const config = put('blobs', json(file));
  put('manifests', json({ config, layers: described }), '1');
}

const pull = (name: string, allowed = ['127.0.0.0/8'], access?: PullOptions['access']) =>
  pullImage(registry.client, {
    image: `${host}/${name}:1`,
    guard: addressGuard(() => [], allowed),
    ...(access === undefined ? {} : { access }),
    onProgress: () => undefined,
    signal: AbortSignal.timeout(60_000),
  });

test('an image is brought over whole, and what is here is not asked for again', async () => {
  publish('a', { layers: [{ bytes: 'one' }, { bytes: 'two' }] });
  const first = await pull('a');
  assert.deepEqual([first.config.config.User, first.repository], ['cnb', PULLED_REPOSITORY]);
  for (const [index, { digest, mediaType, sizeBytes }] of first.layers.entries()) {
    assert.equal(digest, digestOf(Buffer.from(['one', 'two'][index] ?? '')));
    assert.equal(mediaType, 'application/vnd.oci.image.layer.v1.tar');
    assert.equal(await registry.client.blobSize(PULLED_REPOSITORY, digest), sizeBytes);
  }
  publish('a', { layers: [{ bytes: 'one' }, { bytes: 'three' }] });
  asked.length = 0;
  const second = await pull('a');
  assert.deepEqual(
    asked.filter((path) => path.endsWith(first.layers[0]?.digest ?? '')),
    [],
  );
  const [tag = '', ...others] = await registry.client.tags(PULLED_REPOSITORY);
  assert.deepEqual(others, [], 'the name means one thing');
  const kept = await registry.client.getImage<ImageConfigFile>(PULLED_REPOSITORY, tag);
  assert.deepEqual(
    kept?.manifest.layers.map(({ digest }) => digest),
    second.layers.map(({ digest }) => digest),
  );
});

test('what the login of an app opens is in its own repository alone', async () => {
  const logins = { password: { username: 'ann', password: 'secret' }, token: { token: 'abc' } };
  for (const [word, login] of Object.entries(logins)) {
    const name = `private/${word}`;
    const repository = `cf/${word}`;
    publish(name, { layers: [{ bytes: `of ${word}` }] });
    await assert.rejects(pull(name), { code: 'no-image', message: /give a login in CF_CNB_REGISTRY_CREDS/ });
    const elsewhere = { logins: { 'other.example': login }, repository };
    await assert.rejects(pull(name, undefined, elsewhere), { code: 'no-image' });
    const wrong = 'token' in login ? { token: 'x' } : { ...login, password: 'x' };
    await assert.rejects(pull(name, undefined, { logins: { [host]: wrong }, repository }), {
      code: 'no-image',
      message: /check the (token|password of ann)/,
    });
    const pulled = await pull(name, undefined, { logins: { [host]: login }, repository });
    assert.equal(pulled.repository, repository);
    const [layer] = pulled.layers;
    assert.ok(layer);
    assert.equal(await registry.client.blobSize(repository, layer.digest), layer.sizeBytes);
    assert.equal(await registry.client.blobSize(PULLED_REPOSITORY, layer.digest), undefined);
  }
});

test('what is not what it says is refused', async () => {
  publish('lies', { layers: [{ bytes: 'other bytes', digest: `sha256:${'1'.repeat(64)}` }] });
  await assert.rejects(pull('lies'), /digest|DIGEST/);
  publish('shapes', { layers: [{ bytes: 'x' }], diffIds: [] });
  await assert.rejects(pull('shapes'), { code: 'no-image', message: /does not say what its layers are/ });
  publish('foreign', { layers: [{ bytes: 'x', mediaType: 'application/vnd.example+encrypted' }] });
  await assert.rejects(pull('foreign'), { code: 'no-image', message: /a layer of the type "application\/vnd.example/ });
  publish('many', { layers: Array.from({ length: 201 }, () => ({ bytes: 'x' })) });
  await assert.rejects(pull('many'), { code: 'too-large' });
  await assert.rejects(pull('absent'), { code: 'no-image' });
  await assert.rejects(pull('a', []), { code: 'no-image', message: /127\.0\.0\.1 may not be reached/ });
});
