/** A StatefulSet with a volume for each pod, driven by a stock kubectl on a real node: what it wrote outlives pods, agent, engine and boot. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { kubectlOld } from './kubectl.ts';

let bed: AgentFixture;

before(async () => {
  if (kubectlOld) return;
  bed = await agentFixture(await claimOctet(), { storage: true });
});
after(() => bed?.close());

function kubectl(args: string[], input?: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      'kubectl',
      ['--kubeconfig', bed.kubeconfig, ...args],
      { timeout: 180_000 },
      (error, out, err) => {
        if (error) reject(new Error(`kubectl ${args.join(' ')}: ${err}`, { cause: error }));
        else resolve(out);
      },
    );
    child.stdin?.end(input === undefined ? undefined : JSON.stringify(input));
  });
}

const set = () => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'db' },
  spec: {
    serviceName: 'db',
    replicas: 2,
    selector: { matchLabels: { app: 'db' } },
    template: {
      metadata: { labels: { app: 'db' } },
      spec: {
        terminationGracePeriodSeconds: 1,
        securityContext: { runAsUser: 1000, fsGroup: 1000 },
        containers: [
          {
            name: 'main',
            image: bed.image,
            imagePullPolicy: 'IfNotPresent',
            command: ['sh', '-c', 'hostname >> /data/starts; sync; trap "exit 0" TERM; while :; do sleep 0.1; done'],
            volumeMounts: [{ name: 'data', mountPath: '/data' }],
          },
        ],
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

const isReady = (pod: Stored<Pod> | undefined): boolean =>
  pod?.metadata.deletionTimestamp === undefined &&
  (pod?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false);
const ready = (name: string, restarts: number) =>
  bed.until(
    name,
    `Ready after ${restarts} restarts`,
    (pod) => isReady(pod) && pod?.status?.containerStatuses?.[0]?.restartCount === restarts,
  );
const starts = async (name: string) =>
  (await kubectl(['exec', name, '--', 'cat', '/data/starts'])).split('\n').filter((line) => line === name).length;

test('data outlives the pod, the agent, the engine and a boot; then it goes with its claim', {
  skip: kubectlOld,
}, async () => {
  await kubectl(['apply', '-f', '-'], set());
  await kubectl(['rollout', 'status', 'statefulset/db', '--timeout=120s']);
  assert.match(
    await kubectl(['get', 'storageclass']),
    /local \(default\)\s+sampan\.dev\/local\s+Delete\s+WaitForFirstConsumer\s+true/,
  );
  const claims = await kubectl(['get', 'pvc', '--no-headers']);
  assert.match(claims, /data-db-0\s+Bound\s+pvc-\S+\s+16Mi\s+RWO\s+local/);
  assert.match(claims, /data-db-1\s+Bound/);
  assert.match(await kubectl(['describe', 'pv']), /Driver:\s+local\.sampan\.dev/);

  await kubectl(['delete', 'pod', 'db-0', '--timeout=120s']);
  await ready('db-0', 0);
  assert.equal(await starts('db-0'), 2, 'a new pod of the same name');
  await bed.stopNode();
  await bed.startNode();
  assert.equal(await starts('db-1'), 1, 'engine and agent were restarted, the pod was not');
  await bed.reboot();
  await ready('db-0', 1);
  assert.equal(await starts('db-0'), 3);
  await ready('db-1', 1);
  assert.equal(await starts('db-1'), 2);

  await kubectl(['scale', 'statefulset/db', '--replicas=1']);
  await bed.until('db-1', 'gone', (pod) => pod === undefined);
  await kubectl(['delete', 'pvc', 'data-db-1', '--timeout=120s']);
  await kubectl(['wait', '--for=delete', 'pv', '--all', '--timeout=1s']).catch(() => '');
  assert.match(await kubectl(['get', 'pvc', '--no-headers']), /^data-db-0\s+Bound/);
  await kubectl(['delete', 'statefulset/db', '--timeout=120s']);
  await kubectl(['delete', 'pvc', '--all', '--timeout=120s']);
  await kubectl(['wait', '--for=delete', 'pv', '--all', '--timeout=120s']);
  assert.deepEqual(bed.engine.diskVolumes.list(), []);
});
