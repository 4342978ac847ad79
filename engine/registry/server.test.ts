import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { createAuthority, issueCertificate, type KeyPair } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { matchesGolden } from '#testing/golden.ts';
import { openContentStore } from '../images/content.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../images/manifest.ts';
import { linksScope } from '../images/scopes.ts';
import type { ContentStore } from '../images/store.ts';
import { type Registry, startRegistry } from './server.ts';

let directory = '';
let registry: Registry;
let content: ContentStore;
let agent: Agent;
let authority: KeyPair;
const pushes: string[] = [];

/** `team` may do all below `team/`, read `public/`, and list; `reader` may read. */
const PASSWORDS: Record<string, string> = { team: 't', reader: 'r' };

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'registry-'));
  authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  content = openContentStore(directory);
  registry = await startRegistry({
    content,
    listen: { host: '127.0.0.1', port: 0 },
    tls: { cert: pair.certificate, key: pair.key },
    authorize: ({ username = '', password, repository, action }) => {
      if (PASSWORDS[username] === undefined || PASSWORDS[username] !== password) return false;
      if (repository === undefined) return true;
      if (action === 'pull' && (username === 'reader' || repository.startsWith('public/'))) return true;
      return username === 'team' && (repository.startsWith('team/') || repository.startsWith('pub'));
    },
    onPush: (...push) => pushes.push(push.join(' ')),
    onError: (error) => console.error(error),
  });
  agent = new Agent({ keepAlive: true, ca: authority.certificate });
});

after(async () => {
  agent.destroy();
  await registry.close();
  await rm(directory, { recursive: true });
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

async function call(
  method: string,
  path: string,
  options: { body?: Uint8Array | string; headers?: Record<string, string>; user?: string } = {},
): Promise<Answer> {
  const user = options.user ?? 'team:t';
  const outgoing = request({
    host: '127.0.0.1',
    port: registry.port,
    agent,
    method,
    path,
    headers: { ...(user === '' ? {} : { authorization: `Basic ${btoa(user)}` }), ...options.headers },
  });
  outgoing.end(options.body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
}

async function pushBlob(
  repository: string,
  bytes: Buffer,
): Promise<{ mediaType: string; digest: string; size: number }> {
  const digest = digestOf(bytes);
  const { status } = await call('POST', `/v2/${repository}/blobs/uploads/?digest=${digest}`, { body: bytes });
  assert.equal(status, 201);
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: bytes.length };
}

async function pushManifest(repository: string, reference: string, manifest: Record<string, unknown>): Promise<Answer> {
  const body = JSON.stringify({ schemaVersion: 2, ...manifest });
  const type = manifest['mediaType'];
  return await call('PUT', `/v2/${repository}/manifests/${reference}`, {
    body,
    headers: { 'content-type': typeof type === 'string' ? type : OCI_MANIFEST },
  });
}

const EMPTY = Buffer.from('{}');

test('a chunked upload goes on after a break and refuses what is out of order', async () => {
  const bytes = Buffer.alloc(300_000, 'abc');
  const started = await call('POST', '/v2/team/chunks/blobs/uploads/');
  assert.equal(started.status, 202);
  const location = started.headers.location ?? '';
  assert.match(location, /^\/v2\/team\/chunks\/blobs\/uploads\/[0-9a-f]{32}$/);
  const first = await call('PATCH', location, {
    body: bytes.subarray(0, 100_000),
    headers: { 'content-range': '0-99999' },
  });
  assert.equal(first.status, 202);
  assert.equal(first.headers.range, '0-99999');
  const wrong = await call('PATCH', location, { body: bytes.subarray(0, 10), headers: { 'content-range': '5-14' } });
  assert.equal(wrong.status, 416);
  assert.equal(wrong.headers.range, '0-99999');

  const broken = request({
    host: '127.0.0.1',
    port: registry.port,
    agent: false,
    ca: authority.certificate,
    method: 'PATCH',
    path: location,
    headers: { authorization: `Basic ${btoa('team:t')}`, 'content-length': 100_000 },
  });
  broken.on('error', () => undefined);
  broken.write(bytes.subarray(100_000, 150_000), () => broken.destroy());
  await new Promise<void>((resolve) => broken.on('close', resolve));
  // The server learns of the break on its own time: until then the upload is taken.
  let size = 0;
  for (;;) {
    const state = await call('GET', location);
    assert.equal(state.status, 204);
    size = Number(state.headers.range?.split('-')[1]) + 1;
    const next = await call('PATCH', location, {
      body: bytes.subarray(size, 200_000),
      headers: { 'content-range': `${size}-199999` },
    });
    if (next.status === 202) break;
    assert.equal(next.status, 416);
  }
  const done = await call('PUT', `${location}?digest=${digestOf(bytes)}`, { body: bytes.subarray(200_000) });
  assert.equal(done.status, 201);
  assert.equal(done.headers['docker-content-digest'], digestOf(bytes));
  assert.deepEqual((await call('GET', done.headers.location ?? '')).body, bytes);
  assert.equal((await call('GET', location)).status, 404);
});

test('blobs: ranges, HEAD, ETag, sha512', async () => {
  const bytes = Buffer.from('0123456789');
  const { digest } = await pushBlob('team/ranges', bytes);
  const path = `/v2/team/ranges/blobs/${digest}`;
  const cases: [string, number, string, string | undefined][] = [
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=0-100', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=-100', 206, '0123456789', 'bytes 0-9/10'],
    ['bytes=0-1,4-5', 200, '0123456789', undefined],
    ['lines=1-2', 200, '0123456789', undefined],
  ];
  for (const [range, status, body, contentRange] of cases) {
    const answer = await call('GET', path, { headers: { range } });
    assert.deepEqual(
      [range, answer.status, answer.body.toString(), answer.headers['content-range']],
      [range, status, body, contentRange],
    );
  }
  for (const range of ['bytes=10-', 'bytes=4-2', 'bytes=-0']) {
    const beyond = await call('GET', path, { headers: { range } });
    assert.deepEqual([beyond.status, beyond.headers['content-range']], [416, 'bytes */10'], range);
  }
  const head = await call('HEAD', path);
  assert.deepEqual([head.status, head.headers['content-length'], head.body.length], [200, '10', 0]);
  assert.equal((await call('GET', path, { headers: { 'if-none-match': `"${digest}"` } })).status, 304);

  const long = digestOf(bytes, 'sha512');
  assert.equal((await call('POST', `/v2/team/ranges/blobs/uploads/?digest=${long}`, { body: bytes })).status, 201);
  assert.deepEqual((await call('GET', `/v2/team/ranges/blobs/${long}`)).body, bytes);
  const empty = await pushBlob('team/ranges', Buffer.alloc(0));
  assert.equal((await call('GET', `/v2/team/ranges/blobs/${empty.digest}`)).headers['content-length'], '0');
});

test('manifests: by tag and digest, tags in pages, catalog, delete, push events', async () => {
  const config = await pushBlob('team/app', EMPTY);
  const layer = await pushBlob('team/app', Buffer.from('layer'));
  const manifest = { mediaType: OCI_MANIFEST, config, layers: [layer] };
  for (const tag of ['a', 'b', 'c']) assert.equal((await pushManifest('team/app', tag, manifest)).status, 201);
  const stored = await call('GET', '/v2/team/app/manifests/b');
  const digest = digestOf(stored.body);
  assert.equal(stored.headers['docker-content-digest'], digest);
  assert.equal(stored.headers['content-type'], OCI_MANIFEST);
  assert.deepEqual((await call('GET', `/v2/team/app/manifests/${digest}`)).body, stored.body);
  const head = await call('HEAD', '/v2/team/app/manifests/b');
  assert.deepEqual(
    [head.status, head.headers['content-length'], head.body.length],
    [200, String(stored.body.length), 0],
  );
  assert.deepEqual(
    pushes.filter((push) => push.startsWith('team/app ')),
    ['a', 'b', 'c'].map((tag) => `team/app ${tag} ${digest}`),
  );

  const first = await call('GET', '/v2/team/app/tags/list?n=2');
  assert.deepEqual(JSON.parse(first.body.toString()), { name: 'team/app', tags: ['a', 'b'] });
  const next = /^<([^>]+)>; rel="next"$/.exec(String(first.headers.link))?.[1] ?? '';
  const second = await call('GET', next);
  assert.deepEqual(JSON.parse(second.body.toString()), { name: 'team/app', tags: ['c'] });
  assert.equal(second.headers.link, undefined);
  assert.ok(
    (
      JSON.parse((await call('GET', '/v2/_catalog')).body.toString()) as { repositories: string[] }
    ).repositories.includes('team/app'),
  );

  assert.equal((await call('DELETE', '/v2/team/app/manifests/a')).status, 202);
  assert.equal((await call('GET', '/v2/team/app/manifests/a')).status, 404);
  assert.equal((await call('DELETE', `/v2/team/app/manifests/${digest}`)).status, 202);
  assert.equal((await call('GET', '/v2/team/app/manifests/b')).status, 404);
  assert.equal((await call('GET', '/v2/team/app/tags/list')).status, 404);
  assert.equal((await call('DELETE', `/v2/team/app/blobs/${layer.digest}`)).status, 202);
  assert.equal((await call('GET', `/v2/team/app/blobs/${layer.digest}`)).status, 404);
});

test('an index needs its manifests, and referrers lead back to their subject', async () => {
  const config = await pushBlob('team/multi', EMPTY);
  const image = await pushManifest('team/multi', 'image', { mediaType: OCI_MANIFEST, config, layers: [] });
  const digest = String(image.headers['docker-content-digest']);
  const size = (await call('GET', `/v2/team/multi/manifests/${digest}`)).body.length;
  const child = { mediaType: OCI_MANIFEST, digest, size, platform: { os: 'linux', architecture: 'amd64' } };
  assert.equal((await pushManifest('team/multi', 'index', { mediaType: OCI_INDEX, manifests: [child] })).status, 201);
  assert.equal(
    (await pushManifest('team/elsewhere', 'index', { mediaType: OCI_INDEX, manifests: [child] })).status,
    400,
  );

  const signature = await pushManifest('team/multi', 'signature', {
    mediaType: OCI_MANIFEST,
    artifactType: 'application/signature',
    config,
    layers: [],
    subject: { mediaType: OCI_MANIFEST, digest, size },
    annotations: { by: 'me' },
  });
  assert.equal(signature.headers['oci-subject'], digest);
  const list = await call('GET', `/v2/team/multi/referrers/${digest}`);
  assert.equal(list.headers['content-type'], OCI_INDEX);
  const { manifests } = JSON.parse(list.body.toString()) as { manifests: Record<string, unknown>[] };
  assert.deepEqual(
    manifests.map(({ artifactType, annotations }) => [artifactType, annotations]),
    [['application/signature', { by: 'me' }]],
  );
  const other = await call('GET', `/v2/team/multi/referrers/${digest}?artifactType=other`);
  assert.deepEqual((JSON.parse(other.body.toString()) as { manifests: unknown[] }).manifests, []);
  assert.equal(other.headers['oci-filters-applied'], 'artifactType');
});

test('a blob is read only in repositories that have it; a mount needs the right to read the source', async () => {
  const secret = await pushBlob('team/secret', Buffer.from('secret'));
  assert.equal((await call('GET', `/v2/public/x/blobs/${secret.digest}`, { user: 'reader:r' })).status, 404);
  const hidden = await content.write(Buffer.from('hidden'), {});
  await content.setName(linksScope('private/other'), hidden.digest, hidden.digest);
  assert.equal(
    (await call('POST', `/v2/team/mine/blobs/uploads/?mount=${hidden.digest}&from=private/other`)).status,
    202,
  );
  const own = await call('POST', `/v2/team/mine/blobs/uploads/?mount=${secret.digest}&from=team/secret`);
  assert.equal(own.status, 201);
  assert.equal((await call('GET', `/v2/team/mine/blobs/${secret.digest}`)).body.toString(), 'secret');
  for (const from of ['private/other', 'team/none', '../x', '']) {
    assert.equal(
      (await call('POST', `/v2/team/mine/blobs/uploads/?mount=${digestOf('none')}&from=${from}`)).status,
      202,
      from,
    );
  }
  // Somebody who knows a digest, and nothing more, gets nowhere by naming it in a manifest.
  const stolen = await pushManifest('team/thief', 'x', { mediaType: OCI_MANIFEST, config: secret, layers: [] });
  assert.equal(stolen.status, 400);
});

test('a collection between two steps of a push takes nothing that the push relies on', async () => {
  const layer = await pushBlob('team/slow', Buffer.from('slow layer'));
  const config = await pushBlob('team/slow', Buffer.from('{"slow":true}'));
  await content.collect();
  assert.equal((await pushManifest('team/slow', 'x', { config, layers: [layer] })).status, 201);
  await content.collect({ graceMilliseconds: -60_000 });
  assert.equal((await call('GET', `/v2/team/slow/blobs/${layer.digest}`)).body.toString(), 'slow layer');
});

test('errors are answered as the golden file says', async () => {
  const config = await pushBlob('team/errors', EMPTY);
  const none = `sha256:${'0'.repeat(64)}`;
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [] });
  const type = { 'content-type': OCI_MANIFEST };
  const put = '/v2/team/errors/manifests/x';
  const upload = (await call('POST', '/v2/team/errors/blobs/uploads/')).headers.location ?? '';
  const requests: [string, string, string, Parameters<typeof call>[2]?][] = [
    ['no credentials', 'GET', '/v2/', { user: '' }],
    ['wrong password', 'GET', '/v2/team/errors/tags/list', { user: 'team:wrong' }],
    ['malformed credentials', 'GET', '/v2/', { user: '', headers: { authorization: 'Basic !!!' } }],
    ['no right', 'POST', '/v2/team/errors/blobs/uploads/', { user: 'reader:r' }],
    ['no such endpoint', 'GET', '/v2/team/errors'],
    ['not supported', 'POST', '/v2/team/errors/tags/list'],
    ['bad repository name', 'GET', '/v2/Team/errors/tags/list'],
    ['repository that climbs', 'GET', '/v2/team/%2e%2e/errors/tags/list'],
    ['unknown repository', 'GET', '/v2/team/none/tags/list'],
    ['unknown tag', 'GET', '/v2/team/errors/manifests/none'],
    ['unknown digest', 'GET', `/v2/team/errors/manifests/${none}`],
    ['unknown blob', 'GET', `/v2/team/errors/blobs/${none}`],
    ['blob by no digest', 'GET', '/v2/team/errors/blobs/latest'],
    ['unknown upload', 'PATCH', '/v2/team/errors/blobs/uploads/0123', { body: 'x' }],
    ['bad content range', 'PATCH', upload, { body: 'x', headers: { 'content-range': 'all' } }],
    ['upload without digest', 'PUT', upload],
    ['upload with another digest', 'PUT', `${upload}?digest=${none}`, { body: 'x' }],
    ['bad page size', 'GET', '/v2/_catalog?n=-1'],
    ['bad tag', 'PUT', '/v2/team/errors/manifests/-x', { body: manifest, headers: type }],
    ['manifest with another digest', 'PUT', `/v2/team/errors/manifests/${none}`, { body: manifest, headers: type }],
    ['manifest that is no JSON', 'PUT', put, { body: 'x', headers: type }],
    ['manifest schema 1', 'PUT', put, { body: '{"schemaVersion":1}', headers: type }],
    ['manifest of another type than announced', 'PUT', put, { body: manifest, headers: { 'content-type': OCI_INDEX } }],
    [
      'manifest that is an index too',
      'PUT',
      put,
      { body: JSON.stringify({ schemaVersion: 2, layers: [], manifests: [] }), headers: type },
    ],
    ['manifest with an unknown blob', 'PUT', put, { body: manifest.replace(config.digest, none), headers: type }],
    ['manifest with a wrong size', 'PUT', put, { body: manifest.replace('"size":2', '"size":3'), headers: type }],
    ['what is no manifest', 'PUT', put, { body: manifest, headers: { 'content-type': 'text/html' } }],
    ['token that is none', 'GET', '/v2/', { user: '', headers: { authorization: 'Bearer x' } }],
    ['token for a wrong password', 'GET', '/token?scope=repository:team/errors:pull', { user: 'team:wrong' }],
    ['upload of an unknown algorithm', 'POST', '/v2/team/errors/blobs/uploads/?digest-algorithm=md5'],
    ['manifest too large', 'PUT', put, { body: Buffer.alloc(4 * 1024 * 1024 + 1, ' '), headers: type }],
  ];
  const lines: string[] = [];
  for (const [title, method, path, options] of requests) {
    const { status, headers, body } = await call(method, path, options);
    const challenge = headers['www-authenticate']?.replaceAll(`:${registry.port}`, ':<port>');
    const masked = `${method} ${path} -> ${status} ${body.toString().trim()}`.replaceAll(
      /[0-9a-f]{32}(?![0-9a-f])(?<!0{32})/g,
      (id) => (upload.endsWith(id) ? '<upload>' : id),
    );
    lines.push(`# ${title}`, masked, ...(challenge === undefined ? [] : [`www-authenticate: ${challenge}`]), '');
  }
  matchesGolden(join(import.meta.dirname, 'testdata/errors.golden'), lines.join('\n'));
});

test('close lets nobody in any more', async () => {
  const pair = await issueCertificate(await createAuthority({ commonName: 'x', days: 1 }), {
    commonName: 'r',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  const controller = new AbortController();
  const other = await startRegistry({
    content,
    listen: { host: '127.0.0.1', port: 0 },
    tls: { cert: pair.certificate, key: pair.key },
    authorize: () => true,
    signal: controller.signal,
  });
  controller.abort();
  await other.close();
  const refused = request({ host: '127.0.0.1', port: other.port, rejectUnauthorized: false }).end();
  const [error] = await once(refused, 'error');
  assert.equal(error.code, 'ECONNREFUSED');
});
