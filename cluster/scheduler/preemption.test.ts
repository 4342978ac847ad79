import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { PodDisruptionBudget } from '../kinds/types/policy.ts';
import { beginFilters, isCycle } from './filter-cycle.ts';
import { createSearch } from './find-nodes.ts';
import { createNominations } from './nominations.ts';
import { interPodAffinity } from './plugins/inter-pod-affinity.ts';
import { nodeName } from './plugins/node-name.ts';
import { nodeResourcesFit } from './plugins/node-resources-fit.ts';
import { nodeUnschedulable } from './plugins/node-unschedulable.ts';
import { planPreemption, type Preemption } from './preemption.ts';
import { clusterOf, contextWith, type NodeWords, pod, type PodWords } from './scheduling.fixture.ts';

const plugins = [nodeUnschedulable, nodeName, nodeResourcesFit, interPodAffinity(contextWith())];
const room = { cpu: '4', memory: '8Gi', pods: '110' };
const on = (name: string, ...pods: ReturnType<typeof pod>[]): NodeWords => ({
  name,
  allocatable: room,
  pods,
  labels: { zone: name },
});
const running = (name: string, priority: number, cpu: string, words: PodWords = {}): ReturnType<typeof pod> =>
  pod({ name, priority, requests: { cpu }, status: { startTime: '2026-01-01T00:00:00Z' }, ...words });
const budget = (
  disruptionsAllowed: number,
  disruptedPods: Record<string, string> = {},
): Stored<PodDisruptionBudget> => ({
  metadata: { name: 'b', namespace: 'default', uid: 'b', resourceVersion: '1', creationTimestamp: '' },
  spec: { selector: { matchLabels: { app: 'kept' } } },
  status: { disruptionsAllowed, disruptedPods, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 },
});

function plan(
  subject: ReturnType<typeof pod>,
  nodes: NodeWords[],
  { budgets = [], nominated }: { budgets?: Stored<PodDisruptionBudget>[]; nominated?: string } = {},
): Preemption {
  const cluster = clusterOf(...nodes);
  const before = nodes.map(({ name }) => JSON.stringify(cluster.node(name)?.requested));
  const cycle = beginFilters(plugins, subject, { cluster, nominations: createNominations() });
  assert.ok(isCycle(cycle));
  const { fitting, diagnosis } = createSearch(cluster).find(cycle);
  assert.deepEqual(fitting, []);
  const promised = nominated === undefined ? undefined : cluster.node(nominated);
  const result = planPreemption(subject, { cluster, cycle, diagnosis, budgets, nominated: promised });
  assert.deepEqual(
    nodes.map(({ name }) => JSON.stringify(cluster.node(name)?.requested)),
    before,
  );
  for (const { name, pods = [] } of nodes) assert.equal(cluster.node(name)?.pods.size, pods.length);
  return result;
}

function victimsOf(result: Preemption): [node: string, ...pods: string[]] {
  assert.ok('victims' in result, 'message' in result ? result.message : '');
  return [result.victims.node.name, ...result.victims.pods.map(({ name }) => name)];
}

function messageOf(result: Preemption): string {
  assert.ok('message' in result);
  return result.message;
}

const high = pod({ name: 'high', priority: 100, requests: { cpu: '3' } });

describe('who has to go', () => {
  it('as few as can be, and the least important', () => {
    const node = on('a', running('low', 1, '2'), running('middle', 50, '1'), running('equal', 100, '1'));
    assert.deepEqual(victimsOf(plan(pod({ priority: 100, requests: { cpu: '2' } }), [node])), ['a', 'low']);
    assert.deepEqual(victimsOf(plan(high, [node])), ['a', 'middle', 'low']);
  });

  it('of equals the one that began last', () => {
    const late = { status: { startTime: '2026-01-02T00:00:00Z' } };
    const node = on('a', running('new', 1, '2', late), running('old', 1, '2'));
    assert.deepEqual(victimsOf(plan(pod({ priority: 2, requests: { cpu: '2' } }), [node])), ['a', 'new']);
  });

  it('one that a budget protects only when it must be', () => {
    const kept = running('kept', 1, '2', { labels: { app: 'kept' } });
    const node = on('a', kept, running('more', 2, '2', { labels: { app: 'other' } }));
    const wanted = pod({ priority: 100, requests: { cpu: '2' } });
    assert.deepEqual(victimsOf(plan(wanted, [node])), ['a', 'kept']);
    assert.deepEqual(victimsOf(plan(wanted, [node], { budgets: [budget(0)] })), ['a', 'more']);
    assert.deepEqual(victimsOf(plan(wanted, [node], { budgets: [budget(1)] })), ['a', 'kept']);
    assert.deepEqual(victimsOf(plan(wanted, [node], { budgets: [budget(0, { kept: '' })] })), ['a', 'kept']);
    assert.deepEqual(victimsOf(plan(high, [node], { budgets: [budget(0)] })), ['a', 'more', 'kept']);
  });

  it('one that keeps the pod away by anti-affinity', () => {
    const labelSelector = { matchLabels: { app: 'x' } };
    const affinity = {
      podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone', labelSelector }] },
    };
    const node = on('a', running('other', 1, '1'), running('hostile', 1, '1', { affinity }));
    assert.deepEqual(victimsOf(plan(pod({ priority: 2, labels: { app: 'x' } }), [node])), ['a', 'hostile']);
  });
});

describe('from which node', () => {
  const cases: [string, NodeWords[], string[], Stored<PodDisruptionBudget>[]?][] = [
    [
      'where no budget is broken, whatever else',
      [on('a', running('k', 1, '4', { labels: { app: 'kept' } })), on('b', running('m', 50, '4'))],
      ['b', 'm'],
      [budget(0)],
    ],
    [
      'where the most important is the least',
      [on('a', running('m', 50, '4')), on('b', running('l', 1, '2'), running('n', 2, '2'))],
      ['b', 'n', 'l'],
    ],
    [
      'where the sum is the least',
      [on('a', running('m', 50, '2'), running('l', 40, '2')), on('b', running('n', 50, '2'), running('o', 30, '2'))],
      ['b', 'n', 'o'],
    ],
    [
      'where the fewest go, also of negative priority',
      [on('a', running('m', -5, '2'), running('l', -5, '2')), on('b', running('n', -5, '4'))],
      ['b', 'n'],
    ],
    [
      'where the most important has run the shortest',
      [on('a', running('m', 1, '4')), on('b', running('n', 1, '4', { status: { startTime: '2026-02-01T00:00:00Z' } }))],
      ['b', 'n'],
    ],
  ];
  for (const [what, nodes, expected, budgets = []] of cases)
    it(what, () => assert.deepEqual(victimsOf(plan(high, nodes, { budgets })), expected));
});

describe('when nobody goes', () => {
  it('says so of each node', () => {
    const nodes = [
      on('full', running('equal', 100, '4')),
      { ...on('cordoned', running('low', 1, '4')), unschedulable: true },
      { ...on('small', running('least', 1, '1')), allocatable: { ...room, cpu: '1' } },
    ];
    assert.equal(
      messageOf(plan(high, nodes)),
      '0/3 nodes are available: 1 Insufficient cpu, 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.',
    );
  });

  it('a pod may be too polite', () => {
    const polite = pod({ priority: 100, requests: { cpu: '3' }, preemptionPolicy: 'Never' });
    assert.equal(
      messageOf(plan(polite, [on('a', running('low', 1, '4'))])),
      'not eligible due to preemptionPolicy=Never.',
    );
  });

  it('waits for those that go already from the node that it is promised', () => {
    const going = running('low', 1, '4', {
      metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' },
      status: { conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }] },
    });
    const nodes = [on('a', going), on('b', running('other', 1, '4'))];
    assert.equal(
      messageOf(plan(high, nodes, { nominated: 'a' })),
      'not eligible due to a terminating pod on the nominated node.',
    );
    // What goes for another reason is no promise.
    const leaving = running('low', 5, '4', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
    assert.deepEqual(victimsOf(plan(high, [on('a', leaving), on('b', running('other', 1, '4'))], { nominated: 'a' })), [
      'b',
      'other',
    ]);
    // Nor is a node that became impossible.
    const cordoned = [{ ...on('a', going), unschedulable: true }, on('b', running('other', 1, '4'))];
    assert.deepEqual(victimsOf(plan(high, cordoned, { nominated: 'a' })), ['b', 'other']);
  });
});
