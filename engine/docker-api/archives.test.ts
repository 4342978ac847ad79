/** What `docker load`, `import` and `rmi` take and refuse; the refusals are in a golden file. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { text as textOf } from 'node:stream/consumers';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { matchesGolden } from '#testing/golden.ts';
import { busyboxLayer, tarOf } from '#testing/oci-layout.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';

let docker: DockerHost;
let registry: RegistryHost;
let directory = '';
let box: Buffer;
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;

const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

async function archive(name: string, files: Record<string, Buffer | { link: string }>): Promise<string> {
  const entries = Object.entries(files).map(([path, content]) =>
    Buffer.isBuffer(content)
      ? { name: path, data: content }
      : { name: path, type: 'symlink' as const, linkName: content.link },
  );
  const path = join(directory, name);
  writeFileSync(path, await tarOf(entries));
  return path;
}

function config(layers: Buffer[], more: Record<string, unknown> = {}): Buffer {
  return json({
    architecture,
    os: 'linux',
    config: { Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
    ...more,
  });
}

describe('archives of images', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'archives-'));
    box = await busyboxLayer();
    registry = await startRegistryHost();
    docker = await openDockerHost({ registries: { [registry.host]: { ca: registry.ca } } });
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    await registry[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test("Docker's list with layers that are links, two images, and quiet", async () => {
    const more = await tarOf([{ name: 'more', data: Buffer.from('more') }]);
    const path = await archive('list.tar', {
      'a.json': config([box]),
      'a/layer.tar': box,
      'b.json': config([box, more]),
      'b/layer.tar': { link: '../a/layer.tar' },
      'c/layer.tar': gzipSync(more),
      'manifest.json': json([
        { Config: 'a.json', RepoTags: ['list:a', 'list:also'], Layers: ['a/layer.tar'] },
        { Config: 'b.json', RepoTags: null, Layers: ['b/layer.tar', 'c/layer.tar'] },
      ]),
    });
    const told = await docker.ok('load', '-q', '-i', path);
    assert.match(told, /^Loaded image: list:a\nLoaded image: list:also\nLoaded image ID: sha256:[0-9a-f]{64}\n$/);
    assert.equal(await docker.ok('run', '--rm', 'list:also', 'echo', 'runs'), 'runs\n');
    const id = /sha256:[0-9a-f]{64}/.exec(told)?.[0] ?? '';
    assert.equal(await docker.ok('run', '--rm', id, 'cat', '/more'), 'more');
    const several = join(directory, 'several.tar');
    await docker.ok('save', '-o', several, 'list:a', id);
    await docker.ok('rmi', '-f', 'list:a', 'list:also', id);
    assert.match(await docker.ok('load', '-i', several), /Loaded image: list:a\n[^]*Loaded image ID: sha256/);
  });

  test('the chain of layers that Docker wrote before 1.10', async () => {
    const [bottom, top] = ['1'.repeat(64), '2'.repeat(64)];
    const upper = await tarOf([{ name: 'upper', data: Buffer.from('up') }]);
    const path = await archive('chain.tar', {
      repositories: json({ 'chain/old': { v1: top } }),
      [`${bottom}/VERSION`]: Buffer.from('1.0'),
      [`${bottom}/json`]: json({
        id: bottom,
        created: '2015-01-01T00:00:00Z',
        architecture,
        os: 'linux',
        container_config: { Cmd: ['/bin/sh', '-c', '#(nop) ADD'] },
      }),
      [`${bottom}/layer.tar`]: box,
      [`${top}/json`]: json({
        id: top,
        parent: bottom,
        created: '2015-01-02T00:00:00Z',
        architecture,
        os: 'linux',
        config: { Cmd: ['cat', '/upper'], Env: ['A=b'] },
      }),
      [`${top}/layer.tar`]: upper,
    });
    assert.equal(await docker.ok('load', '-q', '-i', path), 'Loaded image: chain/old:v1\n');
    assert.equal(await docker.ok('run', '--rm', 'chain/old:v1'), 'up');
    assert.match(await docker.ok('history', '--no-trunc', 'chain/old:v1'), /#\(nop\) ADD/);
  });

  test('an OCI layout with an index of which one image is here', async () => {
    const layer = gzipSync(box);
    const document = config([box]);
    const part = (mediaType: string, bytes: Buffer): Record<string, unknown> => ({
      mediaType: `application/vnd.oci.image.${mediaType}+json`,
      digest: digestOf(bytes),
      size: bytes.length,
    });
    const manifest = json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: part('config.v1', document),
      layers: [
        { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digestOf(layer), size: layer.length },
      ],
    });
    const index = json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        { ...part('manifest.v1', Buffer.from('elsewhere')), platform: { os: 'linux', architecture: 's390x' } },
        { ...part('manifest.v1', manifest), platform: { os: 'linux', architecture } },
      ],
    });
    const blobs = Object.fromEntries(
      [document, layer, manifest, index].map((bytes) => [`./blobs/${digestOf(bytes).replace(':', '/')}`, bytes]),
    );
    const annotations = { 'org.opencontainers.image.ref.name': 'layout/index:1' };
    const path = await archive('layout.tar', {
      ...blobs,
      'oci-layout': json({ imageLayoutVersion: '1.0.0' }),
      'index.json': json({ schemaVersion: 2, manifests: [{ ...part('index.v1', index), annotations }] }),
    });
    assert.equal(await docker.ok('load', '-q', '-i', path), 'Loaded image: layout/index:1\n');
    assert.equal(await docker.ok('run', '--rm', 'layout/index:1', 'echo', 'runs'), 'runs\n');
  });

  test('import with every instruction that changes a configuration', async () => {
    writeFileSync(join(directory, 'root.tar.gz'), gzipSync(box));
    const changes = [
      'CMD echo hi',
      'ENTRYPOINT ["/bin/sh","-c"]',
      'ENV A=b C="d e"',
      'ENV F g h',
      'LABEL x=y "z z"=w',
      'EXPOSE 80 53/udp',
      'VOLUME /data',
      'USER 7:8',
      'WORKDIR /tmp',
      'STOPSIGNAL SIGINT',
      'ONBUILD RUN true',
      'HEALTHCHECK --interval=2s --retries=4 CMD test -e /x',
    ];
    await docker.ok(
      'import',
      '-m',
      'from a test',
      ...changes.flatMap((change) => ['-c', change]),
      join(directory, 'root.tar.gz'),
      'imported:1',
    );
    const { Config: made } = JSON.parse(await docker.ok('inspect', '-f', '{{json .}}', 'imported:1')) as {
      Config: Record<string, unknown>;
    };
    assert.deepEqual(
      [
        made['Cmd'],
        made['Entrypoint'],
        made['Env'],
        made['Labels'],
        made['ExposedPorts'],
        made['Volumes'],
        made['User'],
        made['WorkingDir'],
        made['StopSignal'],
        made['Healthcheck'],
      ],
      [
        ['/bin/sh', '-c', 'echo hi'],
        ['/bin/sh', '-c'],
        ['A=b', 'C=d e', 'F=g h'],
        { x: 'y', 'z z': 'w' },
        { '80/tcp': {}, '53/udp': {} },
        { '/data': {} },
        '7:8',
        '/tmp',
        'SIGINT',
        { Test: ['CMD-SHELL', 'test -e /x'], Interval: 2_000_000_000, Retries: 4 },
      ],
    );
  });

  test('import from an address, with and without its scheme; what is not there is said', async () => {
    const server = createServer((incoming, response) => {
      const isThere = incoming.url === '/root.tar.gz';
      response.writeHead(isThere ? 200 : 404).end(isThere ? gzipSync(box) : undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const told = await docker.ok('import', `http://${at}/root.tar.gz`, 'fetched:1');
      assert.match(told, new RegExp(`^Downloading from http://${at}/root.tar.gz\nsha256:[0-9a-f]{64}\n$`));
      assert.equal(await docker.ok('run', '--rm', 'fetched:1', 'echo', 'runs'), 'runs\n');
      const missing = await docker.docker(['import', `http://${at}/none`, 'fetched:2']);
      assert.match(missing.stderr, /cannot fetch http:.*none: it answers 404/);
      // The client itself takes a word without a scheme for a file, unless it looks like an address.
      const plain = await call(
        docker,
        `/images/create?fromSrc=${encodeURIComponent(`${at}/root.tar.gz`)}&repo=fetched:3`,
      );
      assert.match(plain, /sha256:[0-9a-f]{64}/);
    } finally {
      server.close();
    }
    await docker.ok('rmi', 'fetched:1', 'fetched:3');
  });

  test('rmi: several names, a stopped and a running container, and force', async () => {
    const id = (await docker.ok('inspect', '-f', '{{.Id}}', docker.host.image)).trim();
    const short = id.slice(7, 19);
    await docker.ok('tag', id, 'names:1');
    const conflict = async (...words: string[]): Promise<string> => (await docker.docker(['rmi', ...words])).stderr;
    assert.match(
      await conflict(short),
      new RegExp(
        `conflict: unable to delete ${short} \\(must be forced\\) - image is referenced in multiple repositories`,
      ),
    );
    await docker.ok('rmi', docker.host.image);
    const container = (await docker.ok('run', '-d', '--name', 'user', 'names:1', 'sleep', '1000')).trim().slice(0, 12);
    assert.match(
      await conflict('names:1'),
      new RegExp(
        `unable to remove repository reference "names:1" \\(must force\\) - container ${container} is using its referenced image ${short}`,
      ),
    );
    assert.match(
      await conflict('-f', short),
      new RegExp(
        `unable to delete ${short} \\(cannot be forced\\) - image is being used by running container ${container}`,
      ),
    );
    await docker.ok('rmi', '-f', 'names:1');
    assert.match(await docker.ok('images', '-f', 'dangling=true', '-q'), new RegExp(short));
    await docker.ok('kill', 'user');
    await docker.ok('start', 'user');
    await docker.ok('rm', '-f', 'user');
    await docker.ok('tag', id, docker.host.image);
  });

  test('ls: every filter', async () => {
    const list = async (...filters: string[]): Promise<string[]> =>
      (await docker.ok('images', '--format', '{{.Repository}}:{{.Tag}}', ...filters.flatMap((one) => ['-f', one])))
        .trim()
        .split('\n')
        .filter((line) => line !== '')
        .sort();
    await docker.ok('import', '-c', 'LABEL kind=new', join(directory, 'root.tar.gz'), 'filter/new:1');
    assert.deepEqual(await list('label=kind=new'), ['filter/new:1']);
    assert.deepEqual(await list('label=kind', 'reference=filter/*'), ['filter/new:1']);
    assert.deepEqual(await list('since=imported:1'), ['filter/new:1']);
    assert.ok((await list('before=filter/new:1')).includes('imported:1'));
    assert.deepEqual(await list('until=2016-01-01T00:00:00Z', 'reference=chain/*:v*'), ['chain/old:v1']);
    assert.deepEqual(await list('reference=nothing*'), []);
  });

  test('a pull from the own registry writes no byte of content', async () => {
    const { content, images } = docker.host.engine;
    const host = 'own.invalid:5000';
    images.serveLocally(host);
    const layer = await content.write(gzipSync(await tarOf([{ name: 'big', data: Buffer.alloc(3_000_000, 'z') }])), {});
    const diff = digestOf(await tarOf([{ name: 'big', data: Buffer.alloc(3_000_000, 'z') }]));
    const document = await content.write(
      json({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [diff] } }),
      {},
    );
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const manifest = await content.write(
      json({
        schemaVersion: 2,
        mediaType,
        config: {
          mediaType: 'application/vnd.oci.image.config.v1+json',
          digest: document.digest,
          size: document.sizeBytes,
        },
        layers: [
          { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: layer.digest, size: layer.sizeBytes },
        ],
      }),
      {},
    );
    await content.setName('team/local', '1', manifest.digest);
    const before = await Array.fromAsync(content.blobs(), ({ digest }) => {
      const { ino, size } = statSync(content.path(digest) ?? '', { bigint: true });
      return { digest, ino, size };
    });
    let uploads = 0;
    const start = content.startUpload.bind(content);
    content.startUpload = async (owner) => {
      uploads += 1;
      return await start(owner);
    };
    await docker.ok('pull', `${host}/team/local:1`);
    content.startUpload = start;
    const after = await Array.fromAsync(content.blobs(), ({ digest }) => {
      const { ino, size } = statSync(content.path(digest) ?? '', { bigint: true });
      return { digest, ino, size };
    });
    assert.deepEqual(after, before);
    assert.equal(uploads, 0);
  });

  test("what is wrong is refused in Docker's words, and leaves nothing", async () => {
    const { content } = docker.host.engine;
    await content.collect({ graceMilliseconds: -60_000 });
    const before = (await Array.fromAsync(content.blobs())).length;
    const lines: string[] = [];
    const none = `sha256:${'0'.repeat(64)}`;
    const said = async (title: string, ...words: string[]): Promise<void> => {
      const { stderr, code } = await docker.docker(words);
      lines.push(`# ${title}`, `docker ${words.join(' ')} -> ${code}`, stderr.trim(), '');
    };
    const push = async (
      tag: string,
      layer: Buffer,
      change: { diff?: string; size?: number; type?: string } = {},
    ): Promise<void> => {
      const blob = await registry.pushBlob('bad/image', layer);
      const document = await registry.pushBlob(
        'bad/image',
        json({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [change.diff ?? digestOf(layer)] } }),
      );
      const manifest = {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: document,
        layers: [
          {
            ...blob,
            size: change.size ?? blob.size,
            mediaType: change.type ?? 'application/vnd.oci.image.layer.v1.tar',
          },
        ],
      };
      const { digest } = await registry.content.write(json(manifest), {});
      await registry.content.setName(':manifests/bad/image', digest, digest);
      await registry.content.setName('bad/image', tag, digest);
    };
    const good = await tarOf([{ name: 'x', data: Buffer.alloc(5000, 'x') }]);
    await push('truncated', good.subarray(0, 2000));
    await push('long', good, { size: 100 });
    await push('short', good, { size: 1_000_000 });
    await push('another', good, { diff: none });
    await push('damaged', gzipSync(good).fill(0x55, 40, 60), { diff: digestOf(good) });
    await push('escape', await tarOf([{ name: '../../escape', data: Buffer.from('x') }]));
    await push('device', await tarOf([{ name: 'dir/.wh..', data: Buffer.from('') }]));
    await push('link', await tarOf([{ name: 'l', type: 'hard-link', linkName: '/etc/shadow' }]));
    await push('text', Buffer.from('no archive at all'));
    const bomb = gzipSync(Buffer.alloc(32 * 1024 * 1024));
    const bombs = Buffer.concat(Array.from({ length: 40 }, () => bomb));
    await push('bomb', bombs, { diff: none });
    const host = registry.host;
    for (const tag of [
      'none',
      'truncated',
      'long',
      'short',
      'another',
      'damaged',
      'escape',
      'device',
      'link',
      'text',
      'bomb',
    ])
      await said(`pull: ${tag}`, 'pull', '-q', `${host}/bad/image:${tag}`);
    await said('pull: unknown digest', 'pull', '-q', `${host}/bad/image@${none}`);
    await said('pull: unknown repository', 'pull', '-q', `${host}/no/where:1`);
    await said('pull: no registry there', 'pull', '-q', '127.0.0.1:1/x:1');
    await said('push: not here', 'push', `${host}/none:1`);
    await said('tag: not here', 'tag', 'none:1', 'other:1');
    await said('rmi: not here', 'rmi', 'none:1');
    await said('inspect: not here', 'image', 'inspect', 'none:1');
    await said('history: not here', 'history', 'none:1');
    await said('save: not here', 'save', '-o', join(directory, 'x'), 'none:1');
    await said('filter that is none', 'images', '-f', 'none=1');
    await said('time that is none', 'images', '-f', 'until=soon');
    for (const [name, files] of Object.entries<Record<string, Buffer>>({
      empty: {},
      'no-list': { 'manifest.json': json({}) },
      'no-json': { 'manifest.json': Buffer.from('{') },
      'missing-layer': { 'manifest.json': json([{ Config: 'c', RepoTags: [], Layers: ['l'] }]), c: config([]) },
      'wrong-count': { 'manifest.json': json([{ Config: 'c', RepoTags: ['x:1'], Layers: [] }]), c: config([box]) },
      'bad-name': { 'manifest.json': json([{ Config: 'c', RepoTags: ['Bad Name'], Layers: [] }]), c: config([]) },
      'bad-index': { 'index.json': json({ schemaVersion: 2, manifests: [{ digest: 'x' }] }) },
      'not-there': { 'index.json': json({ schemaVersion: 2, manifests: [{ mediaType: 'x', digest: none, size: 1 }] }) },
      loop: { repositories: json({ x: { a: 'i' } }), 'i/json': json({ parent: 'i' }), 'i/layer.tar': good },
    }))
      await said(`load: ${name}`, 'load', '-q', '-i', await archive(`bad-${name}.tar`, files));
    await said('import: change', 'import', '-c', 'RUN true', join(directory, 'root.tar.gz'));
    const text = lines
      .join('\n')
      .replaceAll(host, 'REGISTRY')
      .replaceAll(directory, 'DIRECTORY')
      .replaceAll(/process \d+/g, 'process N');
    matchesGolden(join(import.meta.dirname, 'testdata/image-errors.golden'), text);
    await content.collect({ graceMilliseconds: -60_000 });
    assert.equal((await Array.fromAsync(content.blobs())).length, before);
    assert.deepEqual(statSync(join(content.directory, 'uploads')).nlink, 2);
  });
});

async function call({ socketPath }: DockerHost, path: string): Promise<string> {
  const outgoing = request({ socketPath, path, method: 'POST' });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return await textOf(response);
}
