/**
 * From the create of a pod to its Ready, as a client's watch sees both, with the image on the node: five pods a second, each removed once
 * it is Ready, on a whole cluster through the real commands. `npm run bench -- pod-start`; PODS changes the number.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createInformer } from '#cluster/client/informer.ts';
import { pods } from '#cluster/kinds/resources.ts';
import { ClusterUnderFire, image } from '#testing/cluster-kill/cluster.ts';
import { median, percentile, type Row } from './row.ts';

const podCount = Number(process.env['PODS'] ?? 200);
const perSecond = 5;
const namespace = 'default';
/** Whatever is slower than this has not started. */
const PATIENCE = 120_000;

export async function run(): Promise<Row[]> {
  const cluster = await ClusterUnderFire.open('bench');
  try {
    // What is loaded on first use is loaded by then.
    await startPods(cluster, 10, 'warm');
    const times = await startPods(cluster, podCount, 'pod');
    const goal = 'at most 1 s (stretch 0.3 s)';
    const what = `pod created to Ready, ${perSecond} a second, image present`;
    return [
      { what: `${what}, p99`, unit: 'ms', ours: percentile(times, 0.99), goal },
      { what: 'their median', unit: 'ms', ours: median(times), goal: '' },
    ];
  } finally {
    await cluster.close();
  }
}

/** @returns milliseconds, of each */
async function startPods({ client }: ClusterUnderFire, count: number, prefix: string): Promise<number[]> {
  const begun = new Map<string, number>();
  const times: number[] = [];
  const all = Promise.withResolvers<void>();
  const late = setTimeout(
    () => all.reject(new Error(`${count - times.length} of ${count} pods did not become Ready`)),
    (count * 1000) / perSecond + PATIENCE,
  );
  const informer = createInformer(client, pods, { namespace });
  await informer.synced;
  informer.onChange((now) => {
    const name = now?.metadata.name ?? '';
    const since = begun.get(name);
    if (since === undefined || now?.status?.conditions?.find(({ type }) => type === 'Ready')?.status !== 'True') return;
    begun.delete(name);
    times.push(performance.now() - since);
    client.delete(pods, name, { namespace }).catch(all.reject);
    if (times.length === count) all.resolve();
  });
  try {
    const start = performance.now();
    for (let index = 0; index < count; index += 1) {
      await delay(Math.max(0, start + (index * 1000) / perSecond - performance.now()));
      const name = `${prefix}-${index}`;
      begun.set(name, performance.now());
      client.create(pods, podOf(name)).catch(all.reject);
    }
    await all.promise;
    return times;
  } finally {
    clearTimeout(late);
    informer.close();
  }
}

function podOf(name: string) {
  const container = {
    name: 'main',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: ['/bin/busybox', 'httpd', '-f', '-p', '8080'],
    readinessProbe: { tcpSocket: { port: 8080 } },
  };
  return { metadata: { name, namespace }, spec: { terminationGracePeriodSeconds: 0, containers: [container] } };
}
