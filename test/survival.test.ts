/**
 * What has to hold when things die: our processes, HAProxy, an app, the machine; and what stays after `down --purge`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { issueCertificate } from '#lib/certificates.ts';
import { noTraces, tracesOf } from '#testing/leftovers.ts';
import { Load, TestPlatform, finish, until } from '#testing/platform.ts';
import { processesWith } from '#testing/processes.ts';
import { talkativeApp, writeApp } from '#testing/sample-apps.ts';

const platform = new TestPlatform('survive');

/** Roles and their keepers; not HAProxy, conmon or containers. */
function ourProcesses(): number[] {
  const data = platform.dataDirectory;
  return processesWith((line) => /sampan\.ts role (server|agent|platform)|sampan-keeper-/.test(line))
    .filter(({ line }) => line.includes(data) || line.includes(`sampan-keeper-${platform.name}-`))
    .map(({ pid }) => pid);
}

function proxies(): number[] {
  return processesWith(
    (line) =>
      line.includes('haproxy') &&
      (line.includes(platform.instance.runDirectory) || line.includes(platform.dataDirectory)),
  ).map(({ pid }) => pid);
}

function containers(): Promise<string> {
  return platform
    .docker('ps', '--no-trunc', '--format', '{{.ID}}')
    .then((result) => result.stdout.trim().split('\n').sort().join(' '));
}

interface AppView {
  processes: { instances: { index: number; state: string; ip: string; since: string }[] }[];
}

describe('survival', { concurrency: 1 }, () => {
  before(async () => {
    await platform.must('up');
    writeApp(join(platform.directory, 'app'), talkativeApp('one'));
    await platform.must('push', 'steady', '-p', join(platform.directory, 'app'), '-m', '128M', '-i', '2');
    await until('serving', async () => (await platform.ask(platform.host('steady'))).status === 200);
  });
  after(() => platform.purge());

  test('kill -9 of every process of ours under load: no request fails, up adopts everything', async () => {
    const before = {
      containers: await containers(),
      app: await platform.mustJson<AppView>('app', 'steady'),
      proxies: proxies(),
    };
    const load = new Load(platform, platform.host('steady'));
    const pids = ourProcesses();
    assert.ok(pids.length >= 3, `found ${pids.length} processes`);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await until('they are gone', async () => ourProcesses().every((pid) => !pids.includes(pid)));
    await until('the load went on without them', async () => load.requests > 100 && true);
    await platform.must('up');
    assert.equal(await containers(), before.containers, 'the same containers');
    assert.deepEqual(proxies(), before.proxies, 'the same HAProxy');
    assert.deepEqual(
      (await platform.mustJson<AppView>('app', 'steady')).processes[0]?.instances.map((instance) => [
        instance.index,
        instance.ip,
        instance.since,
      ]),
      before.app.processes[0]?.instances.map((instance) => [instance.index, instance.ip, instance.since]),
    );
    await load.stop();
    assert.deepEqual(load.failures, []);
    // What changed meanwhile is reconciled: an instance that dies while nobody looks is made again.
    await platform.must('scale', 'steady', '-i', '3');
    await until(
      'three instances',
      async () =>
        (await platform.mustJson<AppView>('app', 'steady')).processes[0]?.instances.filter(
          (instance) => instance.state === 'RUNNING',
        ).length === 3,
    );
    await platform.must('scale', 'steady', '-i', '2');
  });

  test('an app that dies while the platform is dead is alive again after up', async () => {
    for (const pid of ourProcesses()) process.kill(pid, 'SIGKILL');
    await until('they are gone', async () => ourProcesses().length === 0 || undefined);
    const started = async (): Promise<number> =>
      (JSON.parse((await platform.ask(platform.host('steady'))).body) as { started: number }).started;
    const before = Math.max(await started(), await started(), await started(), await started());
    assert.equal((await platform.ask(platform.host('steady'), { path: '/crash' })).status, 200);
    await platform.must('up');
    await until('the one that died was started anew', async () => (await started()) > before);
    await until(
      'both instances',
      async () =>
        (await platform.mustJson<AppView>('app', 'steady')).processes[0]?.instances.filter(
          (instance) => instance.state === 'RUNNING',
        ).length === 2,
    );
  });

  test('what up was told of the engine holds at every later start, until it is told otherwise', async () => {
    const warnings = async (): Promise<string> => (await platform.docker('info', '-f', '{{json .Warnings}}')).stdout;
    const before = await until('the instance that was scaled away is gone', async () => {
      const all = await containers();
      return all.split(' ').length === 2 && all;
    });
    assert.doesNotMatch(await warnings(), /--allow-/);
    await platform.must('up', '--allow-unconfined', '--mirror', 'lan=127.0.0.1:5');
    assert.match(await warnings(), /--allow-unconfined/);
    await platform.must('up', '--allow-host-namespaces');
    assert.match(await warnings(), /--allow-host-namespaces/);
    assert.equal(await containers(), before, 'apps went on');
    const refused = await platform.sampan('up', '--tcp', '127.0.0.1:0');
    assert.match(refused.stderr, /Cannot use port 0 as --tcp of `sampan up`/);
    const [agent] = platform.roles('agent');
    assert.ok(agent !== undefined);
    process.kill(agent, 'SIGKILL');
    await until('the agent is back', async () => /--allow-unconfined.*--allow-host-namespaces/.test(await warnings()));
    await platform.must('up');
    const mirrored = `127.0.0.1:${platform.instance.ports.registry}/lan/nothing`;
    assert.match((await platform.docker('pull', mirrored)).stderr, /ECONNREFUSED/, 'the other registry is asked');
    await platform.must('up', '--engine-defaults');
    assert.doesNotMatch(await warnings(), /--allow-/);
    assert.equal(await containers(), before);
  });

  test('a certificate that ends soon: doctor tells, up makes another and starts with it, and apps go on', async () => {
    const pki = (file: string): string => join(platform.dataDirectory, 'pki', file);
    const authority = { certificate: readFileSync(pki('ca.crt'), 'utf8'), key: readFileSync(pki('ca.key'), 'utf8') };
    const request = { commonName: 'registry', ips: ['127.0.0.1'], usages: ['server' as const], days: 5 };
    const soon = await issueCertificate(authority, request);
    writeFileSync(pki('registry.crt'), soon.certificate);
    writeFileSync(pki('registry.key'), soon.key);
    const doctor = async () => (await platform.sampan('doctor')).stdout;
    assert.match(await doctor(), /! certificate +registry ends on \S+, in 4 days\n +`sampan up` makes it anew/);
    const before = await containers();
    const load = new Load(platform, platform.host('steady'));
    const pids = ourProcesses();
    await platform.must('up');
    assert.ok(
      pids.every((pid) => !ourProcesses().includes(pid)),
      'what runs has the new one',
    );
    assert.match(await doctor(), /✓ certificates +\d+; the first to end is/);
    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.equal(await containers(), before);
  });

  test('HAProxy killed: back within 1 s', async () => {
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const begun = performance.now();
      const killed = proxies();
      assert.ok(killed.length > 0);
      for (const pid of killed) process.kill(pid, 'SIGKILL');
      await until('answers', async () => (await platform.ask(platform.host('steady'))).status === 200, 60);
      times.push(Math.round(performance.now() - begun));
    }
    // The best of three: a machine that is busy with something else is not what is measured.
    assert.ok(Math.min(...times) < 1000, `it took ${times.join(', ')} ms`);
  });

  test('after a reboot, up brings every app back without a push', async () => {
    const before = await platform.mustJson<AppView>('app', 'steady');
    await reboot();
    await platform.must('up');
    await until('serving again', async () => (await platform.ask(platform.host('steady'))).status === 200, 60);
    await until(
      'both instances',
      async () =>
        (await platform.mustJson<AppView>('app', 'steady')).processes[0]?.instances.filter(
          (instance) => instance.state === 'RUNNING',
        ).length === 2,
      60,
    );
    assert.equal(before.processes[0]?.instances.length, 2);
  });

  test('down stops everything, up brings it back; down --purge leaves nothing', async () => {
    const { runDirectory, name } = platform.instance;
    const marks = [platform.dataDirectory, `${runDirectory}/`, `sampan-${name}-`, `sampan-keeper-${name}-`];
    await platform.must('down');
    assert.deepEqual(tracesOf(name, marks).processes, []);
    assert.ok(existsSync(platform.dataDirectory));
    await platform.must('up', '--load-balancer-pool', '198.18.90.1');
    await until('serving again', async () => (await platform.ask(platform.host('steady'))).status === 200, 60);
    await platform.mustKubectl('create', 'service', 'loadbalancer', 'public', '--tcp=80:80');
    await until('the address is held', async () => tracesOf(name, marks).addresses.length === 1);
    await platform.must('down', '--purge');
    assert.deepEqual(tracesOf(name, marks), noTraces);
    assert.equal(existsSync(platform.dataDirectory), false);
    assert.equal(existsSync(runDirectory), false);
  });

  test('two instances run side by side', async () => {
    const one = new TestPlatform('twin-a');
    const two = new TestPlatform('twin-b');
    try {
      await one.must('up');
      await two.must('up');
      assert.notEqual(one.instance.network.clusterCidr, two.instance.network.clusterCidr);
      for (const twin of [one, two]) {
        writeApp(join(twin.directory, 'app'), talkativeApp(twin.name));
        await twin.must('push', 'same-name', '-p', join(twin.directory, 'app'), '-m', '64M');
        const answer = await twin.ask(twin.host('same-name'));
        assert.equal((JSON.parse(answer.body) as { version: string }).version, twin.name);
      }
      await two.must('down', '--purge');
      assert.equal((await one.ask(one.host('same-name'))).status, 200, 'taking one down does not touch the other');
    } finally {
      await one.purge();
      await two.purge();
    }
  });
});

/** What a reboot does to us: every process ends, and whatever the kernel or /run held is gone. */
async function reboot(): Promise<void> {
  const { name, runDirectory, dataDirectory } = platform.instance;
  for (let round = 0; round < 20; round++) {
    const pids = [
      ...new Set([
        ...ourProcesses(),
        ...proxies(),
        ...processesWith((line) => line.includes('conmon'))
          .filter(({ line }) => line.includes(runDirectory) || line.includes(dataDirectory))
          .map(({ pid }) => pid),
        ...containedProcesses(name),
      ]),
    ];
    if (pids.length === 0) break;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4]?.replaceAll('\\040', ' ') ?? '')
    .filter((path) => path.startsWith(`${runDirectory}/`) || path.startsWith(`${dataDirectory}/`));
  for (const path of mounts.reverse()) await finish('umount', ['-l', path]);
  for (const line of execFileSync('losetup', ['-l', '-n', '-O', 'NAME,BACK-FILE'], { encoding: 'utf8' }).split('\n')) {
    if (line.includes(dataDirectory) || line.includes(runDirectory))
      await finish('losetup', ['-d', line.split(/\s+/)[0] ?? '']);
  }
  await finish('nft', ['delete', 'table', 'inet', `sampan-${name}`]);
  for (const link of readdirSync('/sys/class/net')) {
    const address = await finish('ip', ['-o', '-4', 'addr', 'show', 'dev', link]);
    if (address.stdout.includes(`inet ${platform.instance.network.podCidr.replace(/\.0\/\d+$/, '.1')}/`))
      await finish('ip', ['link', 'delete', link]);
  }
  rmSync(runDirectory, { recursive: true, force: true });
}

function containedProcesses(instance: string): number[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`sampan-${instance}/`);
      } catch {
        return false; // it ended meanwhile
      }
    })
    .map(Number);
}
