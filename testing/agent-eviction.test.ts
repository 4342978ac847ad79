/** A node that lacks something: its conditions, its images, and who goes first. Observed as told, but for the last test. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { nodes, pods } from '#cluster/kinds/resources.ts';
import type { Container, Pod } from '#cluster/kinds/types/core.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { quantityValue } from '#cluster/kinds/quantity.ts';
import { defaultThresholds, type NodeObservations, observe } from '#cluster/node/pressure.ts';
import type { EvictionOptions } from '#cluster/node/eviction.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { addBusyboxImage } from './busybox-image.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';

const namespace = 'default';
const roomy: NodeObservations = {
  'memory.available': { available: 2 ** 33, capacity: 2 ** 34 },
  'nodefs.available': { available: 2 ** 38, capacity: 2 ** 39 },
  'nodefs.inodesFree': { available: 1e6, capacity: 2e6 },
  'pid.available': { available: 32_768, capacity: 32_768 },
};
let observed = async (): Promise<NodeObservations> => roomy;
const eviction: EvictionOptions = {
  soft: {
    thresholds: { 'memory.available': '1Gi' },
    graceMilliseconds: { 'memory.available': 300 },
    maxPodGraceSeconds: 60,
  },
  period: 50,
  // For the node's status to be written with what it is about, however busy the machine is.
  transition: 3000,
  thresholds: { ...defaultThresholds, 'pid.available': '100%' },
  observe: () => observed(),
};
const taints = [{ key: 'dedicated', value: 'tests', effect: 'PreferNoSchedule' }];
let bed: AgentFixture;

before(async () => {
  const settings = { maxPods: 42, systemReserved: { cpu: '100m', memory: '64Mi' }, labels: { disk: 'ssd' }, taints };
  bed = await agentFixture(await claimOctet(), { eviction, agent: () => ({ settings }) });
});
after(() => bed.close());

async function start(name: string, container: Partial<Container>, priority?: string): Promise<Stored<Pod>> {
  const main = {
    name: 'main',
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    command: ['sleep', '1000'],
    ...container,
  };
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: { nodeName: bed.nodeName, ...(priority && { priorityClassName: priority }), containers: [main] },
  });
  return await bed.until(name, 'Ready', (pod) =>
    Boolean(pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True')),
  );
}

const condition = async (type: string, status: string) =>
  await until(bed.client, nodes, undefined, ([node]) =>
    Boolean(node?.status?.conditions?.some((one) => one.type === type && one.status === status)),
  );
const isEvicted = (pod: Stored<Pod> | undefined): boolean => pod?.status?.phase === 'Failed';

test('under memory pressure the pod that is most above its request goes, at once and with a reason', async () => {
  const hold = (mebibytes: number): string[] => [
    'sh',
    '-c',
    `x=$(head -c ${mebibytes}m /dev/zero | tr '\\0' x); sleep 1000`,
  ];
  await start('small', {});
  await start('entitled', { command: hold(24), resources: { requests: { memory: '64Mi' } } });
  await start('hungry', { command: hold(24) });
  observed = async () => {
    const lacking = bed.engine
      .containers()
      .some(({ state, labels }) => state === 'running' && labels['io.kubernetes.pod.name'] === 'hungry');
    return lacking ? { ...roomy, 'memory.available': { available: 2 ** 20, capacity: 2 ** 34 } } : roomy;
  };
  await condition('MemoryPressure', 'True');
  const main = { name: 'main', image: bed.image, imagePullPolicy: 'IfNotPresent', command: ['sleep', '1000'] };
  await bed.client.create(pods, {
    metadata: { name: 'late', namespace },
    spec: { nodeName: bed.nodeName, containers: [main] },
  });
  const late = await bed.until('late', 'rejected', isEvicted);
  assert.deepEqual(
    [late.status?.reason, late.status?.message],
    ['Evicted', 'Pod was rejected: The node had condition: [MemoryPressure]. '],
  );
  const evicted = await bed.until('hungry', 'evicted', isEvicted);
  assert.equal(evicted.status?.reason, 'Evicted');
  assert.match(
    evicted.status?.message ?? '',
    /^The node was low on resource: memory\. Threshold quantity: 100Mi, available: 1Mi\. Container main was using \d+\w*, request is 0, has larger consumption of memory\. $/,
  );
  assert.equal(evicted.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 137);
  assert.equal(
    evicted.status?.conditions?.find(({ type }) => type === 'DisruptionTarget')?.reason,
    'TerminationByKubelet',
  );
  await condition('MemoryPressure', 'False');
  for (const name of ['small', 'entitled'])
    assert.equal((await bed.client.get(pods, name, namespace)).status?.phase, 'Running', name);
});

test('under soft pressure that lasts a pod is asked to end', async () => {
  const script = `trap "exit 7" TERM; x=$(head -c 24m /dev/zero | tr '\\0' x); while true; do sleep 0.05; done`;
  await start('polite', { command: ['sh', '-c', script] });
  observed = async () => {
    const lacking = bed.engine
      .containers()
      .some(({ state, labels }) => state === 'running' && labels['io.kubernetes.pod.name'] === 'polite');
    return lacking ? { ...roomy, 'memory.available': { available: 2 ** 29, capacity: 2 ** 34 } } : roomy;
  };
  const evicted = await bed.until('polite', 'evicted', isEvicted);
  assert.match(evicted.status?.message ?? '', /Threshold quantity: 1Gi, available: 512Mi\. Container main was using/);
  assert.equal(evicted.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 7);
  await condition('MemoryPressure', 'False');
  observed = async () => roomy;
});

test('the node says what it has, what is left for pods, and what it was told of itself', async () => {
  const { metadata, spec, status } = await bed.client.get(nodes, bed.nodeName);
  assert.equal(metadata.labels?.['disk'], 'ssd');
  assert.deepEqual(
    spec?.taints?.filter(({ key }) => key === 'dedicated'),
    taints,
  );
  const { capacity = {}, allocatable = {} } = status ?? {};
  assert.deepEqual([capacity['pods'], allocatable['pods']], ['42', '42']);
  const milli = ({ cpu = '' }: Record<string, string>) => Number(cpu.endsWith('m') ? cpu.slice(0, -1) : `${cpu}000`);
  assert.equal(milli(allocatable), milli(capacity) - 100);
  const kibi = (text = '') => quantityValue(text) / 1024;
  assert.equal(kibi(allocatable['memory']), kibi(capacity['memory']) - (64 + 100) * 1024);
  assert.equal(kibi(allocatable['ephemeral-storage']), kibi(capacity['ephemeral-storage']) - 2 * 1024 * 1024);
});

test('under disk pressure images that nobody uses go before any pod does', async () => {
  const reference = await addBusyboxImage(bed.engine.images, { repository: 'unused', config: { Cmd: ['true'] } });
  const told = Promise.withResolvers<void>();
  observed = async () => {
    if (bed.engine.images.get(reference) !== undefined)
      return { ...roomy, 'nodefs.available': { available: 1, capacity: 2 ** 39 } };
    // The condition would else be over before anybody here has seen it.
    await told.promise;
    return roomy;
  };
  await condition('DiskPressure', 'True');
  told.resolve();
  await condition('DiskPressure', 'False');
  assert.equal(bed.engine.images.get(reference), undefined);
  assert.notEqual(bed.engine.images.get(bed.image), undefined, 'an image that is used');
  assert.equal((await bed.client.get(pods, 'small', namespace)).status?.phase, 'Running');
});

test('what this host really has left is looked at', async () => {
  observed = async () => await observe(bed.engine.info().dataDirectory);
  // Some process numbers are taken on every host.
  await Promise.race(['small', 'entitled'].map((name) => bed.until(name, 'evicted', isEvicted)));
  observed = async () => roomy;
});
