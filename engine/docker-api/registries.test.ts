/** The docker client moves images between this engine, Debian's docker-registry (a password) and our registry (tokens). */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { type OciClients, openOciClients } from '#testing/oci-clients.ts';
import { busyboxLayer, tarOf, writeOciLayout } from '#testing/oci-layout.ts';
import { type PeerRegistry, startPeerRegistry } from '#testing/peer-registry.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';

let docker: DockerHost;
let clients: OciClients;
let ours: RegistryHost;
let peer: PeerRegistry;
const registries: Record<string, { ca: string }> = {};
const asked: string[] = [];

describe('images and registries', { ...withDocker, timeout: 200_000 }, () => {
  before(async () => {
    clients = await openOciClients();
    ours = await startRegistryHost({
      user: 'ann:secret',
      authorize: ({ username, password, repository, action }) => {
        if (username === undefined) asked.push(`nobody ${action} ${repository ?? ''}`);
        if (action === 'pull' && repository?.startsWith('public/') === true) return true;
        return username === 'ann' && password === 'secret' && repository?.startsWith('private/') !== true;
      },
    });
    peer = await startPeerRegistry({ tls: ours.tls });
    registries[ours.host] = { ca: ours.ca };
    registries[peer.host] = { ca: ours.ca };
    docker = await openDockerHost({ registries });
    mkdirSync(docker.environment['DOCKER_CONFIG'] ?? '', { recursive: true });
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
    await ours[Symbol.asyncDispose]();
    await clients[Symbol.asyncDispose]();
  });

  test('docker login: a right password is kept, a wrong one refused', async () => {
    for (const { host } of [ours, peer]) {
      const wrong = await docker.docker(['login', '-u', 'ann', '-p', 'wrong', host]);
      assert.match(wrong.stderr, /unauthorized/);
      assert.equal(wrong.code, 1);
      assert.match(await docker.ok('login', '-u', 'ann', '-p', 'secret', host), /Login Succeeded/);
    }
  });

  for (const which of ['ours', 'peer'] as const) {
    test(`push, mount from another repository, pull by tag, by digest and all tags: ${which}`, async () => {
      const { host } = which === 'ours' ? ours : peer;
      const [one, two] = [`${host}/team/one`, `${host}/team/two`];
      await docker.ok('tag', docker.host.image, `${one}:a`);
      const pushed = await docker.ok('push', `${one}:a`);
      assert.match(
        pushed,
        /The push refers to repository \[.*\/team\/one\][^]*: Pushed[^]*a: digest: sha256:[0-9a-f]{64} size: \d+/,
      );
      const digest = /digest: (sha256:[0-9a-f]{64})/.exec(pushed)?.[1] ?? '';
      assert.match(await docker.ok('push', `${one}:a`), /Layer already exists/);
      await docker.ok('tag', `${one}:a`, `${two}:b`);
      assert.match(await docker.ok('push', `${two}:b`), /Mounted from team\/one/);
      await docker.ok('tag', `${one}:a`, `${one}:b`);
      assert.match(await docker.ok('push', '-a', one), /b: digest/);
      await docker.ok('rmi', `${one}:a`, `${one}:b`, `${two}:b`, docker.host.image);
      const { content, images } = docker.host.engine;
      await content.setName('busybox', 'latest', undefined);
      for (const { digest: other } of images.list()) await images.remove(other);
      await images.collect({ graceMilliseconds: -60_000, untaggedGraceMilliseconds: -60_000 });
      assert.deepEqual(await Array.fromAsync(content.blobs()), []);

      const pulled = await docker.ok('pull', `${one}:a`);
      assert.match(pulled, new RegExp(`^a: Pulling from ${one}\n[0-9a-f]{12}: Pulling fs layer`));
      assert.match(
        pulled,
        new RegExp(`: Pull complete\nDigest: ${digest}\nStatus: Downloaded newer image for ${one}:a\n`),
      );
      assert.match(await docker.ok('pull', `${one}@${digest}`), new RegExp(`Digest: ${digest}\n`));
      assert.match(await docker.ok('images', '--digests', one), new RegExp(`a +${digest}`));
      const all = await docker.ok('pull', '-a', one);
      assert.match(all, /^a: Pulling from[^]*\nb: Pulling from/);
      assert.equal(await docker.ok('images', '-q', `${one}:b`), `${await docker.ok('images', '-q', `${one}:a`)}`);
      assert.equal(await docker.ok('run', '--rm', `${two}:b`, 'echo', 'runs'), 'runs\n');
      await docker.ok('tag', `${one}:a`, docker.host.image);
    });
  }

  test('tokens: nobody reads what is public, and is told so for what is not', async () => {
    const name = `${ours.host}/public/box:1`;
    await docker.ok('tag', docker.host.image, name);
    await docker.ok('push', name);
    await docker.ok('logout', ours.host);
    await docker.ok('pull', name);
    assert.ok(asked.some((line) => line === 'nobody pull public/box'));
    const refused = await docker.docker(['pull', `${ours.host}/team/one:a`]);
    assert.match(
      refused.stderr,
      /pull access denied for .*\/team\/one, repository does not exist or may require 'docker login'/,
    );
    const push = await docker.docker(['push', name]);
    assert.match(push.stderr, /check user name and password/);
    await docker.ok('login', '-u', 'ann', '-p', 'secret', ours.host);
  });

  test('skopeo and podman come in by tokens too', async () => {
    const flags = ['--cert-dir', ours.certificates];
    await clients.skopeo('login', ...flags, '-u', 'ann', '-p', 'secret', ours.host);
    assert.match(await clients.skopeo('list-tags', ...flags, `docker://${ours.host}/team/one`), /"a"/);
    await clients.podman('pull', '--quiet', ...flags, `${ours.host}/team/one:a`);
    await assert.rejects(
      clients.skopeo('list-tags', ...flags, `docker://${ours.host}/private/x`),
      /denied|unauthorized|403/i,
    );
    await clients.skopeo(
      'copy',
      '--quiet',
      '--src-cert-dir',
      ours.certificates,
      '--dest-cert-dir',
      ours.certificates,
      `docker://${ours.host}/team/one:a`,
      `docker://${ours.host}/team/three:c`,
    );
    await clients.skopeo('delete', ...flags, `docker://${ours.host}/team/three:c`);
    await assert.rejects(clients.skopeo('inspect', ...flags, `docker://${ours.host}/team/three:c`), /manifest unknown/);
  });

  test('a platform is chosen, and one that is not there is refused', async () => {
    const layout = join(clients.directory, 'platforms');
    const parts = [];
    for (const [tag, architecture] of [
      ['x', 'amd64'],
      ['y', 'arm64'],
    ] as const) {
      const layers =
        tag === 'x' ? [await busyboxLayer()] : [await tarOf([{ name: 'only-arm', data: Buffer.from('arm') }])];
      const { manifestDigest } = await writeOciLayout(layout, { tag, layers, architecture, config: { Cmd: ['sh'] } });
      await clients.skopeo(
        'copy',
        '--quiet',
        '--dest-cert-dir',
        ours.certificates,
        `oci:${layout}:${tag}`,
        `docker://${ours.host}/team/multi:${tag}`,
      );
      const { body } = await ours.call('GET', `/v2/team/multi/manifests/${manifestDigest}`);
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      parts.push({ mediaType, digest: manifestDigest, size: body.length, platform: { os: 'linux', architecture } });
    }
    const index = { mediaType: 'application/vnd.oci.image.index.v1+json', manifests: parts };
    assert.equal((await ours.pushManifest('team/multi', 'latest', index)).status, 201);
    const name = `${ours.host}/team/multi:latest`;
    await docker.ok('pull', '--platform', 'linux/arm64', name);
    assert.equal(await docker.ok('inspect', '-f', '{{.Os}}/{{.Architecture}}', name), 'linux/arm64\n');
    assert.match(
      (await docker.docker(['pull', '--platform', 'linux/s390x', name])).stderr,
      /no manifest for linux\/s390x/,
    );
    assert.match(
      (await docker.docker(['pull', '--platform', 'windows/amd64', name])).stderr,
      /operating system is not supported/,
    );
    assert.match((await docker.docker(['pull', '--platform', 'a/b/c/d', name])).stderr, /invalid platform/);
    await docker.ok('pull', '--platform', 'linux/amd64', name);
    assert.equal(await docker.ok('inspect', '-f', '{{.Architecture}}', name), 'amd64\n');
    const other = await docker.docker(['create', '--pull', 'never', '--platform', 'linux/arm64', name]);
    assert.match(
      other.stderr,
      /image with reference .*\/team\/multi:latest was found but does not match the specified platform: wanted linux\/arm64, actual: linux\/amd64/,
    );
  });
});
