/**
 * How many replicas a metric asks for. Pure. The algorithm is that of Kubernetes, "Horizontal Pod Autoscaling", "Algorithm
 * details": the ratio of usage to target times the pods that are ready, where what is not known about a pod is taken to be what
 * moves the ratio towards 1.
 */
import type { Stored } from '../kinds/kind.ts';
import { quantityValue } from '../kinds/quantity.ts';
import type { Pod } from '../kinds/types/core.ts';
import { isReady } from './objects.ts';

/** Of a pod, over a window that ends at `at`; the value in thousandths, times in milliseconds. */
export interface PodMetric {
  at: number;
  window: number;
  value: number;
}

export interface MetricInput {
  current: number;
  /** Those that the target's selector selects. */
  pods: Stored<Pod>[];
  /** By the names of pods. */
  metrics: ReadonlyMap<string, PodMetric>;
  /** `cpu` of pods that are just starting is not counted; empty for what is no resource. */
  resource: string;
  /** Of one container of each pod; undefined for all. */
  container?: string | undefined;
  now: number;
}

/** Why there is no number: told to people in upstream's words. */
export class MetricError extends Error {
  readonly code = 'metric-unknown';
  constructor(message: string) {
    super(message);
    this.name = 'MetricError';
  }
}

/** A ratio as near to 1 as this changes nothing. */
const TOLERANCE = 0.1;
/** After a pod began, its cpu counts only while it is ready. */
const CPU_INITIALIZATION = 5 * 60_000;
/** A pod that became unready within this time of its start was never ready. */
const INITIAL_READINESS = 30_000;

export function isTolerated(ratio: number): boolean {
  return Math.abs(1 - ratio) <= TOLERANCE;
}

/** @param target  in percent of what the pods request */
export function replicasByUtilization(input: MetricInput, target: number) {
  let first: { utilization: number; average: number } | undefined;
  const requests = new Map<string, number>();
  const replicas = propose(input, {
    ratioOf(metrics) {
      if (requests.size === 0) for (const pod of input.pods) requests.set(pod.metadata.name, requestOf(pod, input));
      const known = [...metrics].filter(([name]) => requests.has(name));
      const used = known.reduce((sum, [, metric]) => sum + metric.value, 0);
      const requested = known.reduce((sum, [name]) => sum + (requests.get(name) ?? 0), 0);
      if (requested === 0) throw new MetricError('no metrics returned matched known pods');
      const utilization = Math.trunc((used * 100) / requested);
      first ??= { utilization, average: Math.trunc(used / known.length) };
      return utilization / target;
    },
    greatest: (name) => ((requests.get(name) ?? 0) * Math.max(100, target)) / 100,
  });
  return { replicas, utilization: first?.utilization ?? 0, average: first?.average ?? 0 };
}

/** @param target  for each pod, in thousandths */
export function replicasByAverage(input: MetricInput, target: number) {
  let first: number | undefined;
  const replicas = propose(input, {
    ratioOf(metrics) {
      const average = Math.trunc([...metrics.values()].reduce((sum, { value }) => sum + value, 0) / metrics.size);
      first ??= average;
      return average / target;
    },
    greatest: () => target,
  });
  return { replicas, average: first ?? 0 };
}

/** For a value that is nobody's: the pods that are ready, times its ratio to the target. */
export function replicasByRatio(ratio: number, current: number, pods: Stored<Pod>[]): number {
  if (current === 0) return Math.ceil(ratio);
  if (isTolerated(ratio)) return current;
  return Math.ceil(ratio * pods.filter((pod) => pod.status?.phase === 'Running' && isReady(pod)).length);
}

/** For a value that the replicas share. */
export function replicasByShare(value: number, target: number, replicas: number): number {
  return isTolerated(value / (target * replicas)) ? replicas : Math.ceil(value / target);
}

interface Measure {
  ratioOf: (metrics: ReadonlyMap<string, PodMetric>) => number;
  /** What a pod that nothing is known of is taken to use, before replicas are taken away. */
  greatest: (pod: string) => number;
}

function propose(input: MetricInput, { ratioOf, greatest }: Measure): number {
  const { current, now } = input;
  if (input.pods.length === 0) throw new MetricError('no pods returned by selector while calculating replica count');
  const { ready, unready, missing, ignored } = groupPods(input);
  const metrics = new Map(input.metrics);
  for (const name of [...ignored, ...unready]) metrics.delete(name);
  if (metrics.size === 0) throw new MetricError('did not receive metrics for targeted pods (pods might be unready)');
  const ratio = ratioOf(metrics);
  const growsUnready = unready.length > 0 && ratio > 1;
  if (!growsUnready && missing.length === 0) return isTolerated(ratio) ? current : Math.ceil(ratio * ready);
  const take = (names: string[], valueOf: (name: string) => number) => {
    for (const name of names) metrics.set(name, { at: now, window: 0, value: valueOf(name) });
  };
  if (ratio < 1) take(missing, greatest);
  else if (ratio > 1) take(missing, () => 0);
  if (growsUnready) take(unready, () => 0);
  const careful = ratioOf(metrics);
  if (isTolerated(careful) || (ratio < 1 && careful > 1) || (ratio > 1 && careful < 1)) return current;
  const replicas = Math.ceil(careful * metrics.size);
  // It would go the other way than the ratio says.
  if ((careful < 1 && replicas > current) || (careful > 1 && replicas < current)) return current;
  return replicas;
}

function groupPods(input: MetricInput) {
  const groups = { ready: 0, unready: [] as string[], missing: [] as string[], ignored: [] as string[] };
  for (const pod of input.pods) {
    const { name, deletionTimestamp } = pod.metadata;
    const metric = input.metrics.get(name);
    if (deletionTimestamp !== undefined || pod.status?.phase === 'Failed') groups.ignored.push(name);
    else if (pod.status?.phase === 'Pending') groups.unready.push(name);
    else if (metric === undefined) groups.missing.push(name);
    else if (input.resource === 'cpu' && isStarting(pod, metric, input.now)) groups.unready.push(name);
    else groups.ready++;
  }
  return groups;
}

function isStarting({ status }: Pod, metric: PodMetric, now: number): boolean {
  const condition = status?.conditions?.find(({ type }) => type === 'Ready');
  if (condition === undefined || status?.startTime === undefined) return true;
  const started = Date.parse(status.startTime);
  const changed = Date.parse(condition.lastTransitionTime ?? '') || 0;
  // What was measured before it became ready was its start.
  if (started + CPU_INITIALIZATION > now) return condition.status === 'False' || metric.at < changed + metric.window;
  return condition.status === 'False' && started + INITIAL_READINESS > changed;
}

/** In thousandths. */
function requestOf({ metadata, spec }: Stored<Pod>, { resource, container }: MetricInput): number {
  const sidecars = (spec?.initContainers ?? []).filter((one) => one.restartPolicy === 'Always');
  return [...(spec?.containers ?? []), ...sidecars]
    .filter(({ name }) => container === undefined || name === container)
    .reduce((sum, { name, resources }) => {
      const request = resources?.requests?.[resource];
      if (request === undefined)
        throw new MetricError(`missing request for ${resource} in container ${name} of Pod ${metadata.name}`);
      return sum + milliOf(request);
    }, 0);
}

/** Thousandths of a quantity, rounded up. */
export function milliOf(quantity: string): number {
  return Math.ceil(Number((quantityValue(String(quantity)) * 1_000).toFixed(6)));
}
