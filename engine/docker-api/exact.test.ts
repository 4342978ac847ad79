/**
 * A root file system with everything that a layer can hold goes through every client and every form of an image, and is the
 * same afterwards: the digests where the form keeps them, and every name with all that can be told of it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '#lib/ports.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { writeExactImage } from '#testing/exact-image.ts';
import { type OciClients, openOciClients } from '#testing/oci-clients.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';
import { listTree } from '#testing/tree-listing.ts';

let docker: DockerHost;
let clients: OciClients;
let registry: RegistryHost;
let place = '';
let made: Awaited<ReturnType<typeof writeExactImage>>;
/** As umoci unpacks the image that was made, in a copy of its own. */
let expected: string[] = [];

const NAME = 'exact/image:1';
/** umoci and containers/storage fill holes, which changes no byte. */
const withoutHoles = (lines: readonly string[]): string[] =>
  lines.map((line) => line.replace(/ (holes|full)( |$)/, '$2'));

/** It has no times before 1970. */
const asContainersStorage = (line: string): string => line.replace('mtime=-86400000000000', 'mtime=0');

describe('a root file system comes through exactly', { ...withDocker, timeout: 200_000 }, () => {
  before(async () => {
    clients = await openOciClients();
    place = clients.directory;
    const port = await freePort();
    const host = `127.0.0.1:${port}`;
    docker = await openDockerHost();
    docker.host.engine.images.serveLocally(host);
    registry = await startRegistryHost({ port, user: 'ann:secret', content: docker.host.engine.content });
    made = await writeExactImage(join(place, 'made'), { tag: '1' });
    expected = await unpacked('made:1');
    assert.ok(expected.length > 50);
    await clients.skopeo(
      'copy',
      '--quiet',
      ...certificates('dest'),
      `oci:${join(place, 'made')}:1`,
      remote('exact/image:1'),
    );
    await docker.ok('pull', `${host}/${NAME}`);
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await docker[Symbol.asyncDispose]();
    await clients[Symbol.asyncDispose]();
  });

  const certificates = (side: 'src' | 'dest'): string[] => [`--${side}-cert-dir`, registry.certificates];
  const remote = (name: string): string => `docker://${registry.host}/${name}`;

  async function unpacked(image: string): Promise<string[]> {
    const bundle = join(place, 'bundle');
    await clients.umoci('unpack', '--image', join(place, image), bundle);
    try {
      return withoutHoles(listTree(join(bundle, 'rootfs')));
    } finally {
      rmSync(bundle, { recursive: true });
    }
  }

  async function ours(reference: string): Promise<string[]> {
    const { images } = docker.host.engine;
    const image = images.get(reference);
    assert.ok(image, reference);
    const merged = join(place, 'merged');
    mkdirSync(merged, { recursive: true });
    const layers = await images.layerDirectories(image);
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${layers.join(':')}`, merged]);
    try {
      return listTree(merged);
    } finally {
      execFileSync('umount', [merged]);
    }
  }

  const idOf = (reference: string): string | undefined => docker.host.engine.images.get(reference)?.id;

  test('pulled: the same names with the same facts, holes too', async () => {
    const image = docker.host.engine.images.get(`${registry.host}/${NAME}`);
    assert.deepEqual(
      [image?.digest, image?.id, image?.config.layers],
      [made.manifestDigest, made.configDigest, made.diffIds],
    );
    const lines = await ours(`${registry.host}/${NAME}`);
    assert.deepEqual(withoutHoles(lines), expected);
    assert.ok(lines.some((line) => line.startsWith('/sparse ') && line.endsWith(' holes')));
  });

  test('saved: skopeo makes every other form of it, umoci unpacks each, load takes each back', async () => {
    const saved = join(place, 'saved.tar');
    await docker.ok('tag', `${registry.host}/${NAME}`, 'exact:1');
    await docker.ok('save', '-o', saved, 'exact:1');
    const copy = async (from: string, to: string, ...flags: string[]): Promise<void> =>
      void (await clients.skopeo('copy', '--quiet', ...flags, from, to));
    const path = (name: string): string => join(place, name);
    // As an OCI layout nothing is changed at all.
    await copy(`oci-archive:${saved}`, `oci:${path('layout')}:1`);
    const digestOf = async (image: string, ...flags: string[]): Promise<string> =>
      (await clients.skopeo('inspect', ...flags, '--format', '{{.Digest}}', image)).trim();
    assert.equal(await digestOf(`oci:${path('layout')}:1`), made.manifestDigest);
    // Docker's archive knows no manifests: the layers are the same files, the configuration is the same document.
    await copy(`docker-archive:${saved}`, `dir:${path('dir')}`);
    await copy(`dir:${path('dir')}`, remote('exact/again:1'), ...certificates('dest'));
    await copy(remote('exact/again:1'), `docker-archive:${path('again.tar')}:exact:again`, ...certificates('src'));
    await copy(`docker-archive:${path('again.tar')}`, `oci:${path('again')}:1`);
    for (const layout of ['layout:1', 'again:1']) assert.deepEqual(await unpacked(layout), expected, layout);
    await docker.ok('rmi', 'exact:1', `${registry.host}/${NAME}`);
    for (const [archive, name] of [
      ['saved.tar', 'exact:1'],
      ['again.tar', 'exact:again'],
    ] as const) {
      assert.equal(await docker.ok('load', '-i', path(archive)), `Loaded image: ${name}\n`);
      assert.equal(idOf(`docker.io/library/${name}`), made.configDigest);
      assert.deepEqual(withoutHoles(await ours(`docker.io/library/${name}`)), expected, archive);
    }
    assert.equal(docker.host.engine.images.get('docker.io/library/exact:1')?.digest, made.manifestDigest);
  });

  test('podman and buildah take it from the registry, and bring back what they made', async () => {
    const flags = ['--quiet', '--cert-dir', registry.certificates, '--creds', 'ann:secret'];
    const id = (await clients.podman('pull', ...flags, `${registry.host}/${NAME}`)).trim();
    assert.equal(`sha256:${id}`, made.configDigest);
    const mounted = (await clients.podman('image', 'mount', id)).trim();
    assert.deepEqual(withoutHoles(listTree(mounted)), expected.map(asContainersStorage));
    await clients.podman('image', 'unmount', id);
    await clients.podman('push', ...flags, id, `${registry.host}/exact/podman:1`);
    await docker.ok('pull', `${registry.host}/exact/podman:1`);
    assert.equal(idOf(`${registry.host}/exact/podman:1`), made.configDigest);

    const working = (
      await clients.buildah('from', '--cert-dir', registry.certificates, `${registry.host}/${NAME}`)
    ).trim();
    await clients.buildah('config', '--label', 'built=yes', working);
    await clients.buildah('commit', ...flags, working, remote('exact/buildah:1'));
    await clients.buildah('rm', working);
    await docker.ok('pull', `${registry.host}/exact/buildah:1`);
    const image = docker.host.engine.images.get(`${registry.host}/exact/buildah:1`);
    assert.equal(image?.config.labels?.['built'], 'yes');
    assert.deepEqual(image.config.layers.slice(0, 3), made.diffIds);
    const same = (lines: readonly string[]): string[] =>
      withoutHoles(lines).filter((line) => !/^\/(run|run\/.*)? /.test(line));
    assert.deepEqual(same(await ours(`${registry.host}/exact/buildah:1`)), same(expected));
  });
});
