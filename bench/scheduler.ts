/**
 * Pods bound per second through the real API server into the real store, with simulated nodes: as kube-scheduler's published
 * figures are taken, all pods are there before it starts. Beside kube-scheduler, kube-apiserver and etcd where they were built
 * (`kube-scheduler.ts`). `npm run bench -- scheduler`; NODES and PODS change the size.
 */
import { createClient } from '#cluster/client/create.ts';
import { httpsTransport } from '#cluster/client/https.ts';
import { sharedInformer } from '#cluster/client/shared-informer.ts';
import { namespaces, pods as podResource } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { startScheduler } from '#cluster/scheduler/start.ts';
import { startControlPlane } from '#testing/control-plane.ts';
import { createSimulatedNodes, createSimulatedPods } from './simulated.ts';
import { startKubeApiServer } from './kube-apiserver.ts';
import { type SchedulerPeer, startKubeScheduler } from './kube-scheduler.ts';
import type { Row } from './row.ts';

const nodeCount = Number(process.env['NODES'] ?? 5000);
const podCount = Number(process.env['PODS'] ?? 10_000);

const spread =
  (whenUnsatisfiable: string) =>
  (pod: Pod): Pod => ({
    ...pod,
    spec: {
      ...pod.spec,
      containers: pod.spec?.containers ?? [],
      topologySpreadConstraints: [
        {
          maxSkew: 1,
          topologyKey: 'topology.kubernetes.io/zone',
          whenUnsatisfiable,
          labelSelector: { matchLabels: { app: 'bench' } },
        },
      ],
    },
  });

const apart = (pod: Pod): Pod => ({
  ...pod,
  spec: {
    ...pod.spec,
    containers: pod.spec?.containers ?? [],
    affinity: {
      podAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [
          { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'bench' } } },
        ],
      },
    },
  },
});

const tooLarge = (pod: Pod): Pod => ({
  ...pod,
  spec: {
    ...pod.spec,
    containers: (pod.spec?.containers ?? []).map((one) => ({ ...one, resources: { requests: { cpu: '1000' } } })),
  },
});

interface Load {
  what: string;
  count: number;
  /** They fit nowhere: what is awaited is that each says so. */
  inVain?: boolean;
  change?: (pod: Pod) => Pod;
}

interface Measured {
  /** Milliseconds from the scheduler's start to the last pod that is seen bound. */
  took: number;
  /** Milliseconds of processor time of the whole server in that time: API, store, scheduler and events. */
  cpu: number;
}

async function measure({ count, change, inVain = false }: Load): Promise<Measured> {
  const plane = await startControlPlane();
  try {
    const namespace = await plane.namespace('bench');
    await createSimulatedNodes(plane.client, nodeCount);
    await createSimulatedPods(plane.client, { namespace, count, ...(change && { change }) });
    const informer = sharedInformer(plane.client, podResource);
    await informer.synced;
    const all = Promise.withResolvers<void>();
    let done = 0;
    const isDone = (pod: Pod | undefined): boolean =>
      inVain ? (pod?.status?.conditions?.length ?? 0) > 0 : Boolean(pod?.spec?.nodeName);
    informer.onChange((now, old) => {
      if (isDone(now) && !isDone(old) && ++done === count) all.resolve();
    });
    const used = process.cpuUsage();
    const began = performance.now();
    const scheduler = await startScheduler(plane.context);
    await all.promise;
    const took = performance.now() - began;
    const { user, system } = process.cpuUsage(used);
    await scheduler.close();
    const { entries } = await plane.store.list('/registry/core/pods/');
    const sign = inVain ? '"reason":"Unschedulable"' : '"nodeName":"node-';
    const persisted = entries.filter(({ value }) => Buffer.from(value).includes(sign)).length;
    if (persisted !== count) throw new Error(`${persisted} of ${count} pods are so in the store`);
    informer.close();
    return { took, cpu: (user + system) / 1000 };
  } finally {
    await plane.close();
  }
}

/** Per second, without its own start. Undefined where there is no peer. */
async function measurePeer({ count, change, inVain = false }: Load): Promise<number | undefined> {
  const api = await startKubeApiServer();
  if (api === undefined) return undefined;
  const transport = httpsTransport(api.address);
  let scheduler: SchedulerPeer | undefined;
  try {
    const client = createClient(transport);
    await client.create(namespaces, { metadata: { name: 'bench' } });
    await createSimulatedNodes(client, nodeCount);
    await createSimulatedPods(client, { namespace: 'bench', count, ...(change && { change }) });
    scheduler = await startKubeScheduler(api.address);
    if (scheduler === undefined) return undefined;
    const result = inVain ? 'unschedulable' : 'scheduled';
    const first = await scheduler.until(result, 1);
    const began = performance.now();
    await scheduler.until(result, count);
    const seconds = (performance.now() - began) / 1000;
    const { items } = await client.list(podResource, { namespace: 'bench' });
    const bound = items.filter(({ spec }) => spec?.nodeName).length;
    if (bound !== (inVain ? 0 : count)) throw new Error(`kube-scheduler bound ${bound} of ${count} pods`);
    return (count - first) / seconds;
  } finally {
    await scheduler?.stop();
    transport.close();
    await api.stop();
  }
}

export async function run(): Promise<Row[]> {
  const loads: Load[] = [
    { what: 'pods bound and stored', count: podCount },
    { what: 'pods spread over zones', count: podCount / 2, change: spread('ScheduleAnyway') },
    { what: 'pods spread over zones, strictly', count: podCount / 5, change: spread('DoNotSchedule') },
    { what: 'pods each on a node of its own (anti-affinity)', count: Math.min(podCount / 5, nodeCount), change: apart },
    { what: 'pods that fit nowhere, each told why', count: podCount / 5, change: tooLarge, inVain: true },
  ];
  const rows: Row[] = [];
  for (const load of loads) {
    const { took, cpu } = await measure(load);
    const peer = await measurePeer(load);
    rows.push(
      {
        what: `${load.count.toLocaleString('en')} ${load.what}, ${nodeCount.toLocaleString('en')} simulated nodes`,
        unit: '/s',
        ours: load.count / (took / 1000),
        ...(peer !== undefined && { peer: { name: 'kube-scheduler', value: peer } }),
        greater: true,
        goal: load.count === podCount ? 'at least 810/s (published: 680 to 810)' : '',
      },
      {
        what: 'the same for a second of processor time',
        unit: '',
        ours: load.count / (cpu / 1000),
        greater: true,
        goal: '',
      },
    );
  }
  return rows;
}
