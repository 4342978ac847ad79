/** Health checks: the real client over the real engine. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { addBusyboxImage } from '#testing/busybox-image.ts';
import { parseImageConfig } from '../images/manifest.ts';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let image = '';

interface Health {
  Status: string;
  FailingStreak: number;
  Log: { Start: string; End: string; ExitCode: number; Output: string }[];
}

const healthOf = async (name: string): Promise<Health> =>
  JSON.parse(await docker.ok('inspect', '-f', '{{json .State.Health}}', name)) as Health;

async function until(name: string, fits: (health: Health) => boolean): Promise<Health> {
  for (const deadline = Date.now() + 60_000; ; ) {
    const health = await healthOf(name);
    if (fits(health)) return health;
    assert.ok(Date.now() < deadline, JSON.stringify(health));
  }
}

describe('health checks', { ...withDocker, timeout: 300_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('a container becomes healthy, unhealthy and healthy again, and events and filters say so', async () => {
    const since = String(Date.now() / 1000 - 0.001);
    const check = 'test -e /tmp/well && echo fine || { echo ill; exit 3; }';
    const flags = ['--health-cmd', check, '--health-interval', '150ms', '--health-retries', '2'];
    await docker.ok('run', '-d', '--name', 'patient', ...flags, image, 'sh', '-c', 'touch /tmp/well; exec sleep 1000');
    const healthy = await until('patient', ({ Status }) => Status === 'healthy');
    assert.deepEqual(
      [healthy.FailingStreak, healthy.Log.at(-1)?.ExitCode, healthy.Log.at(-1)?.Output],
      [0, 0, 'fine\n'],
    );
    assert.match(
      await docker.ok('ps', '--filter', 'health=healthy', '--format', '{{.Names}} {{.Status}}'),
      /^patient Up .*\(healthy\)/,
    );
    await docker.ok('exec', 'patient', 'rm', '/tmp/well');
    const ill = await until('patient', ({ Status }) => Status === 'unhealthy');
    assert.ok(ill.FailingStreak >= 2);
    assert.deepEqual([ill.Log.at(-1)?.ExitCode, ill.Log.at(-1)?.Output], [3, 'ill\n']);
    assert.equal(await docker.ok('ps', '-q', '--filter', 'health=healthy'), '');
    // What an engine found out, the next one knows.
    await docker.reopen();
    assert.equal((await healthOf('patient')).Status, 'unhealthy');
    await docker.ok('exec', 'patient', 'touch', '/tmp/well');
    const again = await until('patient', ({ Status, Log }) => Status === 'healthy' && Log.length === 5);
    for (const [index, entry] of again.Log.entries()) {
      const before = again.Log[index - 1];
      if (before !== undefined) assert.ok(Date.parse(entry.Start) - Date.parse(before.End) >= 140, 'one at a time');
    }
    const told = await docker.ok(
      'events',
      '--since',
      since,
      '--until',
      String(Date.now() / 1000 + 0.2),
      '--filter',
      'event=health_status',
      '--format',
      '{{.Action}}',
    );
    assert.deepEqual(told.trim().split('\n').slice(-1), ['health_status: healthy']);
    await docker.ok('stop', '-t', '0', 'patient');
    assert.equal((await healthOf('patient')).Status, 'unhealthy');
    await docker.ok('start', 'patient');
    assert.match((await healthOf('patient')).Status, /starting|healthy/);
    await docker.ok('rm', '-f', 'patient');
  });

  test('a check that is frozen in the middle holds nobody up', async () => {
    const flags = ['--health-cmd', 'touch /tmp/asked; sleep 777', '--health-interval', '50ms'];
    await docker.ok('run', '-d', '--name', 'frozen', ...flags, image, 'sleep', '1000');
    for (const deadline = Date.now() + 60_000; ; ) {
      if ((await docker.docker(['exec', 'frozen', 'test', '-e', '/tmp/asked'])).code === 0) break;
      assert.ok(Date.now() < deadline);
    }
    await docker.ok('pause', 'frozen');
    await docker.reopen();
    assert.deepEqual((await healthOf('frozen')).Log, []);
    await docker.ok('unpause', 'frozen');
    await docker.ok('rm', '-f', 'frozen');
  });

  test('the image’s own check, a part of it changed, and none of it', async () => {
    const Healthcheck = { Test: ['CMD', 'test', '-e', '/tmp'], Interval: 100_000_000, Retries: 7 };
    const checked = await addBusyboxImage(docker.host.engine.images, {
      repository: 'checked',
      config: { Healthcheck },
    });
    const shown = JSON.parse(await docker.ok('inspect', '-f', '{{json .Config.Healthcheck}}', checked)) as object;
    assert.deepEqual(shown, Healthcheck);
    await docker.ok('run', '-d', '--name', 'own', checked, 'sleep', '1000');
    await until('own', ({ Status }) => Status === 'healthy');
    await docker.ok('run', '-d', '--name', 'mixed', '--health-interval', '1h', checked, 'sleep', '1000');
    const mixed = JSON.parse(await docker.ok('inspect', '-f', '{{json .Config.Healthcheck}}', 'mixed')) as object;
    assert.deepEqual(mixed, { ...Healthcheck, Interval: 3_600_000_000_000 });
    await docker.ok('run', '-d', '--name', 'unasked', '--no-healthcheck', checked, 'sleep', '1000');
    assert.equal((await docker.ok('inspect', '-f', '{{json .State.Health}}', 'unasked')).trim(), 'null');
    assert.equal((await docker.ok('ps', '-q', '--filter', 'health=none')).trim().split('\n').length, 1);
    await docker.ok('rm', '-f', 'own', 'mixed', 'unasked');
  });

  test('a check that takes too long, one that cannot be executed, and a start period', async () => {
    const quick = ['--health-interval', '100ms', '--health-timeout', '200ms', '--health-retries', '1'];
    await docker.ok('run', '-d', '--name', 'slow', '--health-cmd', 'sleep 1000', ...quick, image, 'sleep', '1000');
    const slow = await until('slow', ({ Status }) => Status === 'unhealthy');
    assert.deepEqual([slow.Log[0]?.ExitCode, slow.Log[0]?.Output], [-1, 'Health check exceeded timeout (0.2s)']);
    await docker.ok(
      'run',
      '-d',
      '--name',
      'lasting',
      '--health-cmd',
      'exit 1',
      ...quick,
      '--health-start-period',
      '1h',
      '--health-start-interval',
      '100ms',
      image,
      'sleep',
      '1000',
    );
    const lasting = await until('lasting', ({ Log }) => Log.length >= 3);
    assert.deepEqual([lasting.Status, lasting.FailingStreak], ['starting', 0]);
    assert.match(await docker.ok('ps', '--filter', 'name=lasting', '--format', '{{.Status}}'), /\(health: starting\)/);
    // Nothing is asked of what is paused.
    await docker.ok('pause', 'lasting');
    const { Log } = await healthOf('lasting');
    await docker.reopen();
    assert.deepEqual((await healthOf('lasting')).Log.at(-1), Log.at(-1));
    await docker.ok('rm', '-f', 'slow', 'lasting');
    assert.equal(
      (await docker.ok('inspect', '-f', '{{json .Id}}', (await docker.ok('create', '--no-healthcheck', image)).trim()))
        .length,
      67,
    );
    for (const [flags, message] of [
      [['--health-interval', '1us'], /cannot be less than 1ms/],
      [['--health-retries', '-1'], /cannot be negative/],
    ] as const) {
      const said = await docker.docker(['create', '--health-cmd', 'true', ...flags, image]);
      assert.match(said.stderr, message);
    }
  });
});

test('the image’s HEALTHCHECK is read, in milliseconds', () => {
  const config = { Healthcheck: { Test: ['CMD', 'true'], Interval: 5_000_000_000, Timeout: 0, Retries: 4 } };
  const document = { os: 'linux', architecture: 'amd64', rootfs: { diff_ids: [] }, config };
  const { healthcheck } = parseImageConfig(Buffer.from(JSON.stringify(document))).config;
  assert.deepEqual(healthcheck, { test: ['CMD', 'true'], interval: 5000, retries: 4 });
});
