/** Opens the metrics room: see `metrics.ts`. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { ALL_METRICS, type Bus, type ContainerSample, type NodeSample, WAKE_METRICS } from '../bus/bus.ts';
import type { Informers } from '../resources/informers.ts';
import { appStatus } from '../resources/instances.ts';
import { pods } from '../resources/kubernetes.ts';
import { annotations, labels } from '../resources/types.ts';
import type { AccessRecord, Route, Router } from '../router/model.ts';
import { fromMilliseconds } from '../time.ts';
import { appTags, namesOf, tagsOf } from './app-names.ts';
import { EnvelopeRings } from './envelopes.ts';
import { familiesOf } from './families.ts';
import type { Metrics } from './metrics.ts';
import { Requests, requestEnvelope } from './requests.ts';
import { RouteWindows } from './route-window.ts';

export interface MetricsOptions {
  informers: Informers;
  bus: Bus;
  router: Pick<Router, 'onAccess' | 'status'>;
  /** Of the requests that the router tells. */
  applicationOf(record: AccessRecord): string | undefined;
  routeOf(record: AccessRecord): Pick<Route, 'host' | 'path' | 'id'> | undefined;
  now?: () => number;
}

/** Of a pod's main container. */
export interface Used {
  at: number;
  node: string;
  sample: ContainerSample;
  /** Bytes of log in a second. */
  logRate: number;
}

/** Three rounds of the nodes: what is older is not known. */
const FRESH = 30_000;

export function openMetrics(options: MetricsOptions): Metrics {
  const { informers, bus, now = Date.now } = options;
  const used = new Map<string, Used>();
  const nodes = new Map<string, NodeSample>();
  const rings = new EnvelopeRings();
  const requests = new Requests();
  const windows = new RouteWindows(now);
  let told = Promise.withResolvers<void>();

  const podOf = (sample: ContainerSample): Stored<Pod> | undefined =>
    informers.of(pods).get(sample.pod, sample.namespace) ?? informers.taskPods.get(sample.pod, sample.namespace);

  const take = (node: NodeSample, sample: ContainerSample): void => {
    const pod = podOf(sample);
    const app = pod?.metadata.labels?.[labels.app];
    if (pod === undefined || app === undefined || pod.spec?.containers[0]?.name !== sample.container) return;
    const key = `${sample.namespace}/${sample.pod}`;
    const before = used.get(key);
    const one: Used = { at: node.at, node: node.node, sample, logRate: logRate(before, node.at, sample) };
    used.set(key, one);
    rings.add({
      timestamp: fromMilliseconds(node.at),
      sourceId: app,
      instanceId: pod.metadata.annotations?.[annotations.instanceIndex] ?? '0',
      tags: { ...tagsOf(informers, pod), origin: 'rep' },
      message: { type: 'GAUGE', metrics: gauges(one, pod, node.at) },
    });
  };

  const unsubscribe = [
    bus.subscribe(ALL_METRICS, (message) => {
      const node = nodeSample(message);
      if (node === undefined) return;
      nodes.set(node.node, node);
      for (const sample of node.containers) take(node, sample);
      for (const [key, one] of used) if (now() - one.at > FRESH) used.delete(key);
      told.resolve();
      told = Promise.withResolvers();
    }),
    // What was told while nobody listened.
    bus.onConnected(() => void bus.publish(WAKE_METRICS, undefined)),
    options.router.onAccess((record) => {
      const app = options.applicationOf(record);
      if (app === undefined) return;
      const route = options.routeOf(record);
      requests.add(record, app, route);
      if (route !== undefined) {
        const { status, total } = record;
        windows.add(route.id, { status, milliseconds: status === 101 || total < 0 ? undefined : total });
      }
      const names = namesOf(informers, app);
      rings.add(requestEnvelope(record, app, names === undefined ? {} : appTags(names)));
    }),
  ];

  const source = { informers, bus, router: options.router, used, nodes, requests, now };
  return {
    useOf(namespace, pod) {
      const one = used.get(`${namespace}/${pod}`);
      if (one === undefined || now() - one.at > FRESH) return undefined;
      const { cpu = 0, memoryBytes, diskBytes = 0 } = one.sample;
      return { at: one.at, cpu, memoryBytes, diskBytes, logRate: one.logRate };
    },
    async refresh(milliseconds) {
      const asked = now();
      if (!bus.publish(WAKE_METRICS, undefined)) return;
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, milliseconds);
      let waiting = true;
      void late.promise.then(() => (waiting = false));
      const missing = (): boolean =>
        nodes.size === 0 || [...nodes.values()].some(({ at }) => at < asked && asked - at < FRESH);
      while (waiting && missing()) await Promise.race([told.promise, late.promise]);
      clearTimeout(timer);
    },
    routeUse: (route) => windows.of(route),
    envelopes: (sourceId) => rings.of(sourceId),
    sources: () => rings.sources(),
    forget(sourceId) {
      rings.forget(sourceId);
      requests.forget(sourceId);
    },
    families: () => familiesOf(source),
    close() {
      for (const end of unsubscribe) end();
    },
  };
}

function logRate(before: Used | undefined, at: number, { log }: ContainerSample): number {
  if (before?.sample.log === undefined || log === undefined || at <= before.at) return 0;
  // A container that is started again counts anew.
  return Math.max(0, log.bytes - before.sample.log.bytes) / ((at - before.at) / 1000);
}

/** As Cloud Foundry's cells tell them. */
function gauges(
  { sample, logRate: rate }: Used,
  pod: Pod,
  at: number,
): Record<string, { unit: string; value: number }> {
  const started = appStatus(pod)?.state?.running?.startedAt;
  const limit = Number(pod.metadata.annotations?.[annotations.logRate] ?? -1);
  return {
    cpu: { unit: 'percentage', value: (sample.cpu ?? 0) * 100 },
    memory: { unit: 'bytes', value: sample.memoryBytes },
    memory_quota: { unit: 'bytes', value: sample.memoryLimitBytes ?? 0 },
    disk: { unit: 'bytes', value: sample.diskBytes ?? 0 },
    disk_quota: { unit: 'bytes', value: sample.diskLimitBytes ?? 0 },
    log_rate: { unit: 'B/s', value: rate },
    log_rate_limit: { unit: 'B/s', value: limit },
    absolute_usage: { unit: 'nanoseconds', value: sample.cpuSeconds * 1e9 },
    container_age: { unit: 'nanoseconds', value: started === undefined ? 0 : (at - Date.parse(started)) * 1e6 },
  };
}

/** A node is trusted to say what its pods use, and not how a message looks. */
function nodeSample(message: unknown): NodeSample | undefined {
  if (typeof message !== 'object' || message === null) return undefined;
  const { node, at, containers } = message as Partial<NodeSample>;
  if (typeof node !== 'string' || typeof at !== 'number' || !Array.isArray(containers)) return undefined;
  return containers.every(isSample) ? (message as NodeSample) : undefined;
}

function isSample(sample: Partial<ContainerSample> | null): boolean {
  if (typeof sample !== 'object' || sample === null) return false;
  const { namespace, pod, container, cpuSeconds, memoryBytes } = sample;
  return (
    [namespace, pod, container].every((text) => typeof text === 'string') &&
    [cpuSeconds, memoryBytes].every((value) => typeof value === 'number')
  );
}
