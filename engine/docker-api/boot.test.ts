/** What a boot of the machine leaves of containers that were made with docker: everything but their processes. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { simulateBoot } from '#testing/boot.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';
import { until } from '#testing/until.ts';

let docker: DockerHost;
let image = '';

const boot = async (): Promise<void> => {
  await docker.pause();
  await simulateBoot(docker.host.options);
  await docker.resume();
};
const inspect = async (format: string, name: string): Promise<string> =>
  (await docker.ok('inspect', '-f', format, name)).trim();
const isRunning = async (name: string): Promise<boolean> => (await inspect('{{.State.Status}}', name)) === 'running';

describe('docker containers and a boot of the machine', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    ({ image } = docker.host);
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('restart policies act, on the same container with all that it had', async () => {
    const script =
      'echo run $(cat /data/count) >> /written; cat /written; echo x >> /data/count; exec httpd -f -p 80 -h /';
    const flags = [
      '--name',
      'web',
      '--restart',
      'always',
      '-p',
      '127.0.0.1:0:80',
      '--hostname',
      'shop',
      '-v',
      'kept:/data',
    ];
    flags.push('--add-host', 'friend:10.9.8.7', '--dns', '9.9.9.9', '--label', 'tier=front');
    await docker.ok('run', '-d', ...flags, image, 'sh', '-c', script);
    const sleeps = [image, 'sleep', '1000'];
    await docker.ok('run', '-d', '--name', 'unless', '--restart', 'unless-stopped', ...sleeps);
    await docker.ok('run', '-d', '--name', 'failing', '--restart', 'on-failure', ...sleeps);
    await docker.ok('run', '-d', '--name', 'left', '--restart', 'unless-stopped', ...sleeps);
    await docker.ok('run', '-d', '--name', 'plain', ...sleeps);
    await docker.ok('run', '-d', '--name', 'temporary', '--rm', '-v', '/own', ...sleeps);
    await docker.ok('create', '--name', 'made', image, 'echo', 'first');
    await docker.ok('stop', '-t', '0', 'left');
    await until(async () => (await docker.ok('logs', 'web')).includes('run'));
    const before = await inspect('{{.Id}} {{.NetworkSettings.IPAddress}}', 'web');
    await boot();
    for (const name of ['web', 'unless', 'failing']) await until(async () => await isRunning(name));
    assert.equal(await inspect('{{.Id}} {{.NetworkSettings.IPAddress}}', 'web'), before);
    await until(async () => (await docker.ok('logs', 'web')).trim().split('\n').length === 3);
    assert.equal(await docker.ok('logs', 'web'), 'run\nrun\nrun x\n');
    const seen = await docker.ok(
      'exec',
      'web',
      'sh',
      '-c',
      'hostname; cat /etc/resolv.conf; grep -c friend /etc/hosts',
    );
    assert.equal(seen, 'shop\nnameserver 9.9.9.9\n1\n');
    const address = (await docker.ok('port', 'web', '80')).trim();
    await until(async () => (await fetch(`http://${address}/written`).catch(() => undefined))?.status === 200);
    assert.equal((await docker.ok('ps', '-q', '--filter', 'label=tier=front')).trim().length, 12);
    assert.equal(await inspect('{{.State.Status}}', 'left'), 'exited');
    assert.equal(await inspect('{{.State.Status}} {{.State.ExitCode}}', 'plain'), 'exited 137');
    assert.equal(await inspect('{{.State.Status}}', 'made'), 'created');
    assert.match((await docker.docker(['inspect', 'temporary'])).stderr, /No such object/);
    assert.equal((await docker.ok('volume', 'ls', '-q')).trim(), 'kept');
  });

  test('what no policy starts is started by hand, and removed as ever', async () => {
    await docker.ok('start', 'plain', 'left');
    assert.equal(await docker.ok('start', '-a', 'made'), 'first\n');
    // Again, before what was lost has been asked for.
    await boot();
    await boot();
    await docker.ok('start', 'plain');
    assert.equal((await docker.ok('exec', 'plain', 'echo', 'well')).trim(), 'well');
    await docker.ok('rm', '-f', 'web', 'unless', 'failing', 'left', 'plain', 'made');
    await docker.ok('volume', 'rm', 'kept');
    assert.deepEqual(docker.host.engine.sandboxes(), []);
  });

  test("a pod's sandbox goes with the boot", async () => {
    const { id } = await docker.host.engine.createSandbox({ name: 'team/web/u1', hostname: 'web' });
    await boot();
    assert.equal(docker.host.engine.sandbox(id), undefined);
  });
});
