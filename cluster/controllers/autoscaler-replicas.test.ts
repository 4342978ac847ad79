import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import {
  type MetricInput,
  milliOf,
  type PodMetric,
  replicasByAverage,
  replicasByRatio,
  replicasByShare,
  replicasByUtilization,
} from './autoscaler-replicas.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const MINUTE = 60_000;

interface Case {
  /** Of each pod, in thousandths; undefined: there is no metric. */
  used: (number | undefined)[];
  /** By index of the pod. */
  pods?: Record<number, Partial<Pod['status'] & { deleted: boolean }>>;
  target: number;
  expected: number | RegExp;
  current?: number;
}

const time = (before: number) => new Date(NOW - before).toISOString();

function ready(status: 'True' | 'False', before: number) {
  return { conditions: [{ type: 'Ready', status, lastTransitionTime: time(before) }] };
}

/** Pods that have been ready for long, and request 1 cpu each. */
function inputOf({ used, pods = {}, current = used.length }: Case, resource = 'cpu'): MetricInput {
  const metrics = new Map<string, PodMetric>();
  const all = used.map((value, index) => {
    const name = `pod-${index}`;
    if (value !== undefined) metrics.set(name, { at: NOW - 10_000, window: 15_000, value });
    const { deleted = false, ...status } = pods[index] ?? {};
    return {
      metadata: { name, ...(deleted && { deletionTimestamp: time(1_000) }) },
      spec: { containers: [{ name: 'main', resources: { requests: { cpu: '1' } } }] },
      status: { phase: 'Running', startTime: time(60 * MINUTE), ...ready('True', 59 * MINUTE), ...status },
    } as unknown as Stored<Pod>;
  });
  return { current, pods: all, metrics, resource, now: NOW };
}

function check(cases: Record<string, Case>, replicasOf: (one: Case) => number): void {
  for (const [name, one] of Object.entries(cases)) {
    if (one.expected instanceof RegExp) assert.throws(() => replicasOf(one), one.expected, name);
    else assert.equal(replicasOf(one), one.expected, name);
  }
}

const PENDING = { phase: 'Pending' };
/** Began two minutes ago and is not ready. */
const STARTING = { startTime: time(2 * MINUTE), ...ready('False', 2 * MINUTE) };
/** Became ready within the window of its metric. */
const JUST_READY = { startTime: time(2 * MINUTE), ...ready('True', 20_000) };
const READY_EARLY = { startTime: time(2 * MINUTE), ...ready('True', 30_000) };
const NEVER_READY = { startTime: time(60 * MINUTE), ...ready('False', 60 * MINUTE - 10_000) };
const LATER_UNREADY = { startTime: time(60 * MINUTE), ...ready('False', MINUTE) };

test('the ratio of usage to target, times the pods', () => {
  const cases: Record<string, Case> = {
    twice: { used: [1000, 1000], target: 50, expected: 4 },
    half: { used: [250, 250], target: 50, expected: 1 },
    'rounded up': { used: [900, 900, 900], target: 60, expected: 5 },
    'within the tolerance above': { used: [545, 545], target: 50, expected: 2 },
    'within the tolerance below': { used: [450, 450], target: 50, expected: 2 },
    'beyond the tolerance': { used: [560, 560], target: 50, expected: 3 },
    'uneven pods are summed up': { used: [100, 1900], target: 50, expected: 4 },
  };
  check(cases, (one) => replicasByUtilization(inputOf(one), one.target).replicas);
  const { utilization, average } = replicasByUtilization(inputOf({ used: [700, 401], target: 50, expected: 0 }), 50);
  assert.deepEqual([utilization, average], [55, 550]);
});

test('what is not known of a pod moves the ratio towards 1', () => {
  const cases: Record<string, Case> = {
    'missing on the way up: uses nothing': { used: [1000, undefined, 1000], target: 50, expected: 4 },
    'missing on the way up: would turn it': { used: [600, undefined, undefined], target: 50, expected: 3 },
    'missing on the way down: uses all of its request': { used: [100, undefined, 100, 100], target: 60, expected: 3 },
    'missing on the way down: would turn it': { used: [300, undefined], target: 50, expected: 2 },
    'unready on the way up: uses nothing': { used: [1000, 1000, 1000], pods: { 2: STARTING }, target: 50, expected: 4 },
    'unready on the way down: not counted': { used: [200, 200, 900], pods: { 2: STARTING }, target: 50, expected: 1 },
    pending: { used: [1000, undefined], pods: { 1: PENDING }, target: 50, expected: 2 },
    'being deleted: not counted': { used: [1000, 0], pods: { 1: { deleted: true } }, target: 50, expected: 2 },
    'failed: not counted': { used: [1000, 0], pods: { 1: { phase: 'Failed' } }, target: 50, expected: 2 },
    'no metric of any that is ready': {
      used: [1000],
      pods: { 0: STARTING },
      target: 50,
      expected: /^MetricError: did not receive metrics for targeted pods \(pods might be unready\)$/,
    },
    'no pods': { used: [], target: 50, expected: /no pods returned by selector/ },
  };
  check(cases, (one) => replicasByUtilization(inputOf(one), one.target).replicas);
});

test('the cpu of a pod that starts does not count', () => {
  const of = (status: object): Case => ({ used: [200, 900], pods: { 1: status }, target: 50, expected: 0 });
  const counted = (status: object, resource = 'cpu') =>
    replicasByAverage(inputOf(of(status), resource), 500).average === 550;
  assert.equal(counted(STARTING), false);
  assert.equal(counted(JUST_READY), false, 'its window began before it was ready');
  assert.equal(counted(READY_EARLY), true);
  assert.equal(counted(NEVER_READY), false, 'became unready within 30 s of its start');
  assert.equal(counted(LATER_UNREADY), true, 'it was ready once');
  assert.equal(counted(STARTING, 'memory'), true);
  assert.equal(counted(STARTING, ''), true);
});

test('requests of the pods, or of one container', () => {
  const input = inputOf({ used: [500], target: 0, expected: 0 });
  const [pod] = input.pods;
  assert.ok(pod?.spec);
  pod.spec.containers.push({ name: 'side', resources: { requests: { cpu: '1500m' } } });
  pod.spec.initContainers = [
    { name: 'sidecar', restartPolicy: 'Always', resources: { requests: { cpu: '500m' } } },
    { name: 'init' },
  ];
  assert.equal(replicasByUtilization(input, 50).utilization, 16);
  assert.equal(replicasByUtilization({ ...input, container: 'main' }, 50).utilization, 50);
  pod.spec.containers.push({ name: 'greedy' });
  assert.throws(
    () => replicasByUtilization(input, 50),
    /^MetricError: missing request for cpu in container greedy of Pod pod-0$/,
  );
  assert.equal(replicasByUtilization({ ...input, container: 'main' }, 50).utilization, 50);
});

test('averages of a value', () => {
  const cases: Record<string, Case> = {
    twice: { used: [20_000, 20_000], target: 10_000, expected: 4 },
    'within the tolerance': { used: [10_900, 10_900], target: 10_000, expected: 2 },
    'missing on the way down: uses the target': { used: [1_000, 1_000, undefined], target: 10_000, expected: 2 },
    'missing on the way up: uses nothing': { used: [30_000, 30_000, undefined], target: 10_000, expected: 6 },
  };
  check(cases, (one) => replicasByAverage(inputOf(one, ''), one.target).replicas);
});

test("values that are no pod's", () => {
  const { pods } = inputOf({ used: [1, 1, 1], pods: { 2: STARTING }, target: 0, expected: 0 });
  assert.deepEqual(
    [replicasByRatio(2, 3, pods), replicasByRatio(1.05, 3, pods), replicasByRatio(2.5, 0, [])],
    [4, 3, 3],
    'times the pods that are ready; within the tolerance; from nothing',
  );
  assert.deepEqual(
    [replicasByShare(30_000, 10_000, 2), replicasByShare(21_000, 10_000, 2), replicasByShare(5_000, 10_000, 0)],
    [3, 2, 1],
  );
});

test('thousandths of quantities', () => {
  assert.deepEqual(['1', '100m', '1500n', '0.1', '1Ki'].map(milliOf), [1000, 100, 1, 100, 1_024_000]);
});
