/** The disk of a node is full: pods say so, what runs goes on, and with room everything comes by itself. On a small disk of its own. */
import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { nodes, pods } from '#cluster/kinds/resources.ts';
import type { Container, PodSpec } from '#cluster/kinds/types/core.ts';
import type { Thresholds } from '#cluster/node/pressure.ts';
import { fsck } from '#engine/fsck/check.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { openSmallDisk, type SmallDisk } from './small-disk.ts';
import { until as untilTrue } from './until.ts';
import { isReady, untilEvent } from './pods.ts';

const namespace = 'default';
const MiB = 1024 * 1024;
let disk: SmallDisk;
let bed: AgentFixture;
/** Nothing is evicted, unless a test says so. */
const thresholds: Thresholds = {};

before(async () => {
  disk = openSmallDisk(800);
  bed = await agentFixture(await claimOctet(), {
    eviction: { thresholds, period: 100, transition: 1000 },
    engine: { dataDirectory: `${disk.path}/data`, sandboxPool: 0 },
    agent: () => ({ dataDirectory: `${disk.path}/node` }),
  });
});
after(async () => {
  disk?.drain();
  await bed?.close();
  disk?.close();
});

async function create(name: string, script: string, more: Partial<Container> = {}, spec: Partial<PodSpec> = {}) {
  const command = ['sh', '-c', script];
  const main = { name: 'main', image: bed.image, imagePullPolicy: 'IfNotPresent', command, ...more };
  await bed.client.create(pods, {
    metadata: { name, namespace, annotations: { 'node.sampan.dev/backoff': 'cloudfoundry' } },
    spec: { nodeName: bed.nodeName, terminationGracePeriodSeconds: 0, containers: [main], ...spec },
  });
}

const ready = async (name: string) => await bed.until(name, 'Ready', isReady, 120);

const told = (name: string, reason: string, pattern: RegExp) =>
  untilEvent(bed.client, { name, namespace }, { reason, pattern });

async function sh(name: string, script: string): Promise<string> {
  const session = await bed.client.exec({ name, namespace }, { command: ['sh', '-c', script] });
  const [out] = await Promise.all([text(session.stdout), text(session.stderr), session.exited]);
  return out.trim();
}

async function remove(...names: string[]): Promise<void> {
  for (const name of names) await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  for (const name of names) await bed.until(name, 'gone', (pod) => pod === undefined, 60);
}

const volume = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };
const volumes = [{ name: 'data', emptyDir: { sizeLimit: '16Mi' } }];

test('a full disk: what starts says why it does not, what runs goes on, and all of it is there when there is room', async () => {
  await create('keeper', 'echo precious > /data/file; sync; sleep 1000', volume, { volumes });
  await create('noisy', 'i=0; while :; do echo line $((i+=1)); sleep 0.02; done');
  const keeper = await ready('keeper');
  const noisy = await ready('noisy');
  disk.fill(0);
  await create('late', 'echo started; sleep 1000');
  await create('roomy', 'sleep 1000', volume, { volumes });
  await told('roomy', 'FailedMount', /no space/);
  await told('late', 'FailedCreatePodSandBox', /no space left on device/);
  // One that ends cannot be made anew.
  const id = noisy.status?.containerStatuses?.[0]?.containerID?.replace('sampan://', '') ?? '';
  await bed.engine.killContainer(id, 9);
  const waiting = await bed.until(
    'noisy',
    'waiting for room',
    (pod) => /no space left/.test(pod?.status?.containerStatuses?.[0]?.state?.waiting?.message ?? ''),
    60,
  );
  assert.equal(waiting.status?.containerStatuses?.[0]?.state?.waiting?.reason, 'CreateContainerError');
  assert.equal(waiting.status?.containerStatuses?.[0]?.lastState?.terminated?.exitCode, 137);

  await bed.stopNode();
  await bed.startNode();
  const same = await ready('keeper');
  assert.equal(same.status?.containerStatuses?.[0]?.containerID, keeper.status?.containerStatuses?.[0]?.containerID);
  assert.equal(await sh('keeper', 'cat /data/file'), 'precious');

  disk.drain();
  await Promise.all(['late', 'roomy', 'noisy'].map(ready));
  assert.equal(await text(await bed.client.podLog({ name: 'late', namespace }, {})), 'started\n');
  assert.match(await text(await bed.client.podLog({ name: 'noisy', namespace }, { tailLines: 1 })), /^line \d+\n$/);
  assert.equal(await sh('keeper', 'cat /data/file'), 'precious');
  const { problems } = await fsck({ engine: { ...bed.api.engine, dataDirectory: `${disk.path}/data` } });
  assert.deepEqual(problems, []);
  await remove('keeper', 'noisy', 'late', 'roomy');
});

test('a container whose log has no room is not held up; its log goes on with room, and what was in it stays', async () => {
  await create('talks', 'i=0; while :; do echo line $((i+=1)); echo $i > /dev/shm/at; sleep 0.02; done');
  await ready('talks');
  const lines = async (): Promise<number[]> => {
    const log = await text(await bed.client.podLog({ name: 'talks', namespace }, {}));
    return [...log.matchAll(/^line (\d+)$/gm)].map(([, number]) => Number(number));
  };
  const at = async (): Promise<number> => Number(await sh('talks', 'cat /dev/shm/at'));
  disk.fill(0);
  const before = await lines();
  const began = await at();
  await untilTrue(async () => (await at()) > began + 50, 60);
  disk.drain();
  const end = await at();
  await untilTrue(async () => ((await lines()).at(-1) ?? 0) > end, 60);
  const after = await lines();
  assert.deepEqual(after.slice(0, before.length), before);
  assert.ok(
    after.every((number, index) => index === 0 || number > (after[index - 1] ?? 0)),
    'each once, in order',
  );
  await remove('talks');
});

test('a pod that fills the disk of its node goes, others stay, and the node takes pods again', async () => {
  await create('modest', 'sleep 1000');
  await ready('modest');
  thresholds['nodefs.available'] = '32Mi';
  const resources = { requests: { 'ephemeral-storage': '1Mi' }, limits: { 'ephemeral-storage': '790Mi' } };
  await create('glutton', 'dd if=/dev/zero of=/fill bs=1M; sleep 1000', { resources });
  const gone = await bed.until('glutton', 'evicted', (pod) => pod?.status?.phase === 'Failed', 120);
  assert.equal(gone.status?.reason, 'Evicted');
  assert.match(
    gone.status?.message ?? '',
    /The node was low on resource: ephemeral-storage\. .*Container main was using/,
  );
  await untilTrue(async () => disk.free() > 32 * MiB, 60);
  await until(bed.client, nodes, undefined, ([node]) =>
    Boolean(node?.status?.conditions?.some(({ type, status }) => type === 'DiskPressure' && status === 'False')),
  );
  delete thresholds['nodefs.available'];
  assert.equal((await bed.client.get(pods, 'modest', namespace)).status?.containerStatuses?.[0]?.restartCount, 0);
  await create('next', 'sleep 1000');
  await ready('next');
  await remove('modest', 'glutton', 'next');
});
