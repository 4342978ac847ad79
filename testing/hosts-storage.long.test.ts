/** Volumes on two hosts that share no disk: each lies on the node of its pod, and only that node takes it away, when it is up. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { persistentVolumeClaims, persistentVolumes, pods, statefulSets } from '#cluster/kinds/resources.ts';
import type { PersistentVolume, Pod } from '#cluster/kinds/types/core.ts';
import { until } from './control-plane.ts';
import { type Host, type Hosts, openHosts } from './hosts.ts';
import { type HostsServer, startHostsServer } from './hosts-server.ts';
import { until as untilTrue } from './until.ts';

const namespace = 'default';
const labels = { app: 'db' };
const nodeLabel = 'local.sampan.dev/node';
let hosts: Hosts;
let server: HostsServer;

before(async () => {
  hosts = await openHosts(2);
  const tolerationSeconds = 300;
  server = await startHostsServer({
    address: hosts.address,
    leaseInterval: 1000,
    leaseGrace: 20_000,
    tolerationSeconds,
  });
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
});
after(async () => {
  await hosts[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const isReady = (pod: Stored<Pod>): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
const bothReady = () => until(server.client, pods, namespace, (list) => list.filter(isReady).length === 2);
const volumesOn = async (host: Host): Promise<Stored<PersistentVolume>[]> =>
  (await server.client.list(persistentVolumes)).items.filter(
    ({ metadata }) => metadata.labels?.[nodeLabel] === host.name,
  );
/** Images below a host's data directory. */
const imagesOf = async (host: Host): Promise<string> =>
  (await host.run('losetup', '--list', '--noheadings', '-O', 'BACK-FILE')).trim();

async function inPod(name: string, script: string): Promise<string> {
  const session = await server.client.exec({ name, namespace }, { command: ['sh', '-c', script] });
  let said = '';
  for await (const chunk of session.stdout) said += String(chunk);
  await session.exited;
  return said.trim();
}

test('each volume on its node; a pod comes back to it; a node that was down removes what went meanwhile', async () => {
  const [one, two] = hosts.list as [Host, Host];
  const template = {
    metadata: { labels },
    spec: {
      terminationGracePeriodSeconds: 0,
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: labels } },
          ],
        },
      },
      containers: [
        {
          name: 'main',
          image: 'fixtures.invalid/busybox:latest',
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', 'hostname >> /data/starts; sync; sleep 1000'],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
    },
  };
  const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '16Mi' } } };
  await server.client.create(statefulSets, {
    metadata: { name: 'db', namespace },
    spec: {
      serviceName: 'db',
      replicas: 2,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: labels },
      template,
      volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: claim }],
    },
  });
  const placed = await bothReady();
  const nodeOf = new Map(placed.map(({ metadata, spec }) => [metadata.name, spec?.nodeName]));
  assert.equal(new Set(nodeOf.values()).size, 2, 'one on each host');
  assert.equal((await volumesOn(one)).length, 1);
  assert.equal((await volumesOn(two)).length, 1);

  await server.client.delete(pods, 'db-0', { namespace });
  const again = await bothReady();
  assert.equal(
    again.find(({ metadata }) => metadata.name === 'db-0')?.spec?.nodeName,
    nodeOf.get('db-0'),
    'where its volume is',
  );
  assert.equal(await inPod('db-0', 'wc -l < /data/starts'), '2');
  await Promise.all([one.kill(), two.kill()]);
  await Promise.all(hosts.list.map((host) => host.start(server.node)));
  assert.equal(await inPod('db-1', 'wc -l < /data/starts'), '1', 'agents and engines were killed, the pod was not');

  const [mine] = await volumesOn(two);
  const handle = mine?.metadata.name ?? '';
  const claimName = mine?.spec?.claimRef?.name ?? '';
  assert.match(await imagesOf(two), new RegExp(`host-2/.*${handle}`));
  await two.kill();
  await server.client.delete(statefulSets, 'db', { namespace, propagationPolicy: 'Background' });
  await untilTrue(async () => {
    const { items } = await server.client.list(pods, { namespace });
    for (const { metadata } of items)
      await server.client.delete(pods, metadata.name, { namespace, gracePeriodSeconds: 0 }).catch(() => undefined);
    return items.length === 0;
  });
  await server.client.delete(persistentVolumeClaims, claimName, { namespace });
  await until(server.client, persistentVolumes, undefined, (all) =>
    all.some(
      ({ metadata }) =>
        metadata.name === handle && metadata.deletionTimestamp !== undefined && metadata.finalizers?.length === 1,
    ),
  );
  assert.match(await imagesOf(two), new RegExp(handle), 'its files are where they were');
  await two.start(server.node);
  await until(
    server.client,
    persistentVolumes,
    undefined,
    (all) => !all.some(({ metadata }) => metadata.name === handle),
  );
  await untilTrue(async () => !(await imagesOf(two)).includes(handle));
  assert.equal((await volumesOn(one)).length, 1, 'the other stays');
});
