/** Images by the real client: against the node's own registry, and against another one that wants a password. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createAuthority, issueCertificate } from '#lib/certificates.ts';
import { freePort } from '#lib/ports.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { openContentStore } from '../images/content.ts';
import { type Registry, startRegistry } from '../registry/server.ts';

let docker: DockerHost;
let directory = '';
let own: Registry;
let other: Registry;
let ownHost = '';
let otherHost = '';
let image = '';

describe('the docker client moves images', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'docker-images-'));
    const authority = await createAuthority({ commonName: 'test', days: 1 });
    const pair = await issueCertificate(authority, {
      commonName: 'r',
      ips: ['127.0.0.1'],
      usages: ['server'],
      days: 1,
    });
    const tls = { cert: pair.certificate, key: pair.key };
    other = await startRegistry({
      content: openContentStore(join(directory, 'other')),
      listen: { host: '127.0.0.1', port: 0 },
      tls,
      authorize: ({ username, password }) => username === 'ann' && password === 'secret',
    });
    otherHost = `127.0.0.1:${other.port}`;
    const port = await freePort();
    ownHost = `127.0.0.1:${port}`;
    const ca = authority.certificate;
    docker = await openDockerHost({ registries: { [otherHost]: { ca }, [ownHost]: { ca } } });
    docker.host.engine.images.serveLocally(ownHost);
    own = await startRegistry({
      content: docker.host.engine.content,
      listen: { host: '127.0.0.1', port },
      tls,
      authorize: () => true,
    });
    image = docker.host.image;
  });
  after(async () => {
    await Promise.all([own.close(), other.close()]);
    await docker[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test('tag, push to the own registry, rm, pull again: nothing is copied', async () => {
    const name = `${ownHost}/team/box:1`;
    await docker.ok('tag', image, name);
    assert.match(await docker.ok('push', name), /1: digest: sha256:[0-9a-f]{64} size: \d+/);
    assert.match(await docker.ok('rmi', name), /Untagged: /);
    const pulled = await docker.ok('pull', name);
    assert.match(pulled, /Already exists[^]*Digest: sha256:[0-9a-f]{64}\nStatus: Downloaded newer image for /);
    assert.match(await docker.ok('pull', name), /Image is up to date/);
    assert.equal(await docker.ok('run', '--rm', name, 'echo', 'runs'), 'runs\n');
  });

  test('push and pull with credentials', async () => {
    const name = `${otherHost}/team/box:2`;
    await docker.ok('tag', image, name);
    assert.match((await docker.docker(['push', name])).stderr, /wants a user name and a password|check user name/);
    const login = Buffer.from('ann:secret').toString('base64');
    const config = join(docker.environment['DOCKER_CONFIG'] ?? '', 'config.json');
    execFileSync('mkdir', ['-p', docker.environment['DOCKER_CONFIG'] ?? '']);
    writeFileSync(config, JSON.stringify({ auths: { [otherHost]: { auth: login } } }));
    assert.match(await docker.ok('push', name), /Pushed/);
    assert.match(await docker.ok('push', name), /Layer already exists/);
    await docker.ok('rmi', name);
    await docker.ok('pull', '--platform', process.arch === 'x64' ? 'linux/amd64' : 'linux/arm64', name);
    const missing = await docker.docker(['pull', `${otherHost}/team/box:none`]);
    assert.match(missing.stderr, /has no manifest|answers 404/);
  });

  test('save and load keep digests; skopeo reads what was saved', async () => {
    const archive = join(directory, 'saved.tar');
    await docker.ok('tag', image, 'plain:1');
    const digest = docker.host.engine.images.get(image)?.digest ?? '';
    await docker.ok('save', '-o', archive, 'plain:1');
    await docker.ok('rmi', 'plain:1');
    assert.equal(await docker.ok('load', '-i', archive), 'Loaded image: plain:1\n');
    assert.equal(docker.host.engine.images.get('docker.io/library/plain:1')?.digest, digest);
    if (spawnSync('skopeo', ['--version']).status !== 0) return;
    for (const transport of ['docker-archive', 'oci-archive']) {
      const told = execFileSync('skopeo', ['inspect', '--raw', '--config', `${transport}:${archive}`], {
        encoding: 'utf8',
      });
      assert.equal((JSON.parse(told) as { rootfs: { diff_ids: string[] } }).rootfs.diff_ids.length, 2);
    }
    const converted = join(directory, 'converted.tar');
    execFileSync('skopeo', [
      'copy',
      '--quiet',
      `docker-archive:${archive}`,
      `docker-archive:${converted}:docker.io/library/old:1`,
    ]);
    assert.match(await docker.ok('load', '-i', converted), /Loaded image: .*old:1/);
    assert.equal(await docker.ok('run', '--rm', 'old:1', 'echo', 'old'), 'old\n');
    execFileSync('gzip', ['-k', archive]);
    await docker.ok('load', '-i', `${archive}.gz`);
  });

  test('import makes an image of a file system', async () => {
    const root = join(directory, 'root.tar');
    execFileSync('tar', ['-cf', root, '-C', '/bin', '--transform=s,^,bin/,', '--dereference', 'busybox']);
    await docker.ok('import', '--change', 'CMD ["/bin/busybox","echo","imported"]', root, 'made:1');
    assert.equal(await docker.ok('run', '--rm', 'made:1'), 'imported\n');
    assert.match(await docker.ok('history', 'made:1'), /Imported from -/);
  });

  test('what is used is not removed; prune takes what has no name', async () => {
    await docker.ok('create', '--name', 'user', 'made:1');
    const refused = await docker.docker(['rmi', 'made:1']);
    assert.match(refused.stderr, /is using its referenced image/);
    await docker.ok('rm', 'user');
    const id = (await docker.ok('inspect', '-f', '{{.Id}}', 'made:1')).trim();
    await docker.ok('tag', image, 'made:1');
    assert.match(await docker.ok('image', 'prune', '-f'), new RegExp(`deleted: ${id}`));
    assert.match((await docker.docker(['run', 'none-such:1', 'true'])).stderr, /none-such/);
    assert.match((await docker.docker(['load', '-i', '/etc/hostname'])).stderr, /archive|truncated|tar/i);
    assert.ok(readFileSync(join(directory, 'saved.tar')).length > 0);
  });
});
