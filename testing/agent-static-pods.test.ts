/** Pods from files of the node: they run whatever the API says, are shown there by mirrors, and follow their files. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import { nodes, pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './until.ts';
import { isReady } from './pods.ts';

const namespace = 'kube-system';
let directory: string;
let bed: AgentFixture;
/** As the mirror is called. */
let name: string;

const manifest = (word: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: beacon, namespace: ${namespace}, labels: { tier: node } }
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: fixtures.invalid/busybox:latest
      imagePullPolicy: IfNotPresent
      command: [sh, -c, 'echo ${word}; trap "exit 0" TERM; while true; do sleep 0.05; done']
`;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sampan-static-'));
  await writeFile(join(directory, 'beacon.yaml'), manifest('first'));
  await writeFile(join(directory, 'broken.yaml'), 'kind: [');
  bed = await agentFixture(await claimOctet(), { staticPods: directory });
  name = `beacon-${bed.nodeName}`;
  await bed.client
    .request({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name: namespace } } })
    .catch(() => undefined);
});
after(async () => {
  await bed.close();
  await rm(directory, { recursive: true });
});

const idOf = (pod: Stored<Pod>): string | undefined => pod.status?.containerStatuses?.[0]?.containerID;
const said = async (): Promise<string> => await text(await bed.client.podLog({ name, namespace }, {}));

test('a file is a pod, and its mirror shows it', async () => {
  const pod = await bed.until(name, 'Ready', isReady);
  const node = await bed.client.get(nodes, bed.nodeName);
  assert.equal(pod.metadata.annotations?.['kubernetes.io/config.source'], 'file');
  assert.ok(pod.metadata.annotations?.['kubernetes.io/config.mirror']);
  assert.deepEqual(
    pod.metadata.ownerReferences?.map(({ kind, uid }) => [kind, uid]),
    [['Node', node.metadata.uid]],
  );
  assert.deepEqual(pod.metadata.labels, { tier: 'node' });
  await until(async () => (await said()) === 'first\n');
});

test('a mirror that is deleted comes back, and what runs does not notice', async () => {
  const before = await bed.until(name, 'Ready', isReady);
  await bed.client.delete(pods, name, { namespace });
  const again = await bed.until(
    name,
    'mirrored again',
    (pod) => pod?.metadata.uid !== before.metadata.uid && pod?.metadata.deletionTimestamp === undefined && isReady(pod),
  );
  assert.equal(idOf(again), idOf(before));
  assert.equal(again.status?.containerStatuses?.[0]?.restartCount, 0);
});

test('a restarted agent takes it up again, and a process that was killed meanwhile is restarted', async () => {
  const before = await bed.until(name, 'Ready', isReady);
  await bed.stopNode();
  await bed.startNode();
  const same = await bed.until(name, 'Ready', isReady);
  assert.equal(idOf(same), idOf(before));
  const { pid = 0 } = bed.engine.container(idOf(same)?.replace('sampan://', '') ?? '') ?? {};
  process.kill(pid, 'SIGKILL');
  await bed.until(name, 'restarted', (pod) => isReady(pod) && pod?.status?.containerStatuses?.[0]?.restartCount === 1);
});

test('another manifest is another pod, and no file is none', async () => {
  const before = await bed.until(name, 'Ready', isReady);
  await writeFile(join(directory, 'beacon.yaml'), manifest('second'));
  const after = await bed.until(
    name,
    'the new one',
    (pod) => isReady(pod) && pod?.metadata.uid !== before.metadata.uid,
  );
  assert.notEqual(idOf(after), idOf(before));
  await until(async () => (await said()) === 'second\n');
  assert.equal(bed.engine.sandboxes().length, 1, 'the old one has ended');
  await rm(join(directory, 'beacon.yaml'));
  await bed.until(name, 'gone', (pod) => pod === undefined);
});

test('no API server is needed', async () => {
  await bed.stopNode();
  await writeFile(join(directory, 'beacon.yaml'), manifest('alone'));
  await bed.startNode({ offline: true });
  const running = () => bed.engine.containers().find(({ state }) => state === 'running');
  await until(async () => running() !== undefined);
  const id = running()?.id;
  await bed.stopNode();
  await bed.startNode();
  const pod = await bed.until(name, 'shown at last', isReady);
  assert.equal(idOf(pod), `sampan://${id}`);
});
