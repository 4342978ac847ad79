/**
 * The API server with 10,000 pods on simulated nodes: latency at 200 requests a second, a whole list, and one change told to
 * 1,000 watchers. Over HTTPS, the clients in another process. `npm run bench -- api`; PODS, NODES and WATCHERS change the size.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ControlPlane } from '#testing/control-plane.ts';
import { startControlPlane } from '#testing/control-plane.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { ClientFigures, ClientTask } from './api-client.ts';
import { median, percentile, type Row } from './row.ts';
import { createSimulatedNodes, createSimulatedPods, simulatedNodeName, simulatedPod } from './simulated.ts';

const podCount = Number(process.env['PODS'] ?? 10_000);
const nodeCount = Number(process.env['NODES'] ?? 1000);
const watcherCount = Number(process.env['WATCHERS'] ?? 1000);
const namespace = 'bench';
const changes = 50;

type Wanted<T> = T extends unknown ? Omit<T, 'address' | 'namespace' | 'pods'> : never;

async function withClient(
  plane: ControlPlane,
  task: Wanted<ClientTask>,
  whenReady: () => Promise<void> = async () => undefined,
): Promise<ClientFigures> {
  const child = fork(fileURLToPath(new URL('./api-client.ts', import.meta.url)));
  child.send({ ...task, address: plane.address, namespace, pods: podCount });
  let ready = Promise.resolve();
  for (;;) {
    const [message] = (await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => Promise.reject(new Error('the client ended before it had figures'))),
    ])) as [ClientFigures | 'ready'];
    if (message === 'ready') {
      ready = whenReady();
      continue;
    }
    await ready;
    return message;
  }
}

/** Each change carries when it was sent: from there to every watcher is what is measured. */
async function change(plane: ControlPlane): Promise<void> {
  for (let index = 0; index < changes; index++) {
    const name = simulatedPod(namespace, index).metadata.name ?? '';
    const sent = String(performance.timeOrigin + performance.now());
    await plane.client.patch(
      pods,
      name,
      { type: 'merge', body: { metadata: { annotations: { sent } } } },
      { namespace },
    );
    await delay(100);
  }
}

/** Garbage is nobody's memory. */
function residentAfterCollection(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().rss;
}

const onNode = (pod: Pod): Pod => ({
  ...pod,
  spec: {
    ...pod.spec,
    containers: pod.spec?.containers ?? [],
    nodeName: simulatedNodeName(Number(pod.metadata.name?.slice(4)) % nodeCount),
  },
});

export async function run(): Promise<Row[]> {
  const plane = await startControlPlane();
  try {
    await plane.namespace(namespace);
    await createSimulatedNodes(plane.client, nodeCount);
    await createSimulatedPods(plane.client, { namespace, count: podCount, change: onNode });
    const requests = await withClient(plane, { kind: 'requests', perSecond: 200, seconds: 20 });
    const lists = await withClient(plane, { kind: 'lists', count: 7 });
    const before = residentAfterCollection();
    let after = before;
    const watches = await withClient(plane, { kind: 'watches', count: watcherCount, changes }, async () => {
      after = residentAfterCollection();
      await change(plane);
    });
    const [get, update] = [requests.latencies['get'] ?? [], requests.latencies['update'] ?? []];
    const all = `${podCount.toLocaleString('en')} pods`;
    return [
      { what: `get, p99 at 200/s, ${all}`, unit: 'ms', ours: percentile(get, 0.99), goal: "at most kube-apiserver's" },
      { what: 'update, p99, the same', unit: 'ms', ours: percentile(update, 0.99), goal: "at most kube-apiserver's" },
      {
        what: `list of ${all}`,
        unit: 'ms',
        ours: median(lists.latencies['list'] ?? []),
        goal: "at most kube-apiserver's",
      },
      {
        what: `a change to ${watcherCount.toLocaleString('en')} watchers, p99`,
        unit: 'ms',
        ours: percentile(watches.latencies['watch'] ?? [], 0.99),
        goal: 'at most 100 ms',
      },
      {
        what: 'memory of a watcher',
        unit: 'MB',
        ours: (after - before) / watcherCount / 1e6,
        goal: 'at most 2 MB',
      },
    ];
  } finally {
    await plane.close();
  }
}
