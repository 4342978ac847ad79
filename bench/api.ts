/**
 * The API server with 10,000 pods on simulated nodes: latency at 200 requests a second, a whole list, and one change told to
 * 1,000 watchers. Over HTTPS, the clients in another process; in turns with kube-apiserver and etcd where it was built (`kube-apiserver.ts`).
 * `npm run bench -- api`; PODS, NODES, WATCHERS and ROUNDS change the size.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { startControlPlane } from '#testing/control-plane.ts';
import type { Client } from '#cluster/client/client.ts';
import { createClient } from '#cluster/client/create.ts';
import { type HttpsTransportOptions, httpsTransport } from '#cluster/client/https.ts';
import { pods } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { ClientFigures, ClientTask } from './api-client.ts';
import { type ApiPeer, startKubeApiServer } from './kube-apiserver.ts';
import { median, percentile, type Row } from './row.ts';
import { createSimulatedNodes, createSimulatedPods, simulatedNodeName, simulatedPod } from './simulated.ts';

const podCount = Number(process.env['PODS'] ?? 10_000);
const nodeCount = Number(process.env['NODES'] ?? 1000);
const watcherCount = Number(process.env['WATCHERS'] ?? 1000);
const namespace = 'bench';
const changes = 50;
/** The figures are the medians of theirs. */
const rounds = Number(process.env['ROUNDS'] ?? 3);

type Wanted<T> = T extends unknown ? Omit<T, 'address' | 'namespace' | 'pods'> : never;

async function withClient(
  address: HttpsTransportOptions,
  task: Wanted<ClientTask>,
  whenReady: () => Promise<void> = async () => undefined,
): Promise<ClientFigures> {
  const child = fork(fileURLToPath(new URL('./api-client.ts', import.meta.url)));
  child.send({ ...task, address, namespace, pods: podCount });
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
async function change(client: Client): Promise<void> {
  for (let index = 0; index < changes; index++) {
    const name = simulatedPod(namespace, index).metadata.name ?? '';
    const sent = String(performance.timeOrigin + performance.now());
    await client.patch(pods, name, { type: 'merge', body: { metadata: { annotations: { sent } } } }, { namespace });
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

/** Of one round; milliseconds. */
type Figure = 'get' | 'update' | 'list' | 'watch' | 'memory';
type Measured = Record<Figure, number>;

type Server = Pick<ApiPeer, 'address' | 'resident' | 'stop'>;

async function ours(): Promise<Server> {
  const plane = await startControlPlane();
  return { address: plane.address, resident: residentAfterCollection, stop: () => plane.close() };
}

async function prepare({ address }: Server): Promise<void> {
  const transport = httpsTransport(address);
  const client = createClient(transport);
  await client.request({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name: namespace } } });
  await createSimulatedNodes(client, nodeCount);
  await createSimulatedPods(client, { namespace, count: podCount, change: onNode });
  transport.close();
}

async function measure({ address, resident }: Server): Promise<Measured> {
  const transport = httpsTransport(address);
  try {
    const requests = await withClient(address, { kind: 'requests', perSecond: 200, seconds: 15 });
    const lists = await withClient(address, { kind: 'lists', count: 7 });
    const before = resident();
    let after = before;
    const watches = await withClient(address, { kind: 'watches', count: watcherCount, changes }, async () => {
      after = resident();
      await change(createClient(transport));
    });
    return {
      get: percentile(requests.latencies['get'] ?? [], 0.99),
      update: percentile(requests.latencies['update'] ?? [], 0.99),
      list: median(lists.latencies['list'] ?? []),
      watch: percentile(watches.latencies['watch'] ?? [], 0.99),
      memory: (after - before) / watcherCount / 1e6,
    };
  } finally {
    transport.close();
  }
}

/** Each stays up while the other is asked: what a machine does at one moment it does to both. */
export async function run(): Promise<Row[]> {
  const servers = [await ours(), await startKubeApiServer()].filter((server) => server !== undefined);
  const figures: Measured[][] = servers.map(() => []);
  try {
    for (const server of servers) await prepare(server);
    for (let round = 0; round < rounds; round++)
      for (const [index, server] of servers.entries()) figures[index]?.push(await measure(server));
  } finally {
    for (const server of servers) await server.stop();
  }
  const figure = (index: number, key: Figure): number => median((figures[index] ?? []).map((one) => one[key]));
  const row = (key: Figure, what: string, goal: string): Row => ({
    what,
    unit: key === 'memory' ? 'MB' : 'ms',
    ours: figure(0, key),
    // What a peer's collector gives back in the middle is more than its watchers take: the goal is ours alone.
    ...(servers.length > 1 && key !== 'memory' && { peer: { name: 'kube-apiserver', value: figure(1, key) } }),
    goal,
  });
  const all = `${podCount.toLocaleString('en')} pods`;
  return [
    row('get', `get, p99 at 200/s, ${all}`, 'at most 1 x (stretch 0.5 x)'),
    row('update', 'update, p99, the same', 'at most 1 x (stretch 0.5 x)'),
    row('list', `list of ${all}`, 'at most 1 x (stretch 0.5 x)'),
    row('watch', `a change to ${watcherCount.toLocaleString('en')} watchers, p99`, 'at most 100 ms'),
    row('memory', 'memory of a watcher', 'at most 2 MB'),
  ];
}
