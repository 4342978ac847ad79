/** The docker client pulls through the node's cache of another registry, and from registries that speak plain HTTP. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { freePort } from '#lib/ports.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { type PeerRegistry, startPeerRegistry } from '#testing/peer-registry.ts';
import { type RegistryHost, startRegistryHost } from '#testing/registry-host.ts';

let docker: DockerHost;
let peer: PeerRegistry;
/** The node's own registry, on the engine's content and cache. */
let own: RegistryHost;
let plain: PeerRegistry;

describe('docker, mirrors and plain registries', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    // Its certificate serves the peer too, which must be known before the engine is opened.
    const certificates = await startRegistryHost();
    peer = await startPeerRegistry({ tls: certificates.tls });
    plain = await startPeerRegistry({});
    docker = await openDockerHost({
      registries: { [peer.host]: { ca: certificates.ca, username: 'ann', password: 'secret' } },
      mirrors: { lan: peer.host },
    });
    mkdirSync(docker.environment['DOCKER_CONFIG'] ?? '', { recursive: true });
    await certificates[Symbol.asyncDispose]();
    const { content, images } = docker.host.engine;
    own = await startRegistryHost({ content, cache: images.cache });
    images.serveLocally(own.host);
    await docker.ok('tag', docker.host.image, `${peer.host}/team/box:1`);
    await docker.ok('push', `${peer.host}/team/box:1`);
    await docker.ok('tag', docker.host.image, `${peer.host}/team/same:1`);
    await docker.ok('push', `${peer.host}/team/same:1`);
  });
  after(async () => {
    await own[Symbol.asyncDispose]();
    await docker[Symbol.asyncDispose]();
    await plain[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  async function forgetEverything(): Promise<void> {
    const { content, images } = docker.host.engine;
    await content.setName('busybox', 'latest', undefined);
    for (const { digest } of images.list()) await images.remove(digest);
    await images.collect({ graceMilliseconds: -60_000, untaggedGraceMilliseconds: -60_000 });
    assert.deepEqual(await Array.fromAsync(content.blobs()), []);
  }

  test('plain HTTP: login, push, push again, pull, all of them on this machine only', async () => {
    const name = `${plain.host}/team/plain:1`;
    await docker.ok('tag', docker.host.image, name);
    const nobody = await docker.docker(['push', name]);
    assert.match(nobody.stderr, /wants a user name and a password/);
    const wrong = await docker.docker(['login', '-u', 'ann', '-p', 'wrong', plain.host]);
    assert.match(wrong.stderr, /unauthorized/);
    assert.match(await docker.ok('login', '-u', 'ann', '-p', 'secret', plain.host), /Login Succeeded/);
    assert.match(await docker.ok('push', name), /1: digest: sha256:/);
    assert.match(await docker.ok('push', name), /Layer already exists/);
    await docker.ok('rmi', name);
    assert.match(await docker.ok('pull', name), /Downloaded newer image/);
    await docker.ok('rmi', name);
  });

  test('plain HTTP elsewhere is refused, and nothing is sent there', async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end();
    });
    // Of the bridge: an address of this machine, and not the loopback's.
    server.listen(0, docker.host.options.network.podCidr.replace('.0/24', '.1'));
    await once(server, 'listening');
    const { address, port } = server.address() as AddressInfo;
    const refused = await docker.docker(['pull', `${address}:${port}/team/box:1`]);
    assert.match(refused.stderr, /wrong version number|packet length too long/);
    assert.deepEqual(asked, []);
    server.close();
    const nobody = await docker.docker(['pull', `127.0.0.1:${await freePort()}/team/box:1`]);
    assert.match(nobody.stderr, /ECONNREFUSED/);
  });

  test('docker pulls through the cache, by the registry’s own name and by ours, also when it is down', async () => {
    await forgetEverything();
    const theirs = `${peer.host}/team/box:1`;
    const ours = `${own.host}/lan/team/box:1`;
    assert.match(await docker.ok('pull', theirs), /Downloaded newer image/);
    assert.equal(await docker.ok('run', '--rm', theirs, 'echo', 'runs'), 'runs\n');
    // Of another repository: its layer is here already, and is this one's all the same.
    await docker.ok('pull', `${peer.host}/team/same:1`);
    await docker.ok('rmi', theirs, `${peer.host}/team/same:1`);
    await peer[Symbol.asyncDispose]();
    assert.match(await docker.ok('pull', theirs), /Downloaded newer image/);
    assert.match(await docker.ok('pull', ours), /Downloaded newer image/);
    assert.equal(await docker.ok('run', '--rm', ours, 'echo', 'runs'), 'runs\n');
    const tags = await own.call('GET', '/v2/lan/team/box/tags/list');
    assert.deepEqual(JSON.parse(tags.body.toString()), { name: 'lan/team/box', tags: ['1'] });
    const { digest } = JSON.parse((await own.call('GET', '/v2/lan/team/same/manifests/1')).body.toString())
      .layers[0] as { digest: string };
    assert.equal((await own.call('GET', `/v2/lan/team/same/blobs/${digest}`)).status, 200);
    const missing = await docker.docker(['pull', `${own.host}/lan/team/other:1`]);
    assert.match(missing.stderr, /ECONNREFUSED/);
    await docker.ok('rmi', theirs, ours);
  });

  test('what was pulled through it goes as everything else', async () => {
    await forgetEverything();
    assert.deepEqual(
      docker.host.engine.content.scopes().filter((scope) => scope.includes('lan/')),
      [],
    );
  });
});
