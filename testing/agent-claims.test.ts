/** What a node does with claims beyond a directory for whoever asks: volumes of one pod at a time, and volumes that are devices. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { persistentVolumeClaims, persistentVolumes, pods } from '#cluster/kinds/resources.ts';
import type { PersistentVolumeClaimSpec, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { until as untilTrue } from './until.ts';
import { isReady, shellIn, untilEvent } from './pods.ts';

const namespace = 'default';
let bed: AgentFixture;
let directory = '';
/** Of this host, for a volume that an administrator makes. */
let device = '';

const losetup = (...words: string[]): string => execFileSync('losetup', words, { encoding: 'utf8' }).trim();

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sampan-claims-'));
  execFileSync('truncate', ['-s', '16M', join(directory, 'disk')]);
  device = losetup('--find', '--show', join(directory, 'disk'));
  bed = await agentFixture(await claimOctet(), { storage: true, policy: { hostPaths: [device] } });
});
after(async () => {
  await bed?.close();
  losetup('--detach', device);
  rmSync(directory, { recursive: true, force: true });
});

async function claim(name: string, spec: PersistentVolumeClaimSpec): Promise<void> {
  const resources = { requests: { storage: '16Mi' } };
  await bed.client.create(persistentVolumeClaims, { metadata: { name, namespace }, spec: { resources, ...spec } });
}

interface Wish {
  claimName: string;
  readOnly?: boolean;
  /** Its claim is a device. */
  device?: string;
  script?: string;
}

async function create(name: string, wish: Wish, more: Partial<PodSpec> = {}): Promise<void> {
  const { claimName, readOnly = false, device: devicePath, script = 'sleep 1000' } = wish;
  const use =
    devicePath === undefined
      ? { volumeMounts: [{ name: 'data', mountPath: '/data' }] }
      : { volumeDevices: [{ name: 'data', devicePath }] };
  const image = { image: bed.image, imagePullPolicy: 'IfNotPresent' };
  await bed.client.create(pods, {
    metadata: { name, namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', ...image, command: ['sh', '-c', script], ...use }],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName, readOnly } }],
      ...more,
    },
  });
}

const ready = (name: string) => bed.until(name, 'Ready', isReady, 60);

async function remove(name: string): Promise<void> {
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  await bed.until(name, 'gone', (pod) => pod === undefined, 60);
}

const sh = (name: string, script: string) => shellIn(bed.client, { name, namespace }, script);

const eventOf = (name: string, reason: string, pattern: RegExp) =>
  untilEvent(bed.client, { name, namespace }, { reason, pattern });

const inUse = (step: string): RegExp =>
  new RegExp(
    `^${step} failed for volume "pvc-\\S+" : volume uses the ReadWriteOncePod access mode and is already in use by another pod$`,
  );

test('a volume of one pod at a time: a second waits, also for one that was deleted by force while the agent was away', async () => {
  await claim('single', { accessModes: ['ReadWriteOncePod'] });
  const leaves = 'trap "sleep 0.3; echo left >> /data/log; exit" TERM; touch /data/trapped; sleep 1000 & wait';
  await create('first', { claimName: 'single', script: leaves }, { terminationGracePeriodSeconds: 30 });
  await ready('first');
  await sh('first', 'until [ -e /data/trapped ]; do sleep 0.05; done');
  // Past the scheduler, which would keep it waiting.
  const here = { nodeName: bed.nodeName };
  await create('second', { claimName: 'single', script: 'echo came >> /data/log; sleep 1000' }, here);
  await eventOf('second', 'FailedMount', inUse('MountVolume.SetUp'));
  await bed.until('second', 'waiting', (pod) => {
    return pod?.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'ContainerCreating';
  });
  await bed.stopNode();
  await bed.client.delete(pods, 'first', { namespace, gracePeriodSeconds: 0 });
  await bed.startNode();
  await ready('second');
  assert.equal(await sh('second', 'until grep came /data/log; do sleep 0.05; done; cat /data/log'), 'came\nleft\ncame');
  await remove('second');
  await bed.client.delete(persistentVolumeClaims, 'single', { namespace });
});

/** Loop devices of disk volumes of this engine that are devices themselves. */
const devices = (): string[] =>
  losetup('--list', '--noheadings', '--output', 'NAME,BACK-FILE')
    .split('\n')
    .filter((line) => line.includes(bed.api.engine.dataDirectory) && line.endsWith('.block'));
const write = (word: string): string => `printf ${word} | dd of=/dev/xvda bs=1 seek=4096 conv=notrunc,fsync 2>&1`;
const read = 'dd if=/dev/xvda bs=1 skip=4096 count=4 2>/dev/null';

test('a claim that is a device: made, grown, kept over restarts and a boot, one pod at a time, and freed with its pod', async () => {
  await claim('raw', { accessModes: ['ReadWriteOncePod'], volumeMode: 'Block' });
  const wish = { claimName: 'raw', device: '/dev/xvda' };
  await create('writer', wish);
  await ready('writer');
  assert.equal(
    await sh('writer', 'stat -c %F /dev/xvda; blockdev --getsize64 /dev/xvda'),
    `block special file\n${2 ** 24}`,
  );
  await sh('writer', write('kept'));
  assert.equal(devices().length, 1);
  const body = { spec: { resources: { requests: { storage: '32Mi' } } } };
  await bed.client.patch(persistentVolumeClaims, 'raw', { type: 'merge', body }, { namespace });
  await until(bed.client, persistentVolumeClaims, namespace, (all) =>
    all.some(({ status }) => status?.capacity?.['storage'] === '32Mi'),
  );
  assert.equal(await sh('writer', `blockdev --getsize64 /dev/xvda; ${read}`), `${2 ** 25}\nkept`);

  const here = { nodeName: bed.nodeName };
  await create('mounts', { claimName: 'raw' }, here);
  await eventOf(
    'mounts',
    'FailedMount',
    /unmounted volumes=\[data\].*: volume data has volumeMode Block, but is specified in volumeMounts$/,
  );
  await remove('mounts');
  await create('reader', { ...wish, readOnly: true }, here);
  await eventOf('reader', 'FailedMapVolume', inUse('MapVolume.SetUpDevice'));
  await bed.reboot();
  await remove('writer');
  await ready('reader');
  assert.match(await sh('reader', `${write('lost')}; ${read}`), /Operation not permitted\nkept$/);

  await bed.stopNode();
  await bed.client.delete(pods, 'reader', { namespace, gracePeriodSeconds: 0 });
  assert.equal(devices().length, 1);
  await bed.startNode();
  await untilTrue(async () => devices().length === 0, 60);
  await create('again', wish);
  await ready('again');
  assert.equal(await sh('again', read), 'kept');
  await remove('again');
  await untilTrue(async () => devices().length === 0, 60);
  await bed.client.delete(persistentVolumeClaims, 'raw', { namespace });
  await untilTrue(async () => bed.engine.diskVolumes.list().length === 0, 60);
});

test('a device that an administrator made a volume of, where the node allows it', async () => {
  const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: [bed.nodeName] };
  const nodeAffinity = { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } };
  const common = { accessModes: ['ReadWriteOnce'], storageClassName: '', volumeMode: 'Block' };
  const sources = { local: { local: { path: device }, nodeAffinity }, path: { hostPath: { path: device } } };
  for (const [name, source] of Object.entries(sources)) {
    await bed.client.create(persistentVolumes, {
      metadata: { name },
      spec: { ...common, capacity: { storage: '16Mi' }, ...source },
    });
    await claim(name, { ...common, volumeName: name });
    await create(name, { claimName: name, device: '/dev/xvda' });
  }
  await ready('local');
  await sh('local', write('disk'));
  assert.equal(
    execFileSync('dd', ['bs=1', 'skip=4096', 'count=4', `if=${device}`], { stdio: 'pipe' }).toString(),
    'disk',
  );
  await eventOf('path', 'FailedMapVolume', /"path" is of a kind that this node cannot give as a device/);
  for (const name of Object.keys(sources)) await remove(name);
});
