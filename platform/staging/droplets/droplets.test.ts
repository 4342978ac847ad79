import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import { readTar } from '#lib/tar/read.ts';
import { tarOf } from '#testing/oci-layout.ts';
import { startTestRegistry, type TestRegistry } from '#testing/staging-registry.ts';
import { createBits } from '../bits/bits.ts';
import { imageConfig, imageManifest, type Layer, ociArchitecture } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import { StagingError } from '../staging.ts';
import { limits } from './archive-read.ts';
import { createDropletFiles } from './droplets.ts';

let registry: TestRegistry;
let files = 0;

before(async () => {
  registry = await startTestRegistry();
});
after(async () => {
  await registry[Symbol.asyncDispose]();
});

const METADATA = JSON.stringify({
  buildpacks: [{ id: 'sampan/nodejs', version: '1.0.0' }],
  processes: [
    { type: 'web', command: ['node', 'server.js'], args: ['--port', '8080'] },
    { type: 'worker', command: ['bash', '-c', 'node worker.js'], args: [] },
  ],
});

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** An image as staging makes them, of two layers. */
async function makeDroplet(app: string, text: string): Promise<{ image: string; layers: Layer[] }> {
  const { client } = registry;
  const repository = `cf/${app}`;
  const layers: Layer[] = [];
  for (const name of ['stack', 'workspace/app']) {
    const tar = await tarOf([{ name, data: Buffer.from(`${name} of ${text}`) }]);
    layers.push(await pushLayer(client, repository, once(tar)));
  }
  const run = { Entrypoint: ['/cnb/launcher'], Labels: { 'io.buildpacks.build.metadata': METADATA } };
  const config = imageConfig({ architecture: ociArchitecture(), layers, run });
  await client.putBlob(repository, config);
  const manifest = imageManifest({ config, layers });
  const digest = await client.putManifest(repository, 'droplet-1', manifest);
  return { image: client.reference(repository, digest), layers };
}

async function download(image: string): Promise<string> {
  const file = join(registry.directory, `droplet-${++files}.tgz`);
  await pipeline(await createDropletFiles(registry.client).read(image), createWriteStream(file));
  return file;
}

function write(bytes: Buffer): string {
  const file = join(registry.directory, `droplet-${++files}.tgz`);
  writeFileSync(file, bytes);
  return file;
}

/** The entries of an archive, to be changed and packed again. */
async function unpacked(file: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for await (const entry of readTar(once(gunzipSync(readFileSync(file))))) {
    if (entry.type === 'file') found.set(entry.name, Buffer.concat(await Array.fromAsync(entry.data())));
  }
  return found;
}

async function packed(entries: Map<string, Buffer>): Promise<string> {
  return write(gzipSync(await tarOf([...entries].map(([name, data]) => ({ name, data })))));
}

test('a downloaded droplet is an image archive that skopeo reads, and another app that is given it runs the same image', async () => {
  const { image } = await makeDroplet('source', 'one');
  const file = await download(image);
  const { stdout } = await promisify(execFile)('skopeo', ['inspect', `oci-archive:${file}`]);
  const seen = JSON.parse(stdout) as { Digest: string; Layers: string[] };
  assert.equal(seen.Digest, image.split('@')[1]);
  const stored = await createDropletFiles(registry.client).store({ app: 'target', droplet: 'd1', file });
  assert.equal(stored.image, registry.client.reference('cf/target', seen.Digest));
  assert.deepEqual(stored.processTypes, { web: 'node server.js --port 8080', worker: 'node worker.js' });
  assert.deepEqual(stored.buildpacks, [{ name: 'sampan/nodejs', version: '1.0.0' }]);
  for (const layer of seen.Layers)
    assert.ok(await registry.client.blobSize('cf/target', layer), 'each layer is its own');
  assert.deepEqual(await registry.client.tags('cf/target'), ['droplet-d1']);
});

test('an archive of another tool is taken: not compressed, in another order, with an index around it', async () => {
  const { image } = await makeDroplet('plain', 'two');
  const entries = await unpacked(await download(image));
  const inner = entries.get('index.json') ?? Buffer.alloc(0);
  const digest = digestOf(inner);
  entries.delete('index.json');
  entries.set(`blobs/sha256/${digest.slice(7)}`, inner);
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const outer = { schemaVersion: 2, manifests: [{ mediaType, digest, size: inner.length }] };
  entries.set('index.json', Buffer.from(JSON.stringify(outer)));
  const file = write(await tarOf([...entries].reverse().map(([name, data]) => ({ name: `./${name}`, data }))));
  const stored = await createDropletFiles(registry.client).store({ app: 'plain-target', droplet: 'd', file });
  assert.equal(stored.checksum, image.split('@')[1]);
});

const configOf = (entries: Map<string, Buffer>) =>
  [...entries].find(([, data]) => data.includes('"rootfs"')) ?? ['', Buffer.alloc(0)];

/** Changes the configuration and everything that names it. */
function withConfig(entries: Map<string, Buffer>, change: (config: Record<string, unknown>) => void): void {
  const [name, old] = configOf(entries);
  const config = JSON.parse(old.toString()) as Record<string, unknown>;
  change(config);
  const bytes = Buffer.from(JSON.stringify(config));
  const from = digestOf(old);
  rename(entries, name, bytes);
  for (const [key, data] of [...entries]) {
    if (!data.includes(`"digest":"${from}"`)) continue;
    const manifest = JSON.parse(data.toString()) as { config: { digest: string; size: number } };
    manifest.config = { ...manifest.config, digest: digestOf(bytes), size: bytes.length };
    const manifestBytes = Buffer.from(JSON.stringify(manifest));
    rename(entries, key, manifestBytes);
    const index = JSON.parse(String(entries.get('index.json'))) as { manifests: { digest: string; size: number }[] };
    Object.assign(index.manifests[0] ?? {}, { digest: digestOf(manifestBytes), size: manifestBytes.length });
    entries.set('index.json', Buffer.from(JSON.stringify(index)));
  }
}

function rename(entries: Map<string, Buffer>, name: string, bytes: Buffer): void {
  entries.delete(name);
  entries.set(`blobs/sha256/${createHash('sha256').update(bytes).digest('hex')}`, bytes);
}

/** What is wrong with each, and in which words it is refused. */
const HOSTILE: [string, (entries: Map<string, Buffer>, layers: Layer[]) => void, RegExp][] = [
  ['no index', (entries) => entries.delete('index.json'), /lacks index\.json/],
  ['an index that is no JSON', (entries) => entries.set('index.json', Buffer.from('{')), /index\.json is no JSON/],
  ['an empty index', (entries) => entries.set('index.json', Buffer.from('{"manifests":[]}')), /names no image/],
  [
    'another entry point',
    (entries) => withConfig(entries, (config) => (config['config'] = { Entrypoint: ['/bin/sh'] })),
    /entry point is not/,
  ],
  ['another processor', (entries) => withConfig(entries, (config) => (config['architecture'] = 's390x')), /s390x/],
  ['fewer layers', (entries) => withConfig(entries, (config) => (config['rootfs'] = { diff_ids: [] })), /other layers/],
  [
    'a layer that is not there',
    (entries, [layer]) => entries.delete(`blobs/sha256/${layer?.digest.slice(7)}`),
    /lacks the layer/,
  ],
  [
    'a layer with other bytes',
    (entries, [layer]) => {
      const name = `blobs/sha256/${layer?.digest.slice(7)}`;
      entries.set(name, Buffer.alloc(entries.get(name)?.length ?? 0));
    },
    /other bytes than its digest/,
  ],
];

for (const [what, change, refusal] of HOSTILE) {
  test(`a droplet with ${what} is refused, and leaves no image`, async () => {
    const { image, layers } = await makeDroplet('victim', what);
    const entries = await unpacked(await download(image));
    change(entries, layers);
    const app = `thief-${files}`;
    const storing = createDropletFiles(registry.client).store({ app, droplet: 'd', file: await packed(entries) });
    // What it leaves out belongs to another app that has it: knowing a digest opens nothing.
    await assert.rejects(
      storing,
      (error) => error instanceof StagingError && error.code === 'invalid-bits' && refusal.test(error.message),
    );
    assert.deepEqual(await registry.client.tags(`cf/${app}`), []);
  });
}

test('what is no archive, is cut off, or is too large is refused', async () => {
  const { image } = await makeDroplet('cut', 'three');
  const whole = readFileSync(await download(image));
  const store = (bytes: Buffer, bounds = limits) =>
    createDropletFiles(registry.client, bounds).store({ app: 'cut-target', droplet: 'd', file: write(bytes) });
  const invalid = { code: 'invalid-bits' };
  await assert.rejects(store(Buffer.from('PK\u0003\u0004 a zip file')), invalid);
  await assert.rejects(store(Buffer.alloc(0)), invalid);
  await assert.rejects(store(whole.subarray(0, whole.length / 2)), invalid);
  await assert.rejects(store(gzipSync(Buffer.alloc(100_000, 'x'))), invalid);
  await assert.rejects(store(whole, { ...limits, bytes: 1000 }), { code: 'too-large' });
  await assert.rejects(store(whole, { ...limits, entries: 3 }), invalid);
});

test('copies of droplets and packages stay when the app that they were made from goes', async () => {
  const { client } = registry;
  const [bits, droplets] = [createBits(client), createDropletFiles(client)];
  const { image } = await makeDroplet('old', 'four');
  const copy = await droplets.copy({ image, app: 'new', droplet: 'd' });
  await bits.remove('old');
  // Its tag is gone; the image itself goes when the registry collects.
  await client.deleteManifest('cf/old', image.split('@')[1] ?? '');
  assert.equal(copy, client.reference('cf/new', image.split('@')[1] ?? ''));
  const kept = await download(copy);
  assert.ok((await unpacked(kept)).has('index.json'));
  await assert.rejects(droplets.copy({ image, app: 'new', droplet: 'e' }), { code: 'registry' });
  await assert.rejects(droplets.read(image), { code: 'registry' });
});
