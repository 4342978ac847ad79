/** Pods that burn their cpu on a real node are measured, shown by `kubectl top`, and become more; idle, they become fewer. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { createAutoscalerController } from '#cluster/controllers/autoscaler.ts';
import { horizontalPodAutoscalers, statefulSets } from '#cluster/kinds/resources.ts';
import type { HorizontalPodAutoscaler } from '#cluster/kinds/types/autoscaling-v2.ts';
import type { ClientObject } from '#cluster/client/client.ts';
import { createInformer } from '#cluster/client/informer.ts';
import type { Stored, TypedResource } from '#cluster/kinds/kind.ts';
import { type AgentFixture, agentFixture } from './agent-fixture.ts';
import { claimOctet } from './claim-octet.ts';
import { kubectlMissing } from './kubectl.ts';
import { until } from './until.ts';

let bed: AgentFixture;

before(async () => {
  if (kubectlMissing) return;
  bed = await agentFixture(await claimOctet(), { storage: true, controllers: [createAutoscalerController()] });
});
after(() => bed?.close());

function kubectl(args: string[], input?: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    const all = ['--kubeconfig', bed.kubeconfig, ...args];
    const child = execFile('kubectl', all, { timeout: 60_000 }, (error, out, err) => {
      if (error) reject(new Error(`kubectl ${args.join(' ')}: ${err}`, { cause: error }));
      else resolve(out);
    });
    child.stdin?.end(input === undefined ? undefined : JSON.stringify(input));
  });
}

/** Ten minutes are forty looks of an autoscaler. */
async function becomes<T extends ClientObject>(
  resource: TypedResource<T>,
  is: (one: Stored<T>) => boolean,
): Promise<void> {
  const informer = createInformer(bed.client, resource);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const look = () => informer.list().some(is) && resolve();
  informer.onChange(look);
  const late = () => reject(new Error(`gave up waiting for ${is}: ${JSON.stringify(informer.list())}`));
  const timer = setTimeout(late, 600_000);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    informer.close();
  }
}

/** Thousandths of a processor. */
async function usage(): Promise<number[]> {
  const rows = (await kubectl(['top', 'pods', '-l', 'app=burner', '--no-headers'])).trim().split('\n');
  return rows.map((row) => Number(/^burner-\d +(\d+)m +\d+Mi/.exec(row)?.[1]));
}

const ready = (count: number) =>
  becomes(statefulSets, ({ spec, status }) => spec?.replicas === count && status?.readyReplicas === count);

const burner = () => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 'burner' },
  spec: {
    serviceName: 'burner',
    podManagementPolicy: 'Parallel',
    replicas: 1,
    selector: { matchLabels: { app: 'burner' } },
    template: {
      metadata: { labels: { app: 'burner' } },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [
          {
            name: 'main',
            image: bed.image,
            imagePullPolicy: 'IfNotPresent',
            command: ['sh', '-c', 'while [ ! -e /tmp/stop ]; do :; done; exec sleep 1000'],
            resources: { requests: { cpu: '50m' }, limits: { cpu: '100m' } },
          },
        ],
      },
    },
  },
});

const autoscaler: HorizontalPodAutoscaler = {
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: { name: 'burner' },
  spec: {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'StatefulSet', name: 'burner' },
    maxReplicas: 3,
    metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 20 } } }],
    behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
  },
};

test('what pods use decides how many there are', { skip: kubectlMissing }, async () => {
  await kubectl(['apply', '-f', '-'], burner());
  await ready(1);
  await kubectl(['apply', '-f', '-'], autoscaler);
  await ready(3);
  // Of one that has just begun nothing is known yet.
  await until(async () => (await usage()).filter((milli) => milli > 0).length === 3, 300);
  // Their limit holds; how much of it they get is the machine's to say.
  const used = await usage();
  assert.ok(
    used.every((milli) => milli < 130),
    used.join(),
  );
  const [node] = (await kubectl(['top', 'nodes', '--no-headers'])).trim().split('\n');
  assert.match(node ?? '', new RegExp(`^${bed.nodeName} +\\d+m +\\d+% +\\d+Mi +\\d+%`));
  for (const index of [0, 1, 2]) await kubectl(['exec', `burner-${index}`, '--', 'touch', '/tmp/stop']);
  await becomes(horizontalPodAutoscalers, ({ status }) => status?.desiredReplicas === 1);
  await ready(1);
});
