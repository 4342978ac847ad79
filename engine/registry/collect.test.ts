import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { utimesSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { digestOf } from '#lib/digest.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';
import type { ContentStore } from '../images/store.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../images/manifest.ts';

let registry: RegistryHost;
const HOUR = 60 * 60 * 1000;

before(async () => {
  registry = await startRegistryHost();
});
after(async () => await registry[Symbol.asyncDispose]());

/** As if nobody had come for a month. */
async function age(): Promise<void> {
  const old = (Date.now() - 30 * 24 * HOUR) / 1000;
  for await (const { digest } of registry.content.blobs()) utimesSync(registry.content.path(digest) ?? '', old, old);
}

async function image(repository: string, reference: string, more: Record<string, unknown> = {}): Promise<string> {
  const config = await registry.pushBlob(repository, Buffer.from('{}'));
  const layer = await registry.pushBlob(repository, Buffer.from(`layer of ${reference}`));
  const manifest = { mediaType: OCI_MANIFEST, config, layers: [layer], annotations: { for: reference }, ...more };
  const text = JSON.stringify({ schemaVersion: 2, ...manifest });
  const put = await registry.pushManifest(repository, reference === 'untagged' ? digestOf(text) : reference, manifest);
  assert.equal(put.status, 201, put.body.toString());
  return String(put.headers['docker-content-digest']);
}

test('what no tag leads to is forgotten after a week, with its bytes; what one leads to stays', async () => {
  const { content, call } = registry;
  const size = async (digest: string): Promise<number> => (await content.stat(digest))?.sizeBytes ?? 0;
  const tagged = await image('keep/app', 'tagged');
  const untagged = await image('keep/app', 'untagged');
  const child = await image('keep/app', 'child');
  await call('DELETE', '/v2/keep/app/manifests/child');
  const part = { mediaType: OCI_MANIFEST, digest: child, size: await size(child) };
  await registry.pushManifest('keep/app', 'index', { mediaType: OCI_INDEX, manifests: [part] });
  const subject = { mediaType: OCI_MANIFEST, digest: tagged, size: await size(tagged) };
  const signature = await image('keep/app', 'untagged', { subject, artifactType: 'text/signature' });
  const orphan = { ...subject, digest: untagged, size: await size(untagged) };
  const lost = await image('keep/app', 'untagged', { subject: orphan, artifactType: 'text/lost' });
  await content.collect({ graceMilliseconds: -60_000 });
  const there = async (digest: string): Promise<number> =>
    (await call('HEAD', `/v2/keep/app/manifests/${digest}`)).status;
  for (const digest of [tagged, untagged, child, signature, lost]) assert.equal(await there(digest), 200);
  await age();
  // Whoever pulls one makes it young again.
  assert.equal(await there(untagged), 200);
  await content.collect();
  for (const digest of [untagged, lost]) assert.equal(await there(digest), 200);
  await age();
  await content.collect();
  for (const digest of [tagged, child, signature]) assert.equal(await there(digest), 200);
  for (const digest of [untagged, lost]) assert.equal(await there(digest), 404);
  assert.equal(content.path(untagged), undefined);
  const { body } = await call('GET', `/v2/keep/app/referrers/${untagged}`);
  assert.deepEqual((JSON.parse(body.toString()) as { manifests: unknown[] }).manifests, []);
});

test('a tag that moves or goes leaves its manifest for whoever has just read it', async () => {
  const first = await image('moving/app', 'latest');
  await age();
  await image('moving/app', 'latest', { annotations: { for: 'the second' } });
  await registry.content.collect();
  assert.equal((await registry.call('GET', `/v2/moving/app/manifests/${first}`)).status, 200);
});

test('a collection in the middle of the answer that a blob is here does not take it', async () => {
  const { content } = registry;
  const { digest } = await registry.pushBlob('head/app', Buffer.from('told and kept'));
  await age();
  const stat = content.stat.bind(content);
  content.stat = async (asked) => {
    const info = await stat(asked);
    content.stat = stat;
    await content.collect();
    return info;
  };
  assert.equal((await registry.call('HEAD', `/v2/head/app/blobs/${digest}`)).status, 200);
  assert.ok(content.path(digest));
});

test('pushes and collections at the same time: what a push was told stays', { timeout: 120_000 }, async () => {
  const { content, call, pushManifest } = registry;
  const repository = 'race/app';
  const bytes = [Buffer.from('{"race":1}'), Buffer.alloc(100_000, 'race')];
  const push = async (tag: string): Promise<void> => {
    const parts = [];
    for (const part of bytes) {
      const digest = digestOf(part);
      const found = await call('HEAD', `/v2/${repository}/blobs/${digest}`);
      if (found.status !== 200) await registry.pushBlob(repository, part);
      parts.push({ mediaType: 'application/octet-stream', digest, size: part.length });
    }
    const [config, ...layers] = parts;
    const put = await pushManifest(repository, tag, { mediaType: OCI_MANIFEST, config, layers });
    assert.equal(put.status, 201, put.body.toString());
    const digest = String(put.headers['docker-content-digest']);
    const child = {
      mediaType: OCI_MANIFEST,
      digest,
      size: (await call('GET', `/v2/${repository}/manifests/${digest}`)).body.length,
    };
    await call('DELETE', `/v2/${repository}/manifests/${tag}`);
    const indexed = await pushManifest(repository, `index-${tag}`, {
      mediaType: OCI_INDEX,
      manifests: [child],
      annotations: { tag },
    });
    assert.equal(indexed.status, 201, indexed.body.toString());
  };
  let removed = 0;
  for (let round = 0; round < 40; round += 1) {
    for (const { name } of content.names(repository)) await content.setName(repository, name, undefined);
    await age();
    const sweeping = slowSweep(content);
    const collecting = Array.from({ length: 2 }, async () => {
      removed += (await content.collect({ graceMilliseconds: HOUR, untaggedGraceMilliseconds: HOUR })).blobs;
    });
    await sweeping.begun;
    await Promise.all([push('a'), push('b'), ...collecting]);
    sweeping.end();
    await content.collect({ graceMilliseconds: HOUR, untaggedGraceMilliseconds: HOUR });
    for (const tag of ['a', 'b']) {
      const index = await call('GET', `/v2/${repository}/manifests/index-${tag}`);
      const { manifests } = JSON.parse(index.body.toString()) as { manifests: { digest: string }[] };
      assert.equal(
        (await call('GET', `/v2/${repository}/manifests/${manifests[0]?.digest}`)).status,
        200,
        `round ${round}`,
      );
    }
    for (const part of bytes)
      assert.deepEqual((await call('GET', `/v2/${repository}/blobs/${digestOf(part)}`)).body, part, `round ${round}`);
  }
  assert.ok(removed > 0);
});

/** Sweeps stop for some turns of the loop at every blob, so that the steps of a push come between. */
function slowSweep(content: ContentStore): { begun: Promise<void>; end: () => void } {
  const { promise: begun, resolve } = Promise.withResolvers<void>();
  const blobs = content.blobs.bind(content);
  let ahead = randomInt(30);
  content.blobs = async function* () {
    for await (const info of blobs()) {
      if (ahead === 0) resolve();
      ahead -= 1;
      for (let turn = randomInt(30); turn > 0; turn -= 1) await setImmediate();
      yield info;
    }
    resolve();
  };
  return { begun, end: () => (content.blobs = blobs) };
}
