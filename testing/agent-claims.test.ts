/** What a node does with claims beyond a directory for whoever asks: volumes of one pod at a time, and volumes that are devices. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { persistentVolumeClaims, persistentVolumes, pods } from '#cluster/kinds/resources.ts';
import type { PersistentVolumeClaimSpec, PersistentVolumeSpec, Pod, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { until as untilTrue } from './until.ts';
import { isReady, shellIn, untilEvent } from './pods.ts';

const namespace = 'default';
let bed: AgentFixture;
let directory = '';
/** Of this host, for volumes that an administrator makes. */
const disks: string[] = [];

const losetup = (...words: string[]): string => execFileSync('losetup', words, { encoding: 'utf8' }).trim();

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sampan-claims-'));
  for (const name of ['raw', 'files', 'swap', 'parts']) {
    execFileSync('truncate', ['-s', '16M', join(directory, name)]);
    disks.push(losetup('--find', '--show', join(directory, name)));
  }
  bed = await agentFixture(await claimOctet(), { storage: true, policy: { hostPaths: disks } });
});
after(async () => {
  // Whatever a failed test left.
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [source = '', target = ''] = line.split(' ');
    if (disks.includes(source)) execFileSync('umount', ['--lazy', target]);
  }
  await bed?.close();
  for (const disk of disks) losetup('--detach', disk);
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

/** As an administrator makes it of what the host has, with its claim. */
async function volume(name: string, volumeMode: string, source: Partial<PersistentVolumeSpec>): Promise<void> {
  const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: [bed.nodeName] };
  const nodeAffinity = { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } };
  const common = { accessModes: ['ReadWriteOnce'], storageClassName: '', volumeMode };
  const spec = { ...common, capacity: { storage: '16Mi' }, ...source, ...(source.local && { nodeAffinity }) };
  await bed.client.create(persistentVolumes, { metadata: { name }, spec });
  await claim(name, { ...common, volumeName: name });
}

test('a device that an administrator made a volume of, where the node allows it', async () => {
  const [device = ''] = disks;
  const sources = { local: { local: { path: device } }, path: { hostPath: { path: device } } };
  for (const [name, source] of Object.entries(sources)) {
    await volume(name, 'Block', source);
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

const restartsOf = (pod: Pod | undefined): number => pod?.status?.containerStatuses?.[0]?.restartCount ?? 0;

test('a device with files: a file system is made where there is none, mounted once for all pods, and given back', async () => {
  const [, device = ''] = disks;
  const isMounted = (): boolean => readFileSync('/proc/mounts', 'utf8').includes(`${device} `);
  await volume('files', 'Filesystem', { local: { path: device, fsType: 'ext3' }, mountOptions: ['noatime'] });
  await create('writer', { claimName: 'files' }, { securityContext: { fsGroup: 2345 } });
  await ready('writer');
  assert.match(await sh('writer', 'grep " /data " /proc/mounts'), / ext4 rw,([^ ]*,)?noatime/);
  const words = ['--probe', '--match-tag', 'TYPE', '--output', 'value', device];
  assert.equal(execFileSync('blkid', words, { encoding: 'utf8' }).trim(), 'ext3');
  assert.equal(await sh('writer', 'echo kept > /data/file; sync; stat -c %g /data'), '2345');
  await create('reader', { claimName: 'files', readOnly: true });
  await ready('reader');
  await remove('writer');
  assert.match(
    await sh('reader', 'cat /data/file; echo lost > /data/file 2>&1 || true'),
    /^kept\n.*Read-only file system$/s,
  );
  assert.ok(isMounted());
  await bed.stopNode();
  await bed.client.delete(pods, 'reader', { namespace, gracePeriodSeconds: 0 });
  await bed.startNode();
  await untilTrue(async () => !isMounted(), 60);
  await create('again', { claimName: 'files' });
  await ready('again');
  assert.equal(await sh('again', 'cat /data/file'), 'kept');
  await bed.reboot();
  await bed.until('again', 'Ready again', (pod) => isReady(pod) && restartsOf(pod) > 0, 60);
  assert.equal(await sh('again', 'cat /data/file'), 'kept');
  await remove('again');
  await untilTrue(async () => !isMounted(), 60);
});

test('what a device holds is never overwritten', async () => {
  const [, , swap = '', parts = ''] = disks;
  execFileSync('mkswap', [swap], { stdio: 'ignore' });
  // One partition of Linux, from the first mebibyte.
  const table = Buffer.alloc(512);
  table.set([0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0], 446);
  table.set([0x55, 0xaa], 510);
  writeFileSync(parts, table, { flag: 'r+' });
  const start = (path: string): Buffer => execFileSync('dd', ['bs=8192', 'count=1', `if=${path}`], { stdio: 'pipe' });
  const before = [swap, parts].map(start);
  await volume('swap', 'Filesystem', { local: { path: swap, fsType: 'ext4' } });
  await volume('parts', 'Filesystem', { local: { path: parts } });
  await volume('odd', 'Filesystem', { local: { path: parts, fsType: '../ext4' } });
  const says = {
    swap: /it holds swap, and fsType is ext4/,
    parts: /it holds a table of partitions \(dos\)/,
    odd: /fsType/,
  };
  for (const [name, pattern] of Object.entries(says)) {
    await create(name, { claimName: name });
    await eventOf(name, 'FailedMount', pattern);
    await remove(name);
  }
  assert.deepEqual([swap, parts].map(start), before);
});
