import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { digestOf } from '#lib/digest.ts';
import { busyboxLayer, tarOf, writeOciLayout } from '#testing/oci-layout.ts';
import type { PullProgress } from '../engine.ts';
import { type Registry, startRegistry } from '../registry/server.ts';
import { openContentStore } from './content.ts';
import { type NodeImages, openImages } from './open.ts';
import type { ContentStore } from './store.ts';

const run = promisify(execFile);
const CREDENTIALS = { username: 'sampan', password: 'plank' };

let directory = '';
let certificates = '';
let ca = '';
let registry: Registry;
let remote: ContentStore;
let host = '';

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'images-'));
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const { certificate, key } = await issueCertificate(authority, {
    commonName: 'registry',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  ca = authority.certificate;
  certificates = join(directory, 'certificates');
  await mkdir(certificates);
  await writeFile(join(certificates, 'ca.crt'), ca);
  remote = openContentStore(join(directory, 'remote'));
  registry = await startRegistry({
    content: remote,
    listen: { host: '127.0.0.1', port: 0 },
    tls: { cert: certificate, key },
    authorize: ({ username, password }) => username === CREDENTIALS.username && password === CREDENTIALS.password,
    onError: (error) => console.error(error),
  });
  host = `127.0.0.1:${registry.port}`;
});

after(async () => {
  await registry.close();
  await rm(directory, { recursive: true });
});

async function withImages(work: (images: NodeImages, dataDirectory: string) => Promise<void>): Promise<void> {
  const dataDirectory = await mkdtemp(join(directory, 'node-'));
  const images = await openImages({ dataDirectory, registries: { [host]: { ...CREDENTIALS, ca } } });
  try {
    await work(images, dataDirectory);
  } finally {
    await images.close();
  }
}

async function push(layout: string, name: string, options: string[] = []): Promise<void> {
  await run('skopeo', [
    'copy',
    '--quiet',
    '--preserve-digests',
    '--dest-cert-dir',
    certificates,
    '--dest-creds',
    'sampan:plank',
    ...options,
    `oci:${layout}`,
    `docker://${host}/${name}`,
  ]);
}

test('an image goes into the registry and back through skopeo with the same digests', async () => {
  const layout = join(directory, 'busybox');
  const made = await writeOciLayout(layout, {
    tag: 'one',
    layers: [await busyboxLayer(), await tarOf([{ name: 'hello', data: Buffer.from('hi') }])],
  });
  await push(`${layout}:one`, 'library/busybox:one');
  const { stdout } = await run('skopeo', [
    'inspect',
    '--cert-dir',
    certificates,
    '--creds',
    'sampan:plank',
    `docker://${host}/library/busybox:one`,
  ]);
  const inspected = JSON.parse(stdout) as { Digest: string; Layers: string[]; RepoTags: string[] };
  assert.equal(inspected.Digest, made.manifestDigest);
  assert.deepEqual(inspected.Layers, made.layerDigests);
  assert.deepEqual(inspected.RepoTags, ['one']);
  const back = join(directory, 'back');
  await run('skopeo', [
    'copy',
    '--quiet',
    '--preserve-digests',
    '--src-cert-dir',
    certificates,
    '--src-creds',
    'sampan:plank',
    `docker://${host}/library/busybox:one`,
    `oci:${back}:one`,
  ]);
  const index = JSON.parse(await readFile(join(back, 'index.json'), 'utf8')) as { manifests: { digest: string }[] };
  assert.equal(index.manifests[0]?.digest, made.manifestDigest);
});

test('skopeo with a wrong password is refused', async () => {
  await assert.rejects(
    run('skopeo', [
      'inspect',
      '--cert-dir',
      certificates,
      '--creds',
      'sampan:wrong',
      `docker://${host}/library/busybox:one`,
    ]),
    /unauthorized|authentication required/,
  );
});

for (const compression of ['gzip', 'zstd', 'none'] as const) {
  test(`a pull of ${compression} layers unpacks them once and names the image`, async () => {
    const layout = join(directory, `layout-${compression}`);
    const made = await writeOciLayout(layout, {
      tag: 'one',
      compression,
      layers: [await busyboxLayer(), await tarOf([{ name: 'made-by', data: Buffer.from(compression) }])],
      config: { Env: ['A=b'], Cmd: ['sh'], User: 'nobody', ExposedPorts: { '80/tcp': {} } },
    });
    await push(`${layout}:one`, `app-${compression}:one`);
    await withImages(async (images) => {
      const progress: PullProgress[] = [];
      const image = await images.pull(`${host}/app-${compression}:one`, { onProgress: (step) => progress.push(step) });
      assert.equal(image.digest, made.manifestDigest);
      assert.equal(image.id, made.configDigest);
      assert.deepEqual(image.references, [`${host}/app-${compression}:one`]);
      assert.deepEqual(image.config.cmd, ['sh']);
      assert.equal(image.config.user, 'nobody');
      assert.deepEqual(image.config.exposedPorts, ['80/tcp']);
      assert.ok(image.sizeBytes > 500_000);
      assert.equal(progress.filter(({ state }) => state === 'done').length, 2);
      const [top = '', bottom = ''] = await images.layerDirectories(image);
      assert.equal(await readFile(join(top, 'made-by'), 'utf8'), compression);
      assert.equal((await stat(join(bottom, 'bin/busybox'))).mode & 0o7777, 0o755);
      assert.equal(images.get(image.id.slice('sha256:'.length, 'sha256:'.length + 12)), image);
      assert.equal(images.get(`${host}/app-${compression}@${made.manifestDigest}`), image);
    });
  });
}

test('what was pulled is there after a new start, and a missing layer is unpacked again', async () => {
  await withImages(async (images, dataDirectory) => {
    const image = await images.pull(`${host}/library/busybox:one`);
    await images.tag(image.id, 'mine:two');
    const [top = ''] = await images.layerDirectories(image);
    await rm(join(top, '..'), { recursive: true });
    const again = await openImages({ dataDirectory });
    const found = again.get('mine:two');
    assert.ok(found);
    assert.deepEqual(found.references.sort(), [`${host}/library/busybox:one`, 'mine:two']);
    assert.equal(await readFile(join((await again.layerDirectories(found))[0] ?? '', 'hello'), 'utf8'), 'hi');
    await again.close();
  });
});

test('pulls from the own registry copy nothing', async () => {
  const images = await openImages({ dataDirectory: join(directory, 'own') });
  const own = await startRegistry({
    content: images.content,
    listen: { host: '127.0.0.1', port: 0 },
    tls: await certificate(),
    authorize: () => true,
  });
  const name = `127.0.0.1:${own.port}/app:one`;
  await run('skopeo', [
    'copy',
    '--quiet',
    '--preserve-digests',
    '--dest-tls-verify=false',
    `oci:${join(directory, 'busybox')}:one`,
    `docker://${name}`,
  ]);
  images.serveLocally(`127.0.0.1:${own.port}`, ({ username }) => username === 'me');
  await own.close();
  await assert.rejects(images.pull(name), { code: 'unauthorized' });
  const image = await images.pull(name, { credentials: { username: 'me', password: '' } });
  assert.equal((await images.layerDirectories(image)).length, 2);
  await assert.rejects(
    images.pull(`127.0.0.1:${own.port}/app:two`, { credentials: { username: 'me', password: '' } }),
    { code: 'not-found' },
  );
  await images.close();
});

async function certificate(): Promise<{ cert: string; key: string }> {
  const authority = await createAuthority({ commonName: 'test', days: 1 });
  const pair = await issueCertificate(authority, {
    commonName: 'registry',
    ips: ['127.0.0.1'],
    usages: ['server'],
    days: 1,
  });
  return { cert: pair.certificate, key: pair.key };
}

test('a pull that cannot work says why', async () => {
  await withImages(async (images) => {
    await assert.rejects(images.pull(`${host}/library/busybox:none`), { code: 'not-found' });
    await assert.rejects(images.pull('busybox'), { code: 'not-found', message: /names no registry/ });
    await assert.rejects(
      images.pull(`${host}/library/busybox:one`, { credentials: { username: 'sampan', password: 'wrong' } }),
      { code: 'unauthorized' },
    );
    await assert.rejects(images.pull(`${host}/library/busybox:one`, { ca: 'nonsense' }), { code: 'unavailable' });
    await assert.rejects(images.pull('127.0.0.1:1/library/busybox:one', {}), { code: 'unavailable' });
    const stopped = AbortSignal.abort(new Error('enough'));
    await assert.rejects(images.pull(`${host}/library/busybox:one`, { signal: stopped }), /enough/);
    assert.deepEqual(images.list(), []);
  });
});

test('names: tag, move, remove, and what a container uses stays', async () => {
  const layout = join(directory, 'second');
  await writeOciLayout(layout, { tag: 'one', layers: [await tarOf([{ name: 'other', data: Buffer.from('x') }])] });
  await push(`${layout}:one`, 'second:one');
  const used = new Set<string>();
  const images = await openImages({
    dataDirectory: join(directory, 'names'),
    registries: { [host]: { ...CREDENTIALS, ca } },
    inUse: () => used,
  });
  const first = await images.pull(`${host}/library/busybox:one`);
  const second = await images.pull(`${host}/second:one`);
  await images.tag(first.id, 'app');
  used.add(first.id);
  await images.remove(`${host}/library/busybox:one`);
  await assert.rejects(images.remove('app'), { code: 'conflict' });
  await images.tag(second.id, 'app:latest');
  assert.deepEqual(first.references, []);
  assert.equal(images.get(first.id), first);
  await images.collect({ graceMilliseconds: -1000 });
  assert.equal((await images.layerDirectories(first)).length, 2);
  used.clear();
  const freed = await images.collect({ graceMilliseconds: -1000 });
  assert.equal(freed.blobs, 4);
  assert.equal(images.get(first.id), undefined);
  assert.equal((await images.layerDirectories(second)).length, 1);
  await images.remove('app');
  await images.remove('app');
  await images.close();
});

test("an image in Docker's format is pulled too", async () => {
  await push(`${join(directory, 'busybox')}:one`, 'library/busybox:docker', [
    '--format',
    'v2s2',
    '--preserve-digests=false',
  ]);
  await withImages(async (images) => {
    const image = await images.pull(`${host}/library/busybox:docker`);
    assert.equal((await images.layerDirectories(image)).length, 2);
    const manifest = JSON.parse((await images.content.readAll(image.digest)).toString()) as { mediaType: string };
    assert.equal(manifest.mediaType, 'application/vnd.docker.distribution.manifest.v2+json');
  });
});

test('kill -9 on the way of a pull leaves no half of an image, and the next pull works', async () => {
  const dataDirectory = await mkdtemp(join(directory, 'killed-'));
  const images = await openImages({ dataDirectory });
  const big = await tarOf(
    Array.from({ length: 300 }, (_, index) => ({ name: `file-${index}`, data: Buffer.alloc(100_000, index) })),
  );
  const { content } = images;
  const config = { os: 'linux', rootfs: { diff_ids: [digestOf(big)] } };
  const parts = await Promise.all([Buffer.from(JSON.stringify(config)), big].map((bytes) => content.write(bytes, {})));
  const [first, second] = parts.map(({ digest, sizeBytes }) => ({ mediaType: 'x/y', digest, size: sizeBytes }));
  const { digest } = await content.write(
    Buffer.from(JSON.stringify({ schemaVersion: 2, config: first, layers: [second] })),
    {},
  );
  await content.setName('big', 'one', digest);
  await images.close();
  const reference = 'own.invalid/big:one';
  for (let round = 0; round < 3; round += 1) {
    const puller = spawn(
      process.execPath,
      [join(import.meta.dirname, 'testdata/puller.ts'), dataDirectory, reference],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const ended = once(puller, 'close');
    for await (const line of createInterface(puller.stdout)) {
      assert.notEqual(line, 'pulled');
      if (line !== 'unpacking') continue;
      const layers = join(dataDirectory, 'engine/content/layers');
      // Somewhere in the middle of the unpacking, later in every round.
      const watcher = watch(layers, { recursive: true });
      for (let seen = 0; seen <= round * 40; seen += 1) await once(watcher, 'change');
      watcher.close();
      puller.kill('SIGKILL');
      break;
    }
    await ended;
    const again = await openImages({ dataDirectory });
    assert.deepEqual(again.list(), []);
    assert.deepEqual(await readdir(join(dataDirectory, 'engine/content/layers')), []);
    await again.close();
  }
  const last = await openImages({ dataDirectory });
  last.serveLocally('own.invalid');
  const [layer = ''] = await last.layerDirectories(await last.pull(reference));
  assert.equal((await readdir(layer)).length, 300);
  await last.close();
});
