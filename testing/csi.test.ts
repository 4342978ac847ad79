/** A CSI driver on a real node: taken in, attached, staged, published, expanded, and all of it taken back, whatever is killed meanwhile. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { promisify } from 'node:util';
import type { Informer } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import {
  csiDrivers,
  csiNodes,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  secrets,
  volumeAttachments,
} from '#cluster/kinds/resources.ts';
import type { PersistentVolumeSpec, PodSpec, Volume } from '#cluster/kinds/types/core.ts';
import type { VolumeAttachment } from '#cluster/kinds/types/storage.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { type CsiCall, type TestCsiDriver, testCsiDriver } from './csi-driver.ts';
import { until as untilTrue } from './until.ts';
import { isReady, untilEvent } from './pods.ts';

const namespace = 'default';
const name = 'hostpath.test.example';
let bed: AgentFixture;
let directory = '';
let driver: TestCsiDriver;
/** What the driver's external-attacher would do. */
let attachments: Informer<VolumeAttachment>;
let attaches = true;

const dataDirectory = (): string => bed.api.agent.dataDirectory;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'sampan-csi-'));
  bed = await agentFixture(await claimOctet(), { storage: true, inCluster: true, renewTokensAfter: 1000 });
  driver = testCsiDriver({
    name,
    directory,
    registry: join(dataDirectory(), 'plugins_registry'),
    nodeId: 'the-node',
    maxVolumes: 7,
    topology: { 'topology.test.example/rack': 'r1' },
  });
  attachments = createInformer(bed.client, volumeAttachments);
  attachments.onChange((now) => void (now && attach(now).catch(() => undefined)));
});
after(async () => {
  attachments?.close();
  await bed?.close();
  // Whatever a failed test left.
  for (const target of mountsBelow(bed?.api.directory ?? directory).reverse()) execFileSync('umount', [target]);
  await driver?.stop();
  rmSync(directory, { recursive: true, force: true });
});
afterEach(async () => {
  driver.refusal = undefined;
  driver.problem = undefined;
  const { items } = await bed.client.list(pods, { namespace });
  await Promise.all(items.map(({ metadata }) => remove(metadata.name)));
});

async function attach({ metadata, status }: Stored<VolumeAttachment>): Promise<void> {
  if (!attaches || status?.attached === true || metadata.deletionTimestamp !== undefined) return;
  const body = { status: { attached: true, attachmentMetadata: { device: 'd1' } } };
  await bed.client.patch(volumeAttachments, metadata.name, { type: 'merge', body }, { subresource: 'status' });
}

async function claim(volume: string, more: Partial<PersistentVolumeSpec> = {}, csi = {}): Promise<void> {
  await bed.client.create(persistentVolumes, {
    metadata: { name: volume },
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage: '1Gi' },
      claimRef: { namespace, name: volume },
      csi: { driver: name, volumeHandle: `handle-${volume}`, ...csi },
      ...more,
    },
  });
  await bed.client.create(persistentVolumeClaims, {
    metadata: { name: volume, namespace },
    spec: {
      accessModes: more.accessModes ?? ['ReadWriteOnce'],
      volumeMode: more.volumeMode ?? 'Filesystem',
      resources: { requests: { storage: '1Gi' } },
      storageClassName: '',
      volumeName: volume,
    },
  });
}

async function create(pod: string, source: Omit<Volume, 'name'>, more: Partial<PodSpec> = {}): Promise<void> {
  await bed.client.create(pods, {
    metadata: { name: pod, namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image: bed.image,
          imagePullPolicy: 'IfNotPresent',
          command: ['sh', '-c', 'hostname >> /data/hosts; sleep 1000'],
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'data', ...source }],
      ...more,
    },
  });
}

const ofClaim = (claimName: string) => ({ persistentVolumeClaim: { claimName } });
const ready = async (pod: string) => await bed.until(pod, 'Ready', isReady, 60);

async function remove(pod: string): Promise<void> {
  const { uid } = (await bed.client.get(pods, pod, namespace)).metadata;
  await bed.client.delete(pods, pod, { namespace, gracePeriodSeconds: 0 });
  await bed.until(pod, 'gone', (found) => found === undefined, 60);
  // Its containers go, then what it had.
  await untilTrue(async () => !existsSync(join(dataDirectory(), 'pods', uid)), 60);
}

const eventOf = (name: string, reason: string, pattern: RegExp) =>
  untilEvent(bed.client, { name, namespace }, { reason, pattern });

const callsOf = (method: string): CsiCall[] => driver.calls.filter((call) => call.method === method);
const mountsBelow = (path: string): string[] =>
  readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((target) => target.startsWith(`${path}/`));
const inUse = async () => (await bed.client.get(nodes, bed.nodeName)).status?.volumesInUse ?? [];
const attached = async () => (await bed.client.get(nodes, bed.nodeName)).status?.volumesAttached ?? [];

test('a driver is taken in when its socket appears: the CSINode and the Node say what it says of the node', async () => {
  await driver.start();
  const [own] = await until(bed.client, csiNodes, undefined, ([one]) => (one?.spec.drivers ?? []).length === 1);
  assert.equal(own?.metadata.name, bed.nodeName);
  assert.equal(own?.metadata.ownerReferences?.[0]?.kind, 'Node');
  assert.deepEqual(own?.spec.drivers, [
    { name, nodeID: 'the-node', topologyKeys: ['topology.test.example/rack'], allocatable: { count: 7 } },
  ]);
  const { metadata } = await bed.client.get(nodes, bed.nodeName);
  assert.equal(metadata.labels?.['topology.test.example/rack'], 'r1');
  assert.equal(metadata.annotations?.['csi.volume.kubernetes.io/nodeid'], JSON.stringify({ [name]: 'the-node' }));
  await untilTrue(async () => driver.registered.length === 1);
  assert.deepEqual(driver.registered, ['']);
  const { stdout } = await promisify(execFile)('kubectl', ['--kubeconfig', bed.kubeconfig, 'get', 'csinodes']);
  assert.match(stdout, new RegExp(`${bed.nodeName}\\s+1\\s`));
});

test('a plugin that is none of CSI, or too new, is told so', async () => {
  const newer = testCsiDriver({
    name: 'not_a_name',
    directory: join(directory, 'newer'),
    registry: join(dataDirectory(), 'plugins_registry'),
    nodeId: 'n',
  });
  await newer.start();
  await untilTrue(async () => newer.registered.length > 0);
  assert.match(newer.registered[0] ?? '', /"not_a_name" is no name of a CSI driver/);
  await newer.stop();
});

test('a volume is attached, staged once and published for each pod, and all of it goes with the last', async () => {
  await bed.client.create(csiDrivers, { metadata: { name }, spec: { podInfoOnMount: true, fsGroupPolicy: 'File' } });
  await bed.client.create(secrets, { metadata: { name: 'login', namespace }, stringData: { user: 'me' } });
  const secretRef = { name: 'login', namespace };
  await claim(
    'vol',
    { mountOptions: ['noatime'], accessModes: ['ReadWriteOnce', 'ReadWriteMany'] },
    {
      fsType: 'ext4',
      volumeAttributes: { tier: 'fast' },
      nodeStageSecretRef: secretRef,
      nodePublishSecretRef: secretRef,
    },
  );
  attaches = false;
  await create('one', ofClaim('vol'), { securityContext: { fsGroup: 2345 } });
  await eventOf('one', 'FailedMount', /volume "vol": it is not attached to this node yet/);
  const [wish] = await until(bed.client, volumeAttachments, undefined, (items) => items.length === 1);
  assert.deepEqual(wish?.spec, {
    attacher: name,
    nodeName: bed.nodeName,
    source: { persistentVolumeName: 'vol' },
  });
  assert.deepEqual(callsOf('NodeStageVolume'), []);
  const attachError = { message: 'the array is away' };
  const failed = { body: { status: { attachError } }, type: 'merge' as const };
  await bed.client.patch(volumeAttachments, wish?.metadata.name ?? '', failed, { subresource: 'status' });
  await eventOf('one', 'FailedMount', /volume "vol": the array is away/);
  attaches = true;
  for (const attachment of attachments.list()) await attach(attachment);
  const pod = await ready('one');
  await eventOf('one', 'SuccessfulAttachVolume', /AttachVolume.Attach succeeded for volume "vol"/);
  await untilTrue(async () => (await attached()).length > 0);
  assert.deepEqual(await attached(), [{ name: `kubernetes.io/csi/${name}^handle-vol`, devicePath: '' }]);
  const staging = join(dataDirectory(), 'plugins/kubernetes.io/csi', name);
  const [stage] = callsOf('NodeStageVolume');
  const capability = { fsType: 'ext4', flags: ['noatime'], mode: 1 };
  assert.deepEqual(
    { ...stage?.fields, 3: '' },
    { 1: 'handle-vol', 2: { device: 'd1' }, 3: '', 4: capability, 5: { user: 'me' }, 6: { tier: 'fast' } },
  );
  assert.ok(String(stage?.fields[3]).startsWith(`${staging}/`) && String(stage?.fields[3]).endsWith('/globalmount'));
  const [publish] = callsOf('NodePublishVolume');
  const target = join(dataDirectory(), 'pods', pod.metadata.uid, 'volumes/kubernetes.io~csi/vol/mount');
  const info = {
    tier: 'fast',
    'csi.storage.k8s.io/pod.name': 'one',
    'csi.storage.k8s.io/pod.namespace': namespace,
    'csi.storage.k8s.io/pod.uid': pod.metadata.uid,
    'csi.storage.k8s.io/serviceAccount.name': pod.spec?.serviceAccountName ?? '',
    'csi.storage.k8s.io/ephemeral': 'false',
  };
  assert.deepEqual(publish?.fields, {
    1: 'handle-vol',
    2: { device: 'd1' },
    3: stage?.fields[3],
    4: target,
    5: capability,
    7: { user: 'me' },
    8: info,
  });
  const content = join(driver.volume('handle-vol'), 'hosts');
  // A container is ready before its shell has come to anything.
  const written = (): string => (existsSync(content) ? readFileSync(content, 'utf8') : '');
  await untilTrue(async () => written() === 'one\n');
  assert.equal(statSync(driver.volume('handle-vol')).gid, 2345);
  assert.deepEqual(await inUse(), [`kubernetes.io/csi/${name}^handle-vol`]);

  await create('two', ofClaim('vol'), { nodeName: bed.nodeName });
  await ready('two');
  await untilTrue(async () => written() === 'one\ntwo\n');
  assert.equal(callsOf('NodeStageVolume').length, 1);
  await remove('one');
  assert.deepEqual(callsOf('NodeUnpublishVolume')[0]?.fields, { 1: 'handle-vol', 2: target });
  assert.deepEqual(callsOf('NodeUnstageVolume'), []);
  await remove('two');
  await until(bed.client, volumeAttachments, undefined, (items) => items.length === 0);
  assert.equal(callsOf('NodeUnstageVolume').length, 1);
  assert.deepEqual(await inUse(), []);
  await untilTrue(async () => (await attached()).length === 0);
  assert.deepEqual(mountsBelow(dataDirectory()), []);
  assert.deepEqual(readdirSync(staging), []);
  assert.deepEqual(readdirSync(join(dataDirectory(), 'pods')), []);
  assert.equal(readFileSync(content, 'utf8'), 'one\ntwo\n', 'what it holds stays');
});

test('what a driver refuses is told by an event, and tried again', async () => {
  await claim('refused');
  driver.refusal = { method: 'NodeStageVolume', status: 13, message: 'the disk 100 % says no' };
  await create('waits', ofClaim('refused'));
  await eventOf('waits', 'FailedMount', /rpc error: code = Internal desc = the disk 100 % says no$/);
  driver.refusal = undefined;
  await ready('waits');
  await remove('waits');
});

test('a pod whose volume cannot be given back stays until it can', async () => {
  await claim('held');
  await create('leaves', ofClaim('held'));
  await ready('leaves');
  driver.refusal = { method: 'NodeUnpublishVolume', status: 9, message: 'busy' };
  const before = callsOf('NodeUnpublishVolume').length;
  await bed.client.delete(pods, 'leaves', { namespace, gracePeriodSeconds: 1 });
  await untilTrue(async () => callsOf('NodeUnpublishVolume').length > before, 60);
  assert.notEqual((await bed.client.get(pods, 'leaves', namespace)).metadata.deletionTimestamp, undefined);
  assert.ok((await inUse()).includes(`kubernetes.io/csi/${name}^handle-held`));
  driver.refusal = undefined;
  await bed.until('leaves', 'gone', (pod) => pod === undefined, 60);
});

test('a volume grows while a pod uses it', async () => {
  await claim('grows', {}, { nodeExpandSecretRef: { name: 'login', namespace } });
  await create('user', ofClaim('grows'));
  const { metadata } = await ready('user');
  const summary = await bed.client.request<{ pods: { podRef: { uid: string }; volume?: { time: string }[] }[] }>({
    method: 'GET',
    path: `/api/v1/nodes/${bed.nodeName}/proxy/stats/summary`,
  });
  const use = summary.pods.find(({ podRef }) => podRef.uid === metadata.uid)?.volume ?? [];
  assert.deepEqual(
    use.map(({ time: _now, ...one }) => one),
    [
      {
        name: 'data',
        pvcRef: { name: 'grows', namespace },
        ...{ capacityBytes: 1000, usedBytes: 400, availableBytes: 600 },
        ...{ inodes: 10, inodesUsed: 4, inodesFree: 6 },
        volumeHealthStats: { abnormal: false },
      },
    ],
  );
  driver.problem = 'the disk 3 % is bad';
  await eventOf('user', 'VolumeConditionAbnormal', /^Volume data: the disk 3 % is bad$/);
  // As an external-resizer leaves them.
  const capacity = { body: { spec: { capacity: { storage: '2Gi' } } }, type: 'merge' as const };
  await bed.client.patch(persistentVolumes, 'grows', capacity);
  const pending = [{ type: 'FileSystemResizePending', status: 'True' }];
  const status = { body: { status: { conditions: pending } }, type: 'merge' as const };
  await bed.client.patch(persistentVolumeClaims, 'grows', status, { namespace, subresource: 'status' });
  await until(bed.client, persistentVolumeClaims, namespace, (items) =>
    items.some(({ metadata: { name: own }, status: now }) => own === 'grows' && now?.capacity?.['storage'] === '2Gi'),
  );
  const [expand] = callsOf('NodeExpandVolume');
  assert.equal(expand?.fields[1], 'handle-grows');
  assert.deepEqual(expand?.fields[3], { required: 2 ** 31 });
  assert.deepEqual(expand?.fields[6], { user: 'me' });
  await eventOf('grows', 'FileSystemResizeSuccessful', /MountVolume.NodeExpandVolume succeeded for volume "grows"/);
});

test('a block volume: staged and published as a device, given at its path, and taken back', async () => {
  await claim('raw', { volumeMode: 'Block' }, { fsType: 'ext4' });
  const image = driver.image('handle-raw');
  writeFileSync(image, 'given', { flag: 'r+' });
  await create('device', ofClaim('raw'), {
    securityContext: { fsGroup: 2345 },
    containers: [
      {
        name: 'main',
        image: bed.image,
        imagePullPolicy: 'IfNotPresent',
        command: ['sh', '-c', 'stat -c %F /dev/xvda; dd if=/dev/xvda bs=5 count=1 2>/dev/null; echo; sleep 1000'],
        volumeDevices: [{ name: 'data', devicePath: '/dev/xvda' }],
      },
    ],
  });
  const { metadata } = await ready('device');
  const own = join(dataDirectory(), 'plugins/kubernetes.io/csi/volumeDevices');
  const paths = { staging: join(own, 'staging/raw'), target: join(own, 'publish/raw', metadata.uid) };
  const [stage, publish] = ['NodeStageVolume', 'NodePublishVolume'].map((method) => callsOf(method).at(-1)?.fields);
  const capability = { block: true, fsType: '', flags: [], mode: 1 };
  assert.deepEqual([stage?.[3], stage?.[4]], [paths.staging, capability]);
  assert.deepEqual([publish?.[3], publish?.[4], publish?.[5]], [paths.staging, paths.target, capability]);
  const logs = async () =>
    (await promisify(execFile)('kubectl', ['--kubeconfig', bed.kubeconfig, 'logs', 'device'])).stdout;
  await untilTrue(async () => (await logs()) === 'block special file\ngiven\n', 60);
  await remove('device');
  assert.deepEqual(callsOf('NodeUnpublishVolume').at(-1)?.fields, { 1: 'handle-raw', 2: paths.target });
  assert.deepEqual(callsOf('NodeUnstageVolume').at(-1)?.fields, { 1: 'handle-raw', 2: paths.staging });
  assert.equal(existsSync(own) && readdirSync(own, { recursive: true }).length > 0, false);
  assert.equal(readFileSync(image, 'utf8').slice(0, 5), 'given');
});

test('a volume in the pod itself: of a driver that has such', async () => {
  await create('inline', { csi: { driver: name, volumeAttributes: { size: '1' } } }, { nodeName: bed.nodeName });
  await eventOf('inline', 'FailedMount', /volume mode "Ephemeral" not supported by driver/);
  await remove('inline');
  await bed.client.delete(csiDrivers, name);
  const modes = ['Persistent', 'Ephemeral'];
  await bed.client.create(csiDrivers, {
    metadata: { name },
    spec: {
      podInfoOnMount: true,
      volumeLifecycleModes: modes,
      attachRequired: false,
      requiresRepublish: true,
      tokenRequests: [{ audience: 'vault', expirationSeconds: 600 }],
    },
  });
  const csi = {
    driver: name,
    fsType: 'xfs',
    readOnly: true,
    nodePublishSecretRef: { name: 'login' },
    volumeAttributes: { size: '1' },
  };
  await create('inline', { csi }, { nodeName: bed.nodeName });
  const pod = await ready('inline');
  const publish = callsOf('NodePublishVolume').at(-1);
  assert.match(String(publish?.fields[1]), /^csi-[0-9a-f]{64}$/);
  assert.equal(publish?.fields[3], undefined, 'it is staged nowhere');
  assert.deepEqual(
    [publish?.fields[5], publish?.fields[6], publish?.fields[7]],
    [{ fsType: 'xfs', flags: [], mode: 1 }, 1, { user: 'me' }],
  );
  const context = publish?.fields[8] as Record<string, string> | undefined;
  assert.equal(context?.['csi.storage.k8s.io/ephemeral'], 'true');
  assert.equal(context?.['size'], '1');
  const tokens = JSON.parse(context?.['csi.storage.k8s.io/serviceAccount.tokens'] ?? '{}') as Record<
    string,
    { token: string; expirationTimestamp: string }
  >;
  const claims = JSON.parse(Buffer.from(tokens['vault']?.token.split('.')[1] ?? '', 'base64url').toString()) as {
    aud: string[];
    'kubernetes.io': { pod: { uid: string } };
  };
  assert.deepEqual([claims.aud, claims['kubernetes.io'].pod.uid], [['vault'], pod.metadata.uid]);
  assert.ok(Date.parse(tokens['vault']?.expirationTimestamp ?? '') > Date.now());
  assert.equal(
    publish?.fields[4],
    join(dataDirectory(), 'pods', pod.metadata.uid, 'volumes/kubernetes.io~csi/data/mount'),
  );
  assert.deepEqual(await inUse(), []);
  // Published again and again, with a new token: what the pod has changes in place.
  const again = () => callsOf('NodePublishVolume').filter(({ fields }) => fields[4] === publish?.fields[4]);
  await untilTrue(async () => again().length >= 3, 60);
  assert.ok(again().every(({ fields }) => JSON.stringify(fields[8]).includes('serviceAccount.tokens')));
  driver.refusal = { method: 'NodePublishVolume', status: 14, message: 'not now' };
  await eventOf('inline', 'FailedMount', /code = Unavailable desc = not now$/);
  driver.refusal = undefined;
  const { length } = again();
  await untilTrue(async () => again().length > length, 60);
  assert.equal((await bed.client.get(pods, 'inline', namespace)).status?.containerStatuses?.[0]?.restartCount, 0);
  const quiet = { spec: { requiresRepublish: false } };
  await bed.client.patch(csiDrivers, name, { type: 'merge', body: quiet });
});

test('an agent that was away takes up what runs, and takes back what pods left meanwhile, as soon as the driver is there', async () => {
  for (const volume of ['stays', 'left']) {
    await claim(volume);
    await create(`of-${volume}`, ofClaim(volume));
    await ready(`of-${volume}`);
  }
  writeFileSync(join(driver.volume('handle-left'), 'precious'), 'data');
  await driver.stop();
  await bed.stopNode();
  await bed.client.delete(pods, 'of-left', { namespace, gracePeriodSeconds: 0 });
  await bed.startNode();
  const [own] = await until(bed.client, csiNodes, undefined, ([one]) => (one?.spec.drivers ?? []).length === 1);
  assert.equal(own?.spec.drivers[0]?.name, name, 'nobody said that it is gone');
  await driver.start();
  await untilTrue(async () => !(await inUse()).includes(`kubernetes.io/csi/${name}^handle-left`), 60);
  assert.ok((await inUse()).includes(`kubernetes.io/csi/${name}^handle-stays`));
  assert.equal(readFileSync(join(driver.volume('handle-left'), 'precious'), 'utf8'), 'data');
  assert.equal((await bed.client.get(pods, 'of-stays', namespace)).status?.containerStatuses?.[0]?.restartCount, 0);
  await remove('of-stays');
  assert.deepEqual(mountsBelow(dataDirectory()), []);
});

test('a driver that goes is no more in the CSINode, and pods wait for it', async () => {
  await driver.stop();
  await until(bed.client, csiNodes, undefined, ([one]) => (one?.spec.drivers ?? []).length === 0);
  await claim('late');
  await create('patient', ofClaim('late'), { nodeName: bed.nodeName });
  await eventOf(
    'patient',
    'FailedMount',
    new RegExp(`driver name ${name} not found in the list of registered CSI drivers`),
  );
  await driver.start();
  await ready('patient');
  await remove('patient');
});
