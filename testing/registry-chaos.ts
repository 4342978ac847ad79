/**
 * Pushes to a registry that is killed at random moments: what was acknowledged is there afterwards, an upload goes on where
 * it was, and nothing is left that nobody needs.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, utimesSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { openContentStore } from '#engine/images/content.ts';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { freePort } from '#lib/ports.ts';

const PROGRAM = join(import.meta.dirname, '../engine/registry/testdata/serve.ts');
const CHUNK = 200_000;

interface Session {
  bytes: Buffer;
  location: string;
  acknowledged: number;
}

export async function killLoop(rounds: number): Promise<void> {
  await using place = await prepare();
  const blobs = new Set<string>();
  const manifests = new Set<string>();
  /** One upload that takes all rounds. */
  const long: Session = { bytes: randomBytes(CHUNK * rounds * 2), location: '', acknowledged: 0 };
  for (let round = 0; round < rounds; round += 1) {
    const server = await place.start();
    const working = Promise.allSettled([
      ...Array.from({ length: 3 }, async () => {
        for (;;) await pushImage(place, blobs, manifests);
      }),
      (async () => {
        while (long.acknowledged < long.bytes.length)
          await advance(place, long, round === rounds - 1 ? CHUNK : CHUNK / 4);
      })(),
    ]);
    await place.answers(1 + randomInt(60));
    server.kill('SIGKILL');
    await once(server, 'exit');
    for (const ended of await working) {
      // Its connection breaks; anything else is a broken promise.
      if (ended.status === 'rejected' && ended.reason instanceof assert.AssertionError) throw ended.reason;
    }
  }
  const server = await place.start();
  try {
    assert.ok(blobs.size > rounds, `${blobs.size} blobs were acknowledged`);
    for (const digest of blobs) {
      const { status, body } = await place.call('GET', `/v2/kill/app/blobs/${digest}`);
      assert.deepEqual([status, digestOf(body)], [200, digest]);
    }
    for (const digest of manifests)
      assert.equal((await place.call('GET', `/v2/kill/app/manifests/${digest}`)).status, 200);
    while (long.acknowledged < long.bytes.length) await advance(place, long, CHUNK * 4);
    const done = await place.call('PUT', `${long.location}?digest=${digestOf(long.bytes)}`);
    assert.equal(done.status, 201);
    assert.deepEqual((await place.call('GET', done.location)).body, long.bytes);
  } finally {
    server.kill('SIGKILL');
    await once(server, 'exit');
  }
  await nothingIsLeft(place.content, manifests.size);
}

/** Two blobs and a manifest; what is acknowledged is noted at once. */
async function pushImage(place: Place, blobs: Set<string>, manifests: Set<string>): Promise<void> {
  const parts = [];
  for (const bytes of [randomBytes(64), randomBytes(randomInt(1, 600_000))]) {
    const digest = digestOf(bytes);
    const { status } = await place.call('POST', `/v2/kill/app/blobs/uploads/?digest=${digest}`, bytes);
    assert.equal(status, 201);
    blobs.add(digest);
    parts.push({ mediaType: 'application/octet-stream', digest, size: bytes.length });
  }
  const [config, ...layers] = parts;
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config, layers });
  const digest = digestOf(manifest);
  const { status } = await place.call('PUT', `/v2/kill/app/manifests/${digest}`, Buffer.from(manifest), mediaType);
  assert.equal(status, 201);
  manifests.add(digest);
}

/** Asks where the upload stands, which is never before what was acknowledged, and sends a piece more. */
async function advance(place: Place, session: Session, most: number): Promise<void> {
  if (session.location === '') {
    const started = await place.call('POST', '/v2/kill/app/blobs/uploads/');
    assert.equal(started.status, 202);
    session.location = started.location;
  }
  const state = await place.call('GET', session.location);
  assert.equal(state.status, 204);
  const last = Number(state.range.split('-')[1]);
  const size = last === 0 ? 0 : last + 1;
  assert.ok(size >= session.acknowledged, `${size} bytes are left of ${session.acknowledged}`);
  const piece = session.bytes.subarray(size, size + most);
  if (piece.length > 0) assert.ok([202, 416].includes((await place.call('PATCH', session.location, piece)).status));
  session.acknowledged = size;
}

async function nothingIsLeft(directory: string, manifests: number): Promise<void> {
  const aside = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.includes('.aside-'),
  );
  const store = openContentStore(directory);
  assert.deepEqual(
    readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('.aside-')),
    [],
    `there were ${aside.join(' ')}`,
  );
  const uploads = join(directory, 'uploads');
  const old = Date.now() / 1000 - 2 * 24 * 60 * 60;
  for (const file of readdirSync(uploads)) utimesSync(join(uploads, file), old, old);
  await store.collect({ graceMilliseconds: -60_000, untaggedGraceMilliseconds: 60_000 });
  assert.deepEqual(readdirSync(uploads), []);
  // A manifest that was stored and not acknowledged may be there too.
  const left = (await Array.fromAsync(store.blobs())).length;
  assert.ok(left >= manifests * 3 && left <= store.names(':manifests/kill/app').length * 3, `${left} blobs`);
  await store.collect({ graceMilliseconds: -60_000, untaggedGraceMilliseconds: -60_000 });
  assert.deepEqual(await Array.fromAsync(store.blobs()), []);
  assert.deepEqual(store.scopes(), []);
}

interface Reply {
  status: number;
  location: string;
  range: string;
  body: Buffer;
}

interface Place extends AsyncDisposable {
  content: string;
  start(): Promise<ChildProcess>;
  call(method: string, path: string, body?: Buffer, type?: string): Promise<Reply>;
  /** Resolves after so many answers more. */
  answers(count: number): Promise<void>;
}

async function prepare(): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), 'registry-chaos-'));
  const content = join(directory, 'content');
  const port = await freePort();
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, { commonName: 'r', ips: ['127.0.0.1'], usages: ['server'], days: 1 });
  await writeFile(join(directory, 'certificate'), pair.certificate);
  await writeFile(join(directory, 'key'), pair.key);
  const agent = new Agent({ keepAlive: true, ca: authority.certificate });
  let waiting: { left: number; resolve: () => void } | undefined;
  return {
    content,
    async start() {
      const words = [PROGRAM, content, String(port), join(directory, 'certificate'), join(directory, 'key')];
      const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
      await Promise.race([
        once(child.stdout, 'data'),
        once(child, 'exit').then(() => Promise.reject(new Error('the registry did not start'))),
      ]);
      return child;
    },
    async call(method, path, body, type) {
      const headers = { 'content-type': type ?? 'application/octet-stream', 'content-length': body?.length ?? 0 };
      const outgoing = request({ host: '127.0.0.1', port, agent, method, path, headers });
      outgoing.end(body);
      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
      const bytes = await buffer(response);
      if (waiting !== undefined && (waiting.left -= 1) <= 0) waiting.resolve();
      const { location = '', range = '' } = response.headers;
      return { status: response.statusCode ?? 0, location, range: String(range), body: bytes };
    },
    async answers(count) {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting = { left: count, resolve };
      await promise;
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
