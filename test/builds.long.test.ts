/**
 * Builds when things go wrong: the platform is killed in the middle, a build never ends, takes all it can get beside an app that
 * serves, or is taken back; and a buildpack at an address that builds may not reach.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cloudNative } from '#testing/custom-buildpacks-suite.ts';
import { GitServer } from '#testing/git-server.ts';
import { type Finished, finish, Load, TestPlatform, until } from '#testing/platform.ts';
import { type Files, talkativeApp, writeApp } from '#testing/sample-apps.ts';

const platform = new TestPlatform('builds');
const push = (name: string, directory: string, ...words: string[]): Promise<Finished> =>
  platform.sampan('push', name, '-p', directory, '-m', '96M', '-k', '96M', ...words);
const said = ({ stdout, stderr }: Finished): string => `${stdout}${stderr}`;

/** Its build runs a program. */
function building(name: string, program: string): string {
  const app: Files = talkativeApp(name);
  const file = JSON.parse(app['package.json'] ?? '') as { scripts: Record<string, string> };
  file.scripts['build'] = 'node build.js';
  return writeApp(join(platform.directory, name), {
    ...app,
    'package.json': JSON.stringify(file),
    'build.js': program,
  });
}

async function buildPods(): Promise<string[]> {
  const selector = 'platform.sampan.dev/build';
  const text = await platform.mustKubectl(
    'get',
    'pods',
    '-A',
    '-l',
    selector,
    '-o',
    'jsonpath={.items[*].metadata.name}',
  );
  return text.split(' ').filter((name) => name !== '');
}

const runningBuild = (): Promise<string> =>
  until(
    'a build that runs',
    async () =>
      /(build-\S+) +1\/1 +Running/.exec(
        await platform.mustKubectl('get', 'pods', '-A', '-l', 'platform.sampan.dev/build'),
      )?.[1],
    180,
  );

function killPlatform(): void {
  const [ours, ...more] = platform.roles('platform');
  assert.ok(ours !== undefined && more.length === 0, 'one process is the platform');
  process.kill(ours, 'SIGKILL');
}

describe('builds', { concurrency: 1 }, () => {
  before(async () => {
    await platform.must('up');
    const directory = writeApp(join(platform.directory, 'steady'), talkativeApp('steady'));
    await platform.must('push', 'steady', '-p', directory, '-m', '96M', '-k', '96M');
  });
  after(() => platform.purge());

  const serves = (name: string) =>
    until(`${name} serves`, async () => (await platform.ask(platform.host(name))).status === 200, 120);

  test('the platform is killed while a build waits for its pod, and again while it runs: the push goes on', async () => {
    const directory = building('killed', 'setTimeout(() => console.log("built"), 4000);');
    const pushed = push('killed', directory);
    await until('the build', async () => (await platform.mustKubectl('get', 'builds', '-A')).includes('STAGING'), 120);
    killPlatform();
    await runningBuild();
    killPlatform();
    const result = await pushed;
    assert.equal(result.code, 0, `${said(result)}\n${platform.logTail()}`);
    await serves('killed');
    await until('no pod of a build', async () => (await buildPods()).length === 0, 60);
  });

  test('a build that takes all it can get does not keep an app from serving', async () => {
    const spin = `
const { Worker, isMainThread } = require('node:worker_threads');
const fs = require('node:fs');
if (isMainThread) {
  for (let i = 0; i < 4; i++) new Worker(__filename);
  setTimeout(() => process.exit(0), 8000);
} else {
  const chunk = Buffer.alloc(1 << 20, 1);
  const path = '/tmp/written-' + require('node:worker_threads').threadId;
  for (;;) { fs.writeFileSync(path, chunk); for (let i = 0; i < 1e7; i++); }
}`;
    const load = new Load(platform, platform.host('steady'));
    const pushed = push('heavy', building('heavy', spin));
    const weights = await runningBuild()
      .then(cpuWeights)
      .finally(() => pushed);
    const result = await pushed;
    await load.stop();
    assert.equal(result.code, 0, said(result));
    assert.deepEqual(load.failures, []);
    assert.ok(load.requests > 20, `${load.requests} requests`);
    assert.ok(weights.build < weights.app, JSON.stringify(weights));
  });

  test('a push that is interrupted takes its build back', async () => {
    const directory = building('taken-back', 'setInterval(() => {}, 1000);');
    const pushing = platform.start('push', 'taken-back', '-p', directory, '-m', '96M', '-k', '96M');
    await runningBuild();
    assert.notEqual(await pushing.stop(), 0);
    await until('no pod of a build', async () => (await buildPods()).length === 0, 60);
    const builds = JSON.parse(await platform.mustKubectl('get', 'builds', '-A', '-o', 'json')) as {
      items: { spec: { cancelled?: boolean }; status: { state: string; error?: { code: string } } }[];
    };
    const [cancelled] = builds.items.filter(({ spec }) => spec.cancelled);
    assert.deepEqual([cancelled?.status.state, cancelled?.status.error?.code], ['FAILED', 'StagingCancelled']);
  });

  test('a build that never ends is stopped by its limit', async () => {
    const directory = building('endless', 'console.log("and on"); setInterval(() => {}, 1000);');
    const pushing = platform.start('push', 'endless', '-p', directory, '-m', '96M', '-k', '96M');
    const pod = await runningBuild();
    // The same package once more, with less time than the 15 minutes that a push has.
    const name = pod.slice('build-'.length);
    const namespace = 'default-dev';
    const build = JSON.parse(await platform.mustKubectl('get', 'build', name, '-n', namespace, '-o', 'json')) as {
      metadata: Record<string, unknown>;
      spec: Record<string, unknown>;
    };
    await pushing.stop();
    await until('no pod of a build', async () => (await buildPods()).length === 0, 60);
    const { labels, ownerReferences } = build.metadata;
    const again = {
      apiVersion: 'platform.sampan.dev/v1',
      kind: 'Build',
      metadata: { name: '11111111-1111-4111-8111-111111111111', namespace, labels, ownerReferences },
      spec: { ...build.spec, cancelled: false, timeoutSeconds: 20 },
    };
    const file = join(platform.directory, 'build.json');
    writeFileSync(file, JSON.stringify(again));
    await platform.mustKubectl('create', '-f', file);
    const status = await until(
      'the end of the build',
      async () => {
        const path = '-o=jsonpath={.status.state} {.status.error.code} {.status.error.message}';
        const text = await platform.mustKubectl('get', 'build', again.metadata.name, '-n', namespace, path);
        return text.startsWith('FAILED') && text;
      },
      120,
    );
    assert.match(status, /^FAILED StagingTimeExpired the build took more than 20 s and was stopped; its last lines:/);
    await until('no pod of a build', async () => (await buildPods()).length === 0, 60);
  });

  test('a buildpack at an address of this host is not reached by a build', async () => {
    const address = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    assert.ok(address, 'the host has an address');
    await using server = await new GitServer().listen('0.0.0.0');
    server.commit('echo', cloudNative());
    const check = await finish('curl', [
      '--silent',
      '--fail',
      server.url('echo/info/refs?service=git-upload-pack', address),
    ]);
    assert.equal(check.code, 0, 'the host itself reaches it');
    server.asked.length = 0;
    const directory = writeApp(join(platform.directory, 'echo'), { 'echo.txt': 'an echo' });
    const result = await push('echo', directory, '-b', server.url('echo', address));
    assert.notEqual(result.code, 0);
    assert.match(
      said(result),
      /could not be fetched: .*(no byte for 30 s|ENETUNREACH|EHOSTUNREACH|ECONNREFUSED|ETIMEDOUT)/,
    );
    assert.deepEqual(server.asked, []);
  });
});

/** Of the containers' groups, as the kernel has them. */
async function cpuWeights(build: string): Promise<{ build: number; app: number }> {
  const weightOf = async (name: string): Promise<number> => {
    const ids = await platform.docker('ps', '--no-trunc', '--format', '{{.ID}} {{.Names}}');
    const id = ids.stdout
      .split('\n')
      .find((line) => line.includes(name))
      ?.split(' ')[0];
    assert.ok(id, `${name} is a container: ${ids.stdout}`);
    const found = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-name', `*${id}*`], { encoding: 'utf8' });
    // Version 2 of control groups, or version 1.
    const files = found
      .trim()
      .split('\n')
      .flatMap((group) => [join(group, 'cpu.weight'), join(group, 'cpu.shares')]);
    const file = files.find((path) => existsSync(path));
    assert.ok(file, `there is a weight in ${found}`);
    return Number(readFileSync(file, 'utf8'));
  };
  return { build: await weightOf(build), app: await weightOf('steady-web') };
}
