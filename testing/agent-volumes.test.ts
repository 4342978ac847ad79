/** Volumes of pods on a real engine: what they hold, who may write, and what happens to them while the pod runs. */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import {
  configMaps,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  secrets,
  storageClasses,
} from '#cluster/kinds/resources.ts';
import type { Container, PodSpec } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import { until as untilTrue } from './until.ts';
import { isReady, shellIn, untilEvent } from './pods.ts';

const namespace = 'default';
let bed: AgentFixture;
let host = '';

before(async () => {
  host = mkdtempSync(join(tmpdir(), 'sampan-host-path-'));
  bed = await agentFixture(await claimOctet(), { storage: true, policy: { hostPaths: [host] } });
});
after(async () => {
  await bed?.close();
  rmSync(host, { recursive: true, force: true });
});
afterEach(async () => {
  const { items } = await bed.client.list(pods, { namespace });
  await Promise.all(items.map(({ metadata }) => remove(metadata.name)));
});

type Request = Omit<Partial<PodSpec>, 'containers'> & { containers: Partial<Container>[] };

/** On this node at once, or (`scheduled`) where the scheduler puts it. */
async function create(
  name: string,
  { scheduled, ...spec }: Request & { scheduled?: boolean },
  annotations = {},
): Promise<void> {
  const containers = spec.containers.map((container, index) => ({
    name: `c${index}`,
    image: bed.image,
    imagePullPolicy: 'IfNotPresent',
    command: ['sleep', '1000'],
    ...container,
  }));
  await bed.client.create(pods, {
    metadata: { name, namespace, annotations },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...(scheduled !== true && { nodeName: bed.nodeName }),
      ...spec,
      containers,
    },
  });
}

async function remove(name: string): Promise<void> {
  await bed.client.delete(pods, name, { namespace, gracePeriodSeconds: 0 });
  await bed.until(name, 'gone', (pod) => pod === undefined);
  await untilTrue(async () => !bed.engine.sandboxes().some((one) => one.name.startsWith(`${namespace}/${name}/`)));
}

const ready = (name: string) => bed.until(name, 'Ready', isReady);

const sh = (name: string, script: string, container = 'c0') =>
  shellIn(bed.client, { name, namespace }, script, container);

/** Resolves with the message of the pod's event. */
const eventOf = (name: string, reason: string, pattern: RegExp) =>
  untilEvent(bed.client, { name, namespace }, { reason, pattern });

const config = (name: string, data: Record<string, string>, more = {}) =>
  bed.client.create(configMaps, { metadata: { name, namespace }, data, ...more });

test('emptyDir: shared by the containers, of its size, and as it was after a restart', async () => {
  await create('scratch', {
    containers: [
      {
        volumeMounts: [
          { name: 'disk', mountPath: '/disk' },
          { name: 'memory', mountPath: '/memory' },
          { name: 'limited', mountPath: '/limited' },
        ],
        resources: { limits: { memory: '32Mi' } },
      },
      {
        volumeMounts: [
          { name: 'disk', mountPath: '/part', subPathExpr: '$(HOSTNAME_OF)/x' },
          { name: 'disk', mountPath: '/seen', readOnly: true, recursiveReadOnly: 'Enabled' },
        ],
        resources: { limits: { memory: '32Mi' } },
        env: [{ name: 'HOSTNAME_OF', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
      },
    ],
    volumes: [
      { name: 'disk', emptyDir: { sizeLimit: '16Mi' } },
      { name: 'memory', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
      { name: 'limited', emptyDir: { medium: 'Memory' } },
    ],
  });
  const pod = await ready('scratch');
  assert.equal(
    await sh('scratch', 'stat -c "%u:%g %a" /disk; ls -A /disk; echo one > /disk/scratch/x/file'),
    '0:0 777\nscratch',
  );
  assert.equal(
    await sh('scratch', 'cat /part/file /seen/scratch/x/file; touch /seen/x', 'c1'),
    'one\none\ntouch: /seen/x: Read-only file system',
  );
  const fill = (directory: string) =>
    sh('scratch', `dd if=/dev/zero of=${directory}/fill bs=1M count=32 2>&1 | grep -o "No space.*"`);
  assert.equal(await fill('/disk'), 'No space left on device');
  assert.equal(await fill('/memory'), 'No space left on device');
  assert.equal(
    await sh('scratch', 'df -m /limited | tail -1 | tr -s " " | cut -d " " -f 2'),
    '64',
    'what the pod may have',
  );
  interface Summary {
    pods: { podRef: { name: string }; volume?: { name: string; capacityBytes: number; usedBytes: number }[] }[];
  }
  const path = `/api/v1/nodes/${bed.nodeName}/proxy/stats/summary`;
  const { pods: all } = await bed.client.request<Summary>({ method: 'GET', path });
  const volumes = all.find(({ podRef }) => podRef.name === 'scratch')?.volume ?? [];
  assert.deepEqual(
    volumes.map(({ name, capacityBytes, usedBytes }) => [name, capacityBytes <= 2 ** 24, usedBytes > 2 ** 23]),
    [['disk', true, true]],
    'it was filled above',
  );
  await sh('scratch', 'kill -9 1').catch(() => '');
  const id = pod.status?.containerStatuses?.[0]?.containerID?.replace('sampan://', '') ?? '';
  process.kill(bed.engine.container(id)?.pid ?? 0, 'SIGKILL');
  await bed.until(
    'scratch',
    'restarted',
    (now) => isReady(now) && now?.status?.containerStatuses?.[0]?.restartCount === 1,
  );
  assert.equal(await sh('scratch', 'cat /disk/scratch/x/file; du -m /memory/fill | cut -f 1'), 'one\n1');
  await bed.reboot();
  await bed.until('scratch', 'back', (now) => isReady(now) && now?.status?.containerStatuses?.[0]?.restartCount === 2);
  assert.equal(
    await sh('scratch', 'cat /disk/scratch/x/file; ls -A /memory'),
    'one',
    'disk outlives a boot, memory does not',
  );
  await remove('scratch');
  await untilTrue(async () => bed.engine.diskVolumes.list().length === 0);
});

test('files follow their objects, all at once, but for those mounted by subPath; what is immutable stays', async () => {
  await config('live', { a: '1', b: '1', gone: 'x' });
  await config('fixed', { a: 'fixed' }, { immutable: true });
  await bed.client.create(secrets, { metadata: { name: 'keys', namespace }, stringData: { key: 'old' } });
  const items = [{ key: 'key', path: 'deep/key', mode: 0o400 }];
  await create(
    'files',
    {
      securityContext: { fsGroup: 3000 },
      containers: [
        {
          volumeMounts: [
            { name: 'config', mountPath: '/config' },
            { name: 'config', mountPath: '/one', subPath: 'a' },
            { name: 'all', mountPath: '/all' },
          ],
        },
      ],
      volumes: [
        { name: 'config', configMap: { name: 'live', defaultMode: 0o600 } },
        {
          name: 'all',
          projected: {
            sources: [
              { secret: { name: 'keys', items } },
              { configMap: { name: 'fixed' } },
              { configMap: { name: 'later', optional: true } },
              { downwardAPI: { items: [{ path: 'note', fieldRef: { fieldPath: "metadata.annotations['note']" } }] } },
            ],
          },
        },
      ],
    },
    { note: 'first' },
  );
  await ready('files');
  assert.equal(
    await sh('files', 'stat -Lc "%u:%g %a" /config/a /all/deep/key; readlink /config/a'),
    '0:3000 640\n0:3000 440\n..data/a',
  );
  const wait = (condition: string) =>
    sh('files', `i=0; until ${condition}; do sleep 0.05; i=$((i+1)); [ $i = 200 ] && exit 1; done; echo yes`);
  await bed.client.patch(
    configMaps,
    'live',
    { type: 'merge', body: { data: { a: '2', b: '2', gone: null } } },
    { namespace },
  );
  assert.equal(await wait('[ "$(cat /config/a)" = 2 ]'), 'yes');
  assert.equal(await sh('files', 'cat /config/b /one; ls /config'), '21a\nb');
  await bed.client.patch(secrets, 'keys', { type: 'merge', body: { stringData: { key: 'new' } } }, { namespace });
  assert.equal(await wait('[ "$(cat /all/deep/key)" = new ]'), 'yes');
  await config('later', { optional: 'here' });
  assert.equal(await wait('[ -e /all/optional ]'), 'yes');
  await bed.client.patch(
    pods,
    'files',
    { type: 'merge', body: { metadata: { annotations: { note: 'second' } } } },
    { namespace },
  );
  assert.equal(await wait('[ "$(cat /all/note)" = second ]'), 'yes');
  await bed.stopNode();
  await bed.client.patch(configMaps, 'live', { type: 'merge', body: { data: { a: '3' } } }, { namespace });
  await bed.startNode();
  assert.equal(await wait('[ "$(cat /config/a)" = 3 ]'), 'yes', 'what changed while the agent was away');
});

test('what is missing is waited for, and told', async () => {
  const mount = (name: string) => ({ containers: [{ volumeMounts: [{ name, mountPath: '/v' }] }] });
  await create('no-config', { ...mount('v'), volumes: [{ name: 'v', configMap: { name: 'absent' } }] });
  await eventOf(
    'no-config',
    'FailedMount',
    /^MountVolume\.SetUp failed for volume "v" : configmap "absent" not found$/,
  );
  const waiting = await bed.until('no-config', 'waiting', (pod) => pod?.status?.containerStatuses?.[0] !== undefined);
  assert.equal(waiting.status?.containerStatuses?.[0]?.state?.waiting?.reason, 'ContainerCreating');
  await config('absent', { a: '1' });
  await ready('no-config');
  const items = [{ key: 'nope', path: 'x' }];
  await create('no-key', { ...mount('v'), volumes: [{ name: 'v', configMap: { name: 'absent', items } }] });
  await eventOf('no-key', 'FailedMount', /configmap references non-existent config key: nope/);
  await bed.client.patch(configMaps, 'absent', { type: 'merge', body: { data: { nope: '2' } } }, { namespace });
  await ready('no-key');
  assert.equal(await sh('no-key', 'ls /v; cat /v/x'), 'x\n2');
  await create('no-claim', { ...mount('v'), volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'absent' } }] });
  await eventOf(
    'no-claim',
    'FailedMount',
    /unmounted volumes=\[v\].*error processing PVC default\/absent: failed to fetch PVC.*not found/,
  );
});

test('hostPath where the node allows it: the type is checked, or made', async () => {
  writeFileSync(join(host, 'file'), 'of the host\n');
  const volume = (name: string, path: string, type: string) => ({ name, hostPath: { path: join(host, path), type } });
  await create('host', {
    containers: [
      {
        command: ['sh', '-c', 'cat /file; echo made > /made/x; sleep 1000'],
        volumeMounts: [
          { name: 'file', mountPath: '/file', readOnly: true },
          { name: 'made', mountPath: '/made', mountPropagation: 'HostToContainer' },
        ],
      },
    ],
    volumes: [volume('file', 'file', 'File'), volume('made', 'new/directory', 'DirectoryOrCreate')],
  });
  await ready('host');
  assert.equal(await sh('host', 'until cat /made/x 2>/dev/null | grep made; do sleep 0.05; done'), 'made');
  assert.equal(statSync(join(host, 'new/directory/x')).uid, 0);
  for (const [type, what] of [
    ['Directory', 'a directory'],
    ['Socket', 'a socket file'],
    ['BlockDevice', 'a block device'],
  ] as const) {
    const name = `wrong-${type.toLowerCase()}`;
    await create(name, {
      containers: [{ volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
      volumes: [volume('v', 'file', type)],
    });
    await eventOf(name, 'FailedMount', new RegExp(`hostPath type check failed: ${host}/file is not ${what}`));
  }
  symlinkSync('/etc', join(host, 'out'));
  const mount = { containers: [{ volumeMounts: [{ name: 'v', mountPath: '/v' }] }] };
  await create('leads-out', { ...mount, volumes: [volume('v', 'out/made-by-a-pod', 'DirectoryOrCreate')] });
  await eventOf('leads-out', 'FailedMount', /hostPath ".*" is not allowed on this node: it leads to "\/etc"/);
  assert.equal(existsSync('/etc/made-by-a-pod'), false);
  await create('elsewhere', { ...mount, volumes: [{ name: 'v', hostPath: { path: `${host}-not` } }] });
  const refused = await bed.until('elsewhere', 'refused', (pod) => pod?.status?.phase === 'Failed');
  assert.match(refused.status?.message ?? '', /volume "v": hostPath ".*-not" is not allowed on this node/);
});

test('a claim of the default class: made on the node of its first pod, kept, grown, and gone from the disk', async () => {
  const claim = (storage: string) => ({ spec: { resources: { requests: { storage } } } });
  await bed.client.create(persistentVolumeClaims, {
    metadata: { name: 'data', namespace },
    spec: { accessModes: ['ReadWriteOnce'], ...claim('32Mi').spec },
  });
  await eventOf('data', 'WaitForFirstConsumer', /waiting for first consumer/);
  const spec = {
    scheduled: true,
    securityContext: { runAsUser: 1000, fsGroup: 2000 },
    containers: [{ volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
    volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
  };
  await create('writer', spec);
  await ready('writer');
  assert.equal(
    await sh('writer', 'stat -c "%u:%g %a" /data; echo kept > /data/file; stat -c %u:%g /data/file'),
    '0:2000 2777\n1000:2000',
  );
  const [bound] = await until(bed.client, persistentVolumeClaims, namespace, ([one]) => one?.status?.phase === 'Bound');
  assert.equal(bound?.status?.capacity?.['storage'], '32Mi');
  const name = bound?.spec?.volumeName ?? '';
  await bed.client.patch(persistentVolumeClaims, 'data', { type: 'merge', body: claim('96Mi') }, { namespace });
  await until(bed.client, persistentVolumes, undefined, ([one]) => one?.spec?.capacity?.['storage'] === '96Mi');
  await remove('writer');
  await untilTrue(async () => bed.engine.diskVolumes.list().every(({ mounted }) => !mounted));
  // With CAP_SYS_RESOURCE it has grown by now; without it grows for the next pod.
  await create('reader', spec);
  await ready('reader');
  const [grown] = await until(
    bed.client,
    persistentVolumeClaims,
    namespace,
    ([one]) => one?.status?.capacity?.['storage'] === '96Mi',
  );
  assert.deepEqual([grown?.metadata.uid, grown?.status?.conditions ?? []], [bound?.metadata.uid, []]);
  assert.equal(
    await sh('reader', 'cat /data/file; dd if=/dev/zero of=/data/fill bs=1M count=64 2>/dev/null; wc -c < /data/fill'),
    'kept\n67108864',
  );
  await bed.client.delete(persistentVolumeClaims, 'data', { namespace });
  const held = await bed.client.get(persistentVolumeClaims, 'data', namespace);
  assert.ok(held.metadata.deletionTimestamp, 'held while a pod uses it');
  await bed.stopNode();
  await bed.client.delete(pods, 'reader', { namespace, gracePeriodSeconds: 0 });
  await until(bed.client, persistentVolumeClaims, namespace, (claims) => claims.length === 0);
  await until(bed.client, persistentVolumes, undefined, ([volume]) => volume?.metadata.deletionTimestamp !== undefined);
  const [waiting] = await until(
    bed.client,
    persistentVolumes,
    undefined,
    ([volume]) => volume?.metadata.finalizers?.length === 1,
  );
  assert.equal(waiting?.metadata.name, name, 'it waits for its node');
  await bed.startNode();
  await until(bed.client, persistentVolumes, undefined, (volumes) => volumes.length === 0);
  await untilTrue(async () => bed.engine.diskVolumes.list().length === 0);
});

test('an ephemeral volume comes and goes with its pod', async () => {
  const claim = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '16Mi' } } };
  await create('own', {
    scheduled: true,
    containers: [{ volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
    volumes: [{ name: 'v', ephemeral: { volumeClaimTemplate: { spec: claim } } }],
  });
  await ready('own');
  assert.equal(await sh('own', 'echo mine > /v/file; cat /v/file'), 'mine');
  await remove('own');
  await until(bed.client, persistentVolumes, undefined, (all) => all.length === 0);
  await untilTrue(async () => bed.engine.diskVolumes.list().length === 0);
});

test('what is to be retained stays on the disk, and comes back with a volume that names it', async () => {
  await bed.client.create(storageClasses, {
    metadata: { name: 'keep' },
    provisioner: 'sampan.dev/local',
    reclaimPolicy: 'Retain',
  });
  const spec = {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: '16Mi' } },
    storageClassName: 'keep',
  };
  await bed.client.create(persistentVolumeClaims, { metadata: { name: 'first', namespace }, spec });
  const pod = (claimName: string) => ({
    scheduled: true,
    containers: [{ volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
    volumes: [{ name: 'v', persistentVolumeClaim: { claimName } }],
  });
  await create('writes', pod('first'));
  await ready('writes');
  await sh('writes', 'echo kept > /v/file');
  await remove('writes');
  await bed.client.delete(persistentVolumeClaims, 'first', { namespace });
  const [old] = await until(bed.client, persistentVolumes, undefined, ([one]) => one?.status?.phase === 'Released');
  await bed.client.delete(persistentVolumes, old?.metadata.name ?? '');
  await until(bed.client, persistentVolumes, undefined, (all) => all.length === 0);
  const { claimRef: _gone, ...again } = old?.spec ?? {};
  await bed.client.create(persistentVolumes, {
    metadata: { name: 'again', labels: old?.metadata.labels ?? {} },
    spec: again,
  });
  await bed.client.create(persistentVolumeClaims, {
    metadata: { name: 'second', namespace },
    spec: { ...spec, volumeName: 'again' },
  });
  await create('reads', pod('second'));
  await ready('reads');
  assert.equal(await sh('reads', 'cat /v/file'), 'kept');
  await remove('reads');
  // Its disk was lost, or a backup was restored without it: an empty volume in its place would hide that.
  await bed.engine.diskVolumes.remove(again.csi?.volumeHandle ?? '');
  await create('lost', pod('second'));
  await eventOf('lost', 'FailedMount', /volume "pvc-.*" was made, and is not in .* any more/);
});

test('directories that an administrator made volumes of, where the node allows them', async () => {
  const hostname = { key: 'kubernetes.io/hostname', operator: 'In', values: [bed.nodeName] };
  const nodeAffinity = { required: { nodeSelectorTerms: [{ matchExpressions: [hostname] }] } };
  mkdirSync(join(host, 'disk'));
  const sources = {
    local: { local: { path: join(host, 'disk') }, nodeAffinity },
    'host-path': { hostPath: { path: join(host, 'made'), type: 'DirectoryOrCreate' } },
    outside: { hostPath: { path: '/etc' } },
    flagged: { local: { path: join(host, 'disk') }, mountOptions: ['noexec,noatime'], nodeAffinity },
    frozen: { local: { path: join(host, 'disk') }, mountOptions: ['ro'], nodeAffinity },
    'of-another': { local: { path: join(host, 'disk') }, mountOptions: ['barrier=0'], nodeAffinity },
    'of-none': { hostPath: { path: join(host, 'made'), type: 'DirectoryOrCreate' }, mountOptions: ['ro'] },
  };
  for (const [name, source] of Object.entries(sources)) {
    const common = { accessModes: ['ReadWriteOnce'], storageClassName: '' };
    await bed.client.create(persistentVolumes, {
      metadata: { name },
      spec: { ...common, capacity: { storage: '1Gi' }, ...source },
    });
    await bed.client.create(persistentVolumeClaims, {
      metadata: { name, namespace },
      spec: { ...common, volumeName: name, resources: { requests: { storage: '1Gi' } } },
    });
    await create(name, {
      scheduled: true,
      containers: [{ volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
      volumes: [{ name: 'v', persistentVolumeClaim: { claimName: name } }],
    });
  }
  await ready('local');
  await sh('local', 'echo there > /v/file');
  assert.equal(readFileSync(join(host, 'disk', 'file'), 'utf8'), 'there\n');
  await ready('host-path');
  await eventOf('outside', 'FailedMount', /hostPath "\/etc" is not allowed on this node/);
  const optionsOf = async (name: string) => {
    await ready(name);
    const line = (await sh(name, 'cat /proc/self/mounts')).split('\n').find((one) => one.split(' ')[1] === '/v');
    return (line?.split(' ')[3] ?? '').split(',');
  };
  const flagged = await optionsOf('flagged');
  assert.deepEqual(
    ['rw', 'noexec', 'noatime', 'nosuid'].filter((one) => !flagged.includes(one)),
    [],
    flagged.join(),
  );
  assert.equal((await optionsOf('frozen'))[0], 'ro');
  await eventOf(
    'of-another',
    'FailedMount',
    /mount option "barrier=0" is not supported for a directory: use ro, noexec or noatime/,
  );
  await eventOf('of-none', 'FailedMount', /Mount options are not supported for this volume type/);
});

test('an emptyDir of a pod that went while the agent was away goes too', async () => {
  await create('leaves', {
    containers: [{ volumeMounts: [{ name: 'v', mountPath: '/v' }] }],
    volumes: [{ name: 'v', emptyDir: {} }],
  });
  await ready('leaves');
  const scratch = () => bed.engine.diskVolumes.list().filter(({ kind }) => kind === 'scratch');
  assert.equal(scratch().length, 1);
  await bed.stopNode();
  await bed.client.delete(pods, 'leaves', { namespace, gracePeriodSeconds: 0 });
  await bed.startNode();
  await untilTrue(async () => scratch().length === 0);
});
