/**
 * Against the distribution specification: cases that its conformance program found, as tests of our own, and the program
 * itself where there is one (`docs/reference/registry.md` says how it is made).
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { digestOf } from '#lib/digest.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from '../images/manifest.ts';

let registry: RegistryHost;
const program = process.env['OCI_CONFORMANCE'];

before(async () => {
  registry = await startRegistryHost({
    user: 'ann:secret',
    authorize: ({ username, password, repository }) =>
      username === 'ann' && password === 'secret' && repository?.startsWith('private/') !== true,
  });
});
after(async () => await registry[Symbol.asyncDispose]());

test('a blob is mounted from wherever the client may read it, when it names no repository', async () => {
  const { digest } = await registry.pushBlob('mount/source', Buffer.from('somewhere'));
  const mounted = await registry.call('POST', `/v2/mount/target/blobs/uploads/?mount=${digest}`);
  assert.equal(mounted.status, 201);
  assert.equal(mounted.headers.location, `/v2/mount/target/blobs/${digest}`);
  const secret = await registry.content.write(Buffer.from('nobody reads this'), {});
  await registry.content.setName(':links/private/x', secret.digest, secret.digest);
  const refused = await registry.call('POST', `/v2/mount/target/blobs/uploads/?mount=${secret.digest}`);
  assert.equal(refused.status, 202);
});

test('a push by digest sets the tags that its query names', async () => {
  const config = await registry.pushBlob('tags/query', Buffer.from('{}'));
  const body = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [] });
  for (const algorithm of ['sha256', 'sha512']) {
    const digest = digestOf(body, algorithm);
    const path = `/v2/tags/query/manifests/${digest}`;
    const headers = { 'content-type': OCI_MANIFEST };
    const put = await registry.call('PUT', `${path}?tag=${algorithm}-1&tag=${algorithm}-2`, { body, headers });
    assert.deepEqual([put.status, put.headers['oci-tag']], [201, `${algorithm}-1, ${algorithm}-2`]);
    const head = await registry.call('HEAD', `/v2/tags/query/manifests/${algorithm}-2`);
    assert.equal(head.headers['docker-content-digest'], digest);
    assert.equal((await registry.call('PUT', `${path}?tag=-`, { body, headers })).status, 400);
    const many = Array.from({ length: 101 }, (_, index) => `tag=t${index}`).join('&');
    assert.equal((await registry.call('PUT', `${path}?${many}`, { body, headers })).status, 414);
  }
});

test('layers that may not be passed on need not be here', async () => {
  const config = await registry.pushBlob('foreign/x', Buffer.from('{}'));
  for (const mediaType of [
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ]) {
    const layer = { mediaType, digest: digestOf(mediaType), size: 10, urls: ['https://example.invalid/layer'] };
    const put = await registry.pushManifest('foreign/x', 'x', { mediaType: OCI_MANIFEST, config, layers: [layer] });
    assert.equal(put.status, 201);
  }
});

test('a client is given a form that it accepts, or told that there is none', async () => {
  const config = await registry.pushBlob('accept/x', Buffer.from('{}'));
  const image = { mediaType: DOCKER_MANIFEST, config, layers: [] };
  const pushed = await registry.pushManifest('accept/x', 'image', image);
  const digest = String(pushed.headers['docker-content-digest']);
  const size = (await registry.call('GET', `/v2/accept/x/manifests/${digest}`)).body.length;
  const child = { mediaType: DOCKER_MANIFEST, digest, size, platform: { os: 'linux', architecture: 'amd64' } };
  await registry.pushManifest('accept/x', 'list', { mediaType: DOCKER_LIST, manifests: [child] });
  await registry.pushManifest('accept/x', 'index', { mediaType: OCI_INDEX, manifests: [child] });
  const get = async (reference: string, accept?: string): Promise<string> => {
    const headers: Record<string, string> = accept === undefined ? {} : { accept };
    const answer = await registry.call('GET', `/v2/accept/x/manifests/${reference}`, { headers });
    return answer.status === 200 ? String(answer.headers['content-type']) : String(answer.status);
  };
  assert.equal(await get('list'), DOCKER_LIST);
  assert.equal(await get('list', '*/*'), DOCKER_LIST);
  assert.equal(await get('list', 'application/*;q=0.5'), DOCKER_LIST);
  assert.equal(await get('list', `${DOCKER_MANIFEST}, ${DOCKER_LIST}`), DOCKER_LIST);
  assert.equal(await get('list', DOCKER_MANIFEST), DOCKER_MANIFEST);
  assert.equal(await get('index', `${DOCKER_MANIFEST};q=1,text/html`), DOCKER_MANIFEST);
  assert.equal(await get('index', OCI_MANIFEST), '404');
  assert.equal(await get('image', OCI_INDEX), '404');
  assert.equal(await get('image', 'application/vnd.docker.distribution.manifest.v1+json'), '404');
  assert.equal(await get('image', 'text/html'), DOCKER_MANIFEST);
});

test('an artifact with the empty config, found by its type, and gone from the referrers with its manifest', async () => {
  const empty = {
    ...(await registry.pushBlob('art/x', Buffer.from('{}'))),
    mediaType: 'application/vnd.oci.empty.v1+json',
  };
  const subject = { mediaType: OCI_MANIFEST, digest: digestOf('not there yet'), size: 13 };
  const artifact = { mediaType: OCI_MANIFEST, artifactType: 'text/sbom', config: empty, layers: [empty], subject };
  const pushed = await registry.pushManifest(
    'art/x',
    digestOf(JSON.stringify({ schemaVersion: 2, ...artifact })),
    artifact,
  );
  assert.deepEqual([pushed.status, pushed.headers['oci-subject']], [201, subject.digest]);
  const indexed = await registry.pushManifest('art/x', 'index', {
    mediaType: OCI_INDEX,
    manifests: [],
    subject,
    artifactType: 'text/list',
  });
  assert.equal(indexed.status, 201);
  const types = async (query = ''): Promise<unknown[]> => {
    const { body } = await registry.call('GET', `/v2/art/x/referrers/${subject.digest}${query}`);
    return (JSON.parse(body.toString()) as { manifests: { artifactType: string }[] }).manifests
      .map(({ artifactType }) => artifactType)
      .sort();
  };
  assert.deepEqual(await types(), ['text/list', 'text/sbom']);
  assert.deepEqual(await types('?artifactType=text/sbom'), ['text/sbom']);
  await registry.call('DELETE', `/v2/art/x/manifests/${pushed.headers['docker-content-digest']}`);
  assert.deepEqual(await types(), ['text/list']);
  assert.equal((await registry.call('GET', `/v2/art/x/referrers/sha256:0`)).status, 400);
});

test('the conformance program has nothing to complain about', {
  skip: program === undefined ? 'OCI_CONFORMANCE names no conformance program' : false,
  timeout: 300_000,
}, async () => {
  const results = join(registry.directory, 'results');
  const everything = {
    OCI_API_BLOBS_DIGEST_HEADER: 'true',
    OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
    OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
    OCI_API_MANIFESTS_TAG_PARAM: 'true',
  };
  const { stdout } = await promisify(execFile)(program ?? '', [], {
    env: {
      ...process.env,
      ...everything,
      SSL_CERT_FILE: join(registry.certificates, 'ca.crt'),
      OCI_REGISTRY: registry.host,
      OCI_USERNAME: 'ann',
      OCI_PASSWORD: 'secret',
      OCI_VERSION: '1.1',
      OCI_RESULTS_DIR: results,
    },
    maxBuffer: 64 * 1024 * 1024,
  });
  assert.match(stdout, /FAIL\.+: +0\n/);
  assert.match(stdout, /Pass\.+: +[1-9]\d\d/);
  assert.doesNotMatch(readFileSync(join(results, 'junit.xml'), 'utf8'), /status="(failure|error)"/);
});
