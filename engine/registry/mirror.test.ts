/** The registry as a cache of others: of another of our own, and of Debian's docker-registry, with skopeo as the client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { get } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buffer } from 'node:stream/consumers';
import { digestOf } from '#lib/digest.ts';
import { type OciClients, openOciClients } from '#testing/oci-clients.ts';
import { writeOciLayout, tarOf } from '#testing/oci-layout.ts';
import { type PeerRegistry, startPeerRegistry } from '#testing/peer-registry.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';
import { until } from '#testing/until.ts';
import { openContentStore } from '../images/content.ts';
import { OCI_INDEX } from '../images/manifest.ts';
import { PullThrough } from '../images/pull-through.ts';
import { RegistryClient } from '../images/registry-client.ts';
import type { ContentStore } from '../images/store.ts';
import { References, listNames } from '../fsck/content.ts';

const MEGABYTES = 4;
const EVERYTHING = { graceMilliseconds: -60_000, untaggedGraceMilliseconds: -60_000 };

let directory: string;
let clients: OciClients;
let upstream: RegistryHost;
let peer: PeerRegistry;
let cache: RegistryHost;
let content: ContentStore;
/** What upstream was asked, by path. */
const asked: string[] = [];
let isDown = false;
const stale: string[] = [];
let slowServer: Server;
/** Its answers that wait. */
const held: ServerResponse[] = [];
const manifests: Record<string, string> = {};

/** A client that a test can cut off from upstream, and that writes down what it asks. */
class Watched extends RegistryClient {
  readonly #host: string;
  constructor(access: ConstructorParameters<typeof RegistryClient>[0]) {
    super(access);
    this.#host = access.host;
  }
  #ask(what: string): void {
    asked.push(`${this.#host === upstream.host ? 'ours' : 'peer'} ${what}`);
  }
  override tagDigest(...words: Parameters<RegistryClient['tagDigest']>): ReturnType<RegistryClient['tagDigest']> {
    this.#ask(`HEAD ${words[0]}:${words[1]}`);
    return super.tagDigest(...words);
  }
  override manifest(...words: Parameters<RegistryClient['manifest']>): ReturnType<RegistryClient['manifest']> {
    this.#ask(`GET ${words[0]}`);
    return super.manifest(...words);
  }
  override blob(...words: Parameters<RegistryClient['blob']>): Promise<void> {
    this.#ask(`BLOB ${words[1].digest}`);
    return super.blob(...words);
  }
}

describe('a pull-through cache', { timeout: 120_000 }, () => {
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mirror-'));
    clients = await openOciClients();
    upstream = await startRegistryHost({
      user: 'ann:secret',
      authorize: ({ username, password }) => username === 'ann' && password === 'secret',
    });
    peer = await startPeerRegistry({ tls: upstream.tls });
    const access = new Map(
      [upstream.host, peer.host].map((host) => [
        host,
        new Watched({ host, ca: upstream.ca, credentials: { username: 'ann', password: 'secret' } }),
      ]),
    );
    // Sends one half of the blob that it has, and the other when it is told.
    slowServer = createServer((request, response) => {
      const bytes = noise(6 * 1024 * 1024, 'slow');
      response.writeHead(200, { 'content-length': bytes.length });
      if (request.method === 'HEAD') return void response.end();
      response.write(bytes.subarray(0, bytes.length / 2));
      held.push(response);
    });
    slowServer.listen(0, '127.0.0.1');
    await once(slowServer, 'listening');
    const slow = `127.0.0.1:${(slowServer.address() as AddressInfo).port}`;
    access.set(slow, new Watched({ host: slow }));
    // What does not answer, for when an upstream is to be down: nobody listens there.
    const nobody = new RegistryClient({ host: 'registry.invalid' });
    content = openContentStore(join(directory, 'content'));
    cache = await startRegistryHost({
      content,
      cache: new PullThrough({
        content,
        mirrors: { ours: upstream.host, 'peer.example': peer.host, slow },
        client: (host) => (isDown ? nobody : (access.get(host) ?? nobody)),
        onStale: (repository) => stale.push(repository),
      }),
      user: 'bob:b',
      authorize: ({ username, password, repository = '' }) =>
        username === 'bob' && password === 'b' && !repository.includes('/secret/'),
    });
    for (const host of [upstream.host, peer.host]) {
      for (const tag of ['one', 'two']) {
        const layers = [await tarOf([{ name: tag, data: noise(MEGABYTES * 1024 * 1024, tag) }])];
        const layout = join(directory, 'layout');
        const { manifestDigest } = await writeOciLayout(layout, { tag, layers, architecture: 'amd64', config: {} });
        manifests[tag] = manifestDigest;
        await clients.skopeo(
          ...['copy', '--quiet', '--dest-cert-dir', upstream.certificates, '--dest-creds', 'ann:secret'],
          ...[`oci:${layout}:${tag}`, `docker://${host}/team/box:${tag}`],
        );
      }
    }
  });
  after(async () => {
    slowServer.close();
    slowServer.closeAllConnections();
    await cache[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    await clients[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** An answer that is not read yet. */
  async function open(path: string): Promise<IncomingMessage> {
    const headers = { authorization: `Basic ${btoa('bob:b')}` };
    const outgoing = get(`https://${cache.host}${path}`, { agent: false, ca: cache.ca, headers });
    return ((await once(outgoing, 'response')) as [IncomingMessage])[0];
  }

  const copy = async (name: string): Promise<string> =>
    await clients.skopeo(
      ...['copy', '--quiet', '--src-cert-dir', cache.certificates, '--src-creds', 'bob:b'],
      ...[`docker://${cache.host}/${name}`, `dir:${join(directory, 'copied')}`],
    );

  for (const [prefix, which] of [
    ['ours', 'ours'],
    ['peer.example', 'peer'],
  ] as const) {
    test(`a miss is fetched, kept, and served when ${which} is down`, async () => {
      const name = `${prefix}/team/box`;
      await copy(`${name}:one`);
      assert.ok(asked.includes(`${which} GET team/box`));
      const before = asked.length;
      await copy(`${name}:one`);
      assert.deepEqual(asked.slice(before), [`${which} HEAD team/box:one`], 'only the tag is asked for again');
      isDown = true;
      try {
        await copy(`${name}:one`);
        assert.ok(stale.includes(name));
        await copy(`${name}@${manifests['one']}`);
        await assert.rejects(copy(`${name}:two`), /502|upstream|registry.invalid/);
        const blob = await cache.call('GET', `/v2/${name}/blobs/${digestOf('nowhere')}`);
        assert.equal(blob.status, 502);
        const tags = await cache.call('GET', `/v2/${name}/tags/list`);
        assert.deepEqual(JSON.parse(tags.body.toString()).tags, ['one']);
      } finally {
        isDown = false;
      }
      const tags = await cache.call('GET', `/v2/${name}/tags/list`);
      assert.deepEqual(JSON.parse(tags.body.toString()).tags, ['one', 'two']);
    });
  }

  test('many readers of one blob share a fetch, each gets the bytes, and a slow one holds up nobody', async () => {
    const bytes = noise(24 * 1024 * 1024, 'shared');
    const { digest } = await upstream.pushBlob('team/shared', bytes);
    const path = `/v2/ours/team/shared/blobs/${digest}`;
    const [slow, cut, ...readers] = await Promise.all(Array.from({ length: 6 }, () => open(path)));
    assert.ok(slow !== undefined && cut !== undefined);
    cut.destroy();
    for (const read of await Promise.all(readers.map(async (reader) => await buffer(reader)))) {
      assert.equal(digestOf(read), digest);
    }
    assert.equal(digestOf(await buffer(slow)), digest);
    assert.equal(asked.filter((line) => line === `ours BLOB ${digest}`).length, 1);
    const part = await cache.call('GET', `/v2/ours/team/shared/blobs/${digest}`, { headers: { range: 'bytes=5-9' } });
    assert.deepEqual([part.status, part.body], [206, bytes.subarray(5, 10)]);
  });

  test('bytes go on while they come; when the last reader leaves the fetch ends, and leaves nothing', async () => {
    const bytes = noise(6 * 1024 * 1024, 'slow');
    const digest = digestOf(bytes);
    const path = `/v2/slow/team/box/blobs/${digest}`;
    const half = bytes.length / 2;
    const reading = await open(path);
    const first = reading[Symbol.asyncIterator]();
    const chunks = [((await first.next()) as IteratorResult<Buffer, Buffer>).value];
    assert.ok(chunks[0] !== undefined && chunks[0].length > 0, 'upstream has not sent the second half yet');
    const asking = held.pop();
    assert.ok(asking !== undefined);
    const left = once(asking, 'close');
    reading.destroy();
    await left;
    await until(async () => (await readdir(join(directory, 'content/uploads'))).length === 0);
    assert.equal(content.path(digest), undefined);

    const again = buffer(await open(path));
    await until(async () => held.length === 1);
    held.pop()?.end(bytes.subarray(half));
    assert.equal(digestOf(await again), digest);
    assert.notEqual(content.path(digest), undefined);
  });

  test('a range of what is not here is a part of what then is; HEAD fetches nothing', async () => {
    const bytes = noise(300_000, 'range');
    const { digest } = await upstream.pushBlob('team/shared', bytes);
    const path = `/v2/ours/team/shared/blobs/${digest}`;
    const head = await cache.call('HEAD', path);
    assert.deepEqual([head.status, head.headers['content-length']], [200, '300000']);
    assert.equal(content.path(digest), undefined);
    const part = await cache.call('GET', path, { headers: { range: 'bytes=299990-' } });
    assert.deepEqual([part.status, part.body], [206, bytes.subarray(299_990)]);
    assert.notEqual(content.path(digest), undefined);
    assert.equal((await cache.call('GET', `/v2/ours/team/shared/blobs/${digestOf('no')}`)).status, 404);
  });

  test('bytes that are not what the digest says are never a whole answer, and are not kept', async () => {
    const bytes = noise(3 * 1024 * 1024, 'bad');
    const { digest } = await upstream.pushBlob('team/shared', bytes);
    const path = upstream.content.path(digest) ?? '';
    await rm(path);
    const { writeFile } = await import('node:fs/promises');
    await writeFile(path, Buffer.alloc(bytes.length, 'x'));
    await assert.rejects(cache.call('GET', `/v2/ours/team/shared/blobs/${digest}`), /aborted|ECONNRESET|hang up/);
    assert.equal(content.path(digest), undefined);
    assert.deepEqual(await readdir(join(directory, 'content/uploads')), []);
  });

  test('a tag that moves is followed, one that goes is gone, and what is here stays by digest', async () => {
    const tag = 'team/moving';
    const config = await upstream.pushBlob(tag, Buffer.from('{}'));
    const manifest = (note: string): Record<string, unknown> => ({ config, layers: [], annotations: { note } });
    const first = await upstream.pushManifest(tag, 'now', manifest('a'));
    const digests = [String(first.headers['docker-content-digest'])];
    const seen = async (): Promise<string> =>
      String((await cache.call('HEAD', `/v2/ours/${tag}/manifests/now`)).headers['docker-content-digest']);
    assert.equal(await seen(), digests[0]);
    digests.push(String((await upstream.pushManifest(tag, 'now', manifest('b'))).headers['docker-content-digest']));
    assert.equal(await seen(), digests[1]);
    assert.equal((await upstream.call('DELETE', `/v2/${tag}/manifests/now`)).status, 202);
    assert.equal((await cache.call('GET', `/v2/ours/${tag}/manifests/now`)).status, 404);
    for (const digest of digests)
      assert.equal((await cache.call('GET', `/v2/ours/${tag}/manifests/${digest}`)).status, 200);
  });

  test('who takes no index is given the image in it, fetched for them', async () => {
    const config = await upstream.pushBlob('team/multi', Buffer.from('{}'));
    const child = await upstream.pushManifest('team/multi', 'x', { config, layers: [] });
    const part = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: String(child.headers['docker-content-digest']),
      size: (await upstream.call('GET', '/v2/team/multi/manifests/x')).body.length,
      platform: { os: 'linux', architecture: 'amd64' },
    };
    await upstream.pushManifest('team/multi', 'all', { mediaType: OCI_INDEX, manifests: [part] });
    const plain = await cache.call('GET', '/v2/ours/team/multi/manifests/all', { headers: { accept: part.mediaType } });
    assert.deepEqual([plain.status, plain.headers['docker-content-digest']], [200, part.digest]);
  });

  test('rights are the registry’s own; nobody pushes to a mirror', async () => {
    assert.equal((await cache.call('GET', '/v2/ours/team/box/manifests/one', { user: '' })).status, 401);
    assert.equal((await cache.call('GET', '/v2/ours/secret/box/manifests/one')).status, 403);
    const push = await cache.call('POST', '/v2/ours/team/box/blobs/uploads/');
    assert.deepEqual([push.status, JSON.parse(push.body.toString()).errors[0].code], [405, 'UNSUPPORTED']);
    assert.equal((await cache.pushBlob('team/own', Buffer.from('own'))).size, 3);
    const unknown = await cache.call('GET', '/v2/ours/team/none/manifests/one');
    assert.equal(unknown.status, 404);
  });

  test('fsck takes what is half here for whole; what nobody pulls goes, tags too', async () => {
    const { whole } = listNames(join(directory, 'content'));
    const half = await cache.call('GET', `/v2/ours/team/box/manifests/two`);
    assert.equal(half.status, 200);
    const names = listNames(join(directory, 'content')).whole;
    assert.ok(names.length > whole.length);
    const references = new References(join(directory, 'content'), [], names);
    assert.deepEqual(
      names.flatMap((name) => references.lack(name) ?? []),
      [],
    );
    await content.collect();
    assert.ok(content.names('ours/team/box').length > 0);
    await content.collect(EVERYTHING);
    await content.collect(EVERYTHING);
    assert.deepEqual(await Array.fromAsync(content.blobs()), []);
    assert.deepEqual(content.scopes(), []);
    await copy('ours/team/box:one');
  });
});

/** Bytes that do not compress, the same for the same name. */
function noise(length: number, name: string): Buffer {
  const bytes = Buffer.alloc(length);
  let state = Buffer.from(digestOf(name)).readUInt32LE(8) | 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    state = Math.imul(state, 1_664_525) + 1_013_904_223;
    bytes.writeInt32LE(state | 0, at);
  }
  return bytes;
}
