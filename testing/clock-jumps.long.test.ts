/**
 * A host whose clock is set, an hour forward and then two back, under a whole cluster: every process of it sees the other time at once,
 * as libfaketime shows it, while no time passes. Nothing that runs is touched, and everything goes on.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { cronJobs, deployments, jobs, leases, nodes, pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { ClusterUnderFire, image, signal } from './cluster-kill/cluster.ts';
import { configMap, deployment, statefulSet } from './cluster-kill/desired.ts';
import { apiWriter, namespace } from './cluster-kill/writer.ts';
import { finish, until } from './platform.ts';

const HOUR = 3600;
const clockFile = `/tmp/sampan-clock-${process.pid}`;
let cluster: ClusterUnderFire;
let token = '';
let known: Map<string, string>;

function library(): string {
  const found = readdirSync('/usr/lib')
    .map((directory) => join('/usr/lib', directory, 'faketime', 'libfaketime.so.1'))
    .find((path) => existsSync(path));
  assert.ok(found, 'Debian has it in the package faketime');
  return found;
}

/** In seconds from the machine's own time; seen within a second. */
function setClock(offset: number): void {
  writeFileSync(clockFile, `${offset < 0 ? '' : '+'}${offset}\n`);
}

/** Which containers run, and how often each was restarted. */
async function running(): Promise<Map<string, string>> {
  const { items } = await cluster.client.list(pods, { namespace });
  return new Map(items.map((pod) => [`${pod.metadata.name} ${pod.metadata.uid}`, containersOf(pod)]));
}

function containersOf({ status }: Stored<Pod>): string {
  return JSON.stringify(status?.containerStatuses?.map(({ containerID, restartCount }) => [containerID, restartCount]));
}

const isReady = ({ status }: Pick<Stored<Pod>, 'status'>): boolean =>
  status?.conditions?.some(({ type, status: now }) => type === 'Ready' && now === 'True') === true;

/** Both processes tell the other time: the server in what it writes, the agent in its lease. */
async function bothSee(offset: number): Promise<void> {
  const isNear = (time: string | undefined): boolean =>
    Math.abs(Date.parse(time ?? '') - Date.now() - offset * 1000) < (HOUR / 4) * 1000;
  await until('the server to see the time', async () => {
    const name = `clock-${offset}`;
    await cluster.client.delete(cronJobs, name, { namespace }).catch(() => undefined);
    const made = await cluster.client.create(cronJobs, cronJob(name));
    return isNear(made.metadata.creationTimestamp);
  });
  await until('the agent to see the time', async () => {
    const { items } = await cluster.client.list(leases, { namespace: 'kube-node-lease' });
    return items.every(({ spec }) => isNear(spec?.renewTime));
  });
}

function cronJob(name: string) {
  const container = { name: 'main', image, imagePullPolicy: 'IfNotPresent', command: ['/bin/busybox', 'true'] };
  return {
    metadata: { name, namespace },
    spec: {
      schedule: '* * * * *',
      jobTemplate: { spec: { template: { spec: { restartPolicy: 'Never', containers: [container] } } } },
    },
  };
}

/** Who one is by a token alone. */
async function whoami(shown: string): Promise<string> {
  const server = `https://127.0.0.1:${cluster.instance.ports.kubernetes}`;
  const ca = join(cluster.dataDirectory, 'pki', 'ca.crt');
  const words = ['--kubeconfig', '/dev/null', '--server', server, '--certificate-authority', ca, '--token', shown];
  const { stdout, stderr } = await finish('kubectl', [
    ...words,
    'auth',
    'whoami',
    '-o',
    'jsonpath={.status.userInfo.username}',
  ]);
  return stdout || stderr;
}

describe('a clock that is set', { concurrency: 1 }, () => {
  before(async () => {
    setClock(0);
    cluster = await ClusterUnderFire.open('clock', {
      variables: {
        LD_PRELOAD: library(),
        FAKETIME_TIMESTAMP_FILE: clockFile,
        FAKETIME_CACHE_DURATION: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
    });
    const writer = apiWriter(cluster);
    await writer.apply(configMap('settings', 'x'));
    await writer.apply(deployment('web', { replicas: 2, turn: '1' }, 'RollingUpdate'));
    await writer.apply(statefulSet('db', { replicas: 1, turn: '1' }, 'Parallel'));
    await until(
      'three pods to be ready',
      async () => {
        const { items } = await cluster.client.list(pods, { namespace });
        return items.length === 3 && items.every(isReady);
      },
      120,
    );
    token = (await cluster.mustKubectl('create', 'token', 'default', '--duration=48h')).trim();
    known = await running();
  });
  after(async () => {
    await cluster?.close();
    rmSync(clockFile, { force: true });
  });

  for (const [what, offset] of [
    ['an hour forward', HOUR],
    ['two hours back', -HOUR],
  ] as const) {
    test(`${what}: what runs is left alone, and everything goes on`, async () => {
      setClock(offset);
      await bothSee(offset);
      const writer = apiWriter(cluster);
      await writer.scale('deployment', 'web', 3);
      const three = async (): Promise<Stored<Pod>[] | false> => {
        const { items } = await cluster.client.list(pods, { namespace, labelSelector: 'app=web' });
        return items.length === 3 && items.every(isReady) && items;
      };
      const [, , newest] = (await until('a new pod', three, 120)).toSorted((a, b) =>
        known.has(`${a.metadata.name} ${a.metadata.uid}`)
          ? -1
          : known.has(`${b.metadata.name} ${b.metadata.uid}`)
            ? 1
            : 0,
      );
      assert.ok(newest);
      // By the server and the agent, whose certificates are looked at again.
      const said = await cluster.mustKubectl('exec', newest.metadata.name, '--', '/bin/busybox', 'echo', 'here');
      assert.equal(said, 'here\n');
      assert.equal(await whoami(token), 'system:serviceaccount:default:default');
      await cluster.client.delete(pods, newest.metadata.name, { namespace });
      await writer.scale('deployment', 'web', 2);
      await until('it to be gone', async () => (await running()).size - jobPods(await running()) === 3, 120);
      await until(
        'a job of the new minute',
        async () => {
          const { items } = await cluster.client.list(jobs, { namespace });
          return items.some(
            ({ metadata, status }) => metadata.name.startsWith(`clock-${offset}`) && status?.succeeded === 1,
          );
        },
        180,
      );
      for (const [name, containers] of known) assert.equal((await running()).get(name), containers, name);
      const { items } = await cluster.client.list(nodes);
      assert.deepEqual(
        items.map((node) => [isReady(node), node.spec?.taints ?? []]),
        items.map(() => [true, []]),
      );
      const [web] = (await cluster.client.list(deployments, { namespace })).items;
      assert.equal(web?.status?.availableReplicas, 2);
    });
  }

  test('a container that dies under a clock that was set back is started again', async () => {
    const before = await running();
    for (const pid of cluster.contained().processes) signal(pid);
    const isAgain = async (): Promise<boolean> => {
      const { items } = await cluster.client.list(pods, { namespace });
      const own = items.filter(({ metadata }) => metadata.labels?.['app'] !== undefined);
      return own.every(
        (pod) => isReady(pod) && containersOf(pod) !== before.get(`${pod.metadata.name} ${pod.metadata.uid}`),
      );
    };
    await until('all of them to run again', isAgain, 180);
  });

  test('processes that begin under the other time take over what runs', async () => {
    const before = await running();
    await cluster.killWithKeepers();
    await cluster.up();
    await until('the node to be ready', async () => (await cluster.client.list(nodes)).items.every(isReady), 60);
    for (const [name, containers] of before)
      if (!name.startsWith('clock-')) assert.equal((await running()).get(name), containers, name);
  });
});

function jobPods(all: Map<string, string>): number {
  return [...all.keys()].filter((name) => name.startsWith('clock-')).length;
}
