/** The node agent and its engine killed with SIGKILL while a StatefulSet with volumes is churned: no file is lost, no volume is doubled. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Stored } from '#cluster/kinds/kind.ts';
import { persistentVolumeClaims, persistentVolumes, pods, statefulSets } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { purgeEngine } from '#engine/open.ts';
import { type AgentApiFixture, agentApiFixture } from './agent-api-fixture.ts';
import { agentProcess } from './agent-process.ts';
import { claimOctet } from './claim-octet.ts';
import { until } from './control-plane.ts';
import type { KillableProgram } from './killable.ts';

const rounds = 12;
const namespace = 'default';
const names = ['db-0', 'db-1'];
let api: AgentApiFixture;
let agent: KillableProgram;

before(async () => {
  api = await agentApiFixture(await claimOctet(), { storage: true });
  agent = agentProcess(api);
});
after(async () => {
  await agent.kill();
  await purgeEngine(api.engine);
  await api.close();
});

const isReady = (pod: Stored<Pod> | undefined): boolean =>
  pod?.metadata.deletionTimestamp === undefined &&
  (pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false);

async function inPod(name: string, script: string): Promise<string> {
  const session = await api.client.exec({ name, namespace }, { command: ['sh', '-c', script] });
  let said = '';
  for await (const chunk of session.stdout) said += String(chunk);
  await session.exited;
  return said.trim();
}

/** Each start of a pod writes its uid once, and syncs it. */
const script =
  'grep -qs "$UID_OF" /data/uids || echo "$UID_OF" >> /data/uids; sync; trap "exit 0" TERM; while :; do sleep 0.1; done';

test('killed at any moment of the lives of volumes', async () => {
  await agent.start();
  await api.client.create(statefulSets, {
    metadata: { name: 'db', namespace },
    spec: {
      serviceName: 'db',
      replicas: 2,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: { app: 'db' } },
      template: {
        metadata: { labels: { app: 'db' } },
        spec: {
          terminationGracePeriodSeconds: 1,
          securityContext: { fsGroup: 2000 },
          containers: [
            {
              name: 'main',
              image: 'fixtures.invalid/busybox:latest',
              imagePullPolicy: 'IfNotPresent',
              command: ['sh', '-c', script],
              env: [{ name: 'UID_OF', valueFrom: { fieldRef: { fieldPath: 'metadata.uid' } } }],
              volumeMounts: [
                { name: 'data', mountPath: '/data' },
                { name: 'scratch', mountPath: '/scratch' },
              ],
            },
          ],
          volumes: [{ name: 'scratch', emptyDir: { sizeLimit: '8Mi' } }],
        },
      },
      volumeClaimTemplates: [
        {
          metadata: { name: 'data' },
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '16Mi' } } },
        },
      ],
    },
  });
  const seen = new Map(names.map((name) => [name, new Set<string>()]));
  const bothReady = async (): Promise<void> => {
    for (const name of names) {
      const pod = await api.until(name, 'Ready', isReady, 180);
      seen.get(name)?.add(pod.metadata.uid);
    }
  };
  await bothReady();
  for (let round = 0; round < rounds; round += 1) {
    await api.client.delete(pods, names[round % 2] ?? '', { namespace });
    const storage = `${16 + round * 4}Mi`;
    const body = { spec: { resources: { requests: { storage } } } };
    await api.client.patch(persistentVolumeClaims, `data-${names[round % 2]}`, { type: 'merge', body }, { namespace });
    // Not a wait for anything: the moment of the kill is what varies.
    await delay(randomInt(1500));
    await agent.kill();
    agent.begin();
    if (round % 3 === 2) await bothReady();
  }
  await bothReady();
  for (const name of names) {
    const written = (await inPod(name, 'cat /data/uids')).split('\n');
    assert.equal(new Set(written).size, written.length, `${name}: a pod wrote twice`);
    for (const uid of seen.get(name) ?? []) assert.ok(written.includes(uid), `${name}: what ${uid} wrote is gone`);
  }
  assert.equal(imagesOf('.img').length, 2, imagesOf('.img').join(' '));
  assert.equal(imagesOf('.scratch').length, 2, imagesOf('.scratch').join(' '));
  await api.client.delete(statefulSets, 'db', { namespace, propagationPolicy: 'Background' });
  await until(api.client, pods, namespace, (list) => list.length === 0);
  for (const name of names) await api.client.delete(persistentVolumeClaims, `data-${name}`, { namespace });
  await until(api.client, persistentVolumes, undefined, (list) => list.length === 0);
  assert.deepEqual([...imagesOf('.img'), ...imagesOf('.scratch')], []);
  assert.equal(
    readFileSync('/proc/self/mounts', 'utf8').includes(`${api.engine.runDirectory}/engine/disk-volumes/`),
    false,
  );
});

/** What has a loop device, each once. */
function imagesOf(suffix: string): string[] {
  const loops = execFileSync('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE'], { encoding: 'utf8' });
  return loops
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith(`${api.engine.dataDirectory}/engine/disk-volumes/`) && line.endsWith(suffix));
}
