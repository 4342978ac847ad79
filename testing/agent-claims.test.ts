/** What a node does with claims beyond a directory: volumes of one pod at a time. */
import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { events, persistentVolumeClaims, pods } from '#cluster/kinds/resources.ts';
import type { PersistentVolumeClaimSpec, Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';

const namespace = 'default';
let bed: AgentFixture;

before(async () => {
  bed = await agentFixture(await claimOctet(), { storage: true });
});
after(() => bed?.close());

async function claim(name: string, spec: PersistentVolumeClaimSpec): Promise<void> {
  const resources = { requests: { storage: '16Mi' } };
  await bed.client.create(persistentVolumeClaims, { metadata: { name, namespace }, spec: { resources, ...spec } });
}

async function create(name: string, claimName: string, script: string, more: Partial<PodSpec> = {}): Promise<void> {
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: bed.image,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', script],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
      ...more,
    },
  });
}

const isReady = (pod: Stored<Pod> | undefined): boolean =>
  pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
const ready = (name: string) => bed.until(name, 'Ready', isReady, 60);

async function remove(name: string): Promise<void> {
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  await bed.until(name, 'gone', (pod) => pod === undefined, 60);
}

async function sh(name: string, script: string): Promise<string> {
  const session = await bed.client.exec({ name, namespace }, { command: ['sh', '-c', script] });
  const [out, err] = await Promise.all([text(session.stdout), text(session.stderr), session.exited]);
  return `${out}${err}`.trim();
}

async function eventOf(name: string, reason: string, pattern: RegExp): Promise<void> {
  await until(bed.client, events, namespace, (items) =>
    items.some(
      (event) => event.involvedObject.name === name && event.reason === reason && pattern.test(event.message ?? ''),
    ),
  );
}

const inUse =
  /^MountVolume\.SetUp failed for volume "pvc-\S+" : volume uses the ReadWriteOncePod access mode and is already in use by another pod$/;

test('a volume of one pod at a time: a second waits, also for one that was deleted by force while the agent was away', async () => {
  await claim('single', { accessModes: ['ReadWriteOncePod'] });
  const leaves = 'trap "sleep 1; echo left >> /data/log; exit" TERM; sleep 1000 & wait';
  await create('first', 'single', leaves, { terminationGracePeriodSeconds: 30 });
  await ready('first');
  // Past the scheduler, which would keep it waiting.
  const here = { nodeName: bed.nodeName };
  await create('second', 'single', 'echo came >> /data/log; sleep 1000', here);
  await eventOf('second', 'FailedMount', inUse);
  const { status } = await bed.client.get(pods, 'second', namespace);
  assert.equal(status?.containerStatuses?.[0]?.state?.waiting?.reason, 'ContainerCreating');
  await bed.stopNode();
  await bed.client.delete(pods, 'first', { namespace, gracePeriodSeconds: 0 });
  await bed.startNode();
  await ready('second');
  assert.equal(await sh('second', 'until [ -s /data/log ]; do sleep 0.05; done; cat /data/log'), 'left\ncame');

  await create('third', 'single', 'sleep 1000', here);
  await eventOf('third', 'FailedMount', inUse);
  await remove('second');
  await ready('third');
  await remove('third');
  await bed.client.delete(persistentVolumeClaims, 'single', { namespace });
});
