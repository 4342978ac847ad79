/** Filters of lists and events, log options, and whether an inspected container has every field of the API's schema. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type DockerHost, openDockerHost, withDocker } from '#testing/docker-host.ts';

let docker: DockerHost;
let image = '';

interface Schema {
  inspect: string[];
  state: string[];
  hostConfig: string[];
  config: string[];
}
const schema = JSON.parse(readFileSync(join(import.meta.dirname, 'testdata/schema-1.45.json'), 'utf8')) as Schema;

const names = async (...words: string[]): Promise<string[]> =>
  (await docker.ok('ps', '-a', '--format', '{{.Names}}', ...words)).split('\n').filter(Boolean).sort();

describe('lists, events, logs and inspect', { ...withDocker, timeout: 600_000 }, () => {
  before(async () => {
    docker = await openDockerHost();
    image = docker.host.image;
    await docker.ok('run', '-d', '--name', 'web', '--label', 'tier=front', '-p', '0:8080', image, 'sleep', '1000');
    await docker.docker([
      'run',
      '--name',
      'job',
      '--expose',
      '81/udp',
      '-v',
      'filtered:/data',
      image,
      'sh',
      '-c',
      'exit 4',
    ]);
    await docker.ok('create', '--name', 'waiting', image);
  });
  after(async () => {
    await docker[Symbol.asyncDispose]();
  });

  test('docker ps has every filter', async () => {
    const port = (await docker.ok('port', 'web', '8080')).trim().split('\n')[0]?.split(':').at(-1);
    const cases: [string, string[]][] = [
      [`ancestor=${image}`, ['job', 'waiting', 'web']],
      ['before=waiting', ['job', 'web']],
      ['since=web', ['job', 'waiting']],
      ['exited=4', ['job']],
      ['exited=0', []],
      ['expose=81/udp', ['job']],
      ['expose=80-90/udp', ['job']],
      ['publish=8080', ['web']],
      [`publish=${port}`, ['web']],
      ['health=none', ['job', 'waiting', 'web']],
      ['health=healthy', []],
      ['is-task=false', ['job', 'waiting', 'web']],
      ['is-task=true', []],
      ['isolation=default', ['job', 'waiting', 'web']],
      ['label=tier', ['web']],
      ['label=tier=back', []],
      ['name=^w', ['waiting', 'web']],
      ['network=bridge', ['job', 'waiting', 'web']],
      ['status=created', ['waiting']],
      ['status=running', ['web']],
      ['status=paused', []],
      ['volume=filtered', ['job']],
      ['volume=/data', ['job']],
    ];
    for (const [filter, wanted] of cases) assert.deepEqual(await names('--filter', filter), wanted, filter);
    assert.deepEqual(await names('--filter', 'name=w', '--filter', 'status=created'), ['waiting']);
    assert.deepEqual(await names('--last', '1'), ['waiting']);
    for (const [filter, message] of [
      ['health=well', /invalid filter 'health=well'/],
      ['exited=x', /invalid filter 'exited=x'/],
      ['status=asleep', /invalid filter 'status=asleep'/],
      ['since=none', /No such container: none/],
      ['colour=red', /invalid filter 'colour'/],
    ] as const)
      assert.match((await docker.docker(['ps', '--filter', filter])).stderr, message);
  });

  test('docker events has every filter', async () => {
    const since = String(Date.now() / 1000 - 0.001);
    await docker.ok('volume', 'create', 'told');
    await docker.ok('run', '--rm', '--name', 'seen', '--label', 'kind=shown', image, 'true');
    await docker.ok('volume', 'rm', 'told');
    const until = String(Date.now() / 1000 + 0.3);
    const told = async (...filters: string[]): Promise<string[]> =>
      (
        await docker.ok(
          ...['events', '--since', since, '--until', until, '--format', '{{.Type}} {{.Action}}'],
          ...filters.flatMap((filter) => ['--filter', filter]),
        )
      )
        .split('\n')
        .filter(Boolean);
    const life = ['create', 'attach', 'start', 'die', 'destroy'].map((action) => `container ${action}`);
    assert.deepEqual(await told('container=seen'), life);
    assert.deepEqual(await told('label=kind=shown'), life);
    assert.deepEqual(await told(`image=${image}`, 'type=container'), life);
    assert.deepEqual(await told('event=die', 'event=start'), ['container start', 'container die']);
    assert.deepEqual(await told('type=volume'), ['volume create', 'volume destroy']);
    assert.deepEqual(await told('volume=told'), ['volume create', 'volume destroy']);
    assert.deepEqual(await told('network=bridge'), ['network connect', 'network disconnect']);
    assert.equal((await told('scope=local')).length, 9);
    for (const filter of ['daemon=x', 'network=none', 'scope=swarm', 'plugin=x', 'container=other'])
      assert.deepEqual(await told(filter), [], filter);
    assert.match((await docker.docker(['events', '--filter', 'colour=red', '--until', '1s'])).stderr, /invalid filter/);
  });

  test('volume prune takes those without a name, and all where that is asked', async () => {
    await docker.ok('volume', 'create', 'named');
    await docker.ok('volume', 'create', '--label', 'keep=1', 'labelled');
    await docker.ok('volume', 'prune', '-f');
    assert.equal(await docker.ok('volume', 'ls', '-q'), 'filtered\nlabelled\nnamed\n');
    assert.match(await docker.ok('volume', 'prune', '-a', '-f', '--filter', 'label=keep'), /labelled/);
    assert.equal(await docker.ok('volume', 'ls', '-q', '--filter', 'dangling=true'), 'named\n');
    await docker.ok('volume', 'rm', 'named');
  });

  test('docker logs has every option', async () => {
    const script = 'for i in 1 2 3; do echo line $i; sleep 0.15; done; echo bad >&2';
    const flags = ['--log-opt', 'labels=tier', '--log-opt', 'env=ROLE', '--label', 'tier=back', '-e', 'ROLE=a b'];
    await docker.ok('run', '-d', '--name', 'logger', ...flags, image, 'sh', '-c', script);
    assert.equal(await docker.ok('logs', '-f', 'logger'), 'line 1\nline 2\nline 3\n');
    assert.equal((await docker.docker(['logs', 'logger'])).stderr, 'bad\n');
    assert.equal(await docker.ok('logs', '--tail', '2', 'logger'), 'line 3\n');
    const [first = '', second = ''] = (await docker.ok('logs', '-t', 'logger')).split('\n');
    assert.match(first, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z line 1$/);
    const moment = second.split(' ')[0] ?? '';
    assert.equal(await docker.ok('logs', '--since', moment, 'logger'), 'line 2\nline 3\n');
    assert.equal(await docker.ok('logs', '--until', moment, 'logger'), 'line 1\nline 2\n');
    assert.equal(await docker.ok('logs', '--since', '10m', '--tail', 'all', 'logger'), 'line 1\nline 2\nline 3\n');
    assert.match(await docker.ok('logs', '--details', 'logger'), /^ROLE=a%20b,tier=back line 1\n/);
    await docker.ok('rm', 'logger');
  });

  test('inspect has every field of the schema', async () => {
    const [view] = JSON.parse(await docker.ok('inspect', '--size', 'web')) as Record<string, Record<string, unknown>>[];
    const missing = (fields: string[], there: Record<string, unknown> = {}, without: string[] = []): string[] =>
      fields.filter((field) => !Object.hasOwn(there, field) && !without.includes(field));
    assert.deepEqual(missing(schema.inspect, view), []);
    // Without a check there is no health.
    assert.deepEqual(missing(schema.state, view?.['State'], ['Health']), []);
    // What is absent where nobody asked for it, at dockerd too; and what was for Windows, or is of older versions.
    const optional = ['Mounts', 'KernelMemoryTCP', 'Annotations'];
    assert.deepEqual(missing(schema.hostConfig, view?.['HostConfig'], optional), []);
    const rare = ['Healthcheck', 'ArgsEscaped', 'NetworkDisabled', 'MacAddress', 'StopTimeout', 'Shell'];
    assert.deepEqual(missing(schema.config, view?.['Config'], rare), []);
  });
});
