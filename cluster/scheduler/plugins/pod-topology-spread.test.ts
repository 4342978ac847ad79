import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { replicaSets, services } from '../../kinds/resources.ts';
import type { TopologySpreadConstraint } from '../../kinds/types/core.ts';
import type { ObjectMeta } from '../../kinds/types/meta.ts';
import { beginFilters, isCycle } from '../filter-cycle.ts';
import { createNominations } from '../nominations.ts';
import { clusterOf, contextWith, fitting, pod, type PodWords, refusals, scores } from '../scheduling.fixture.ts';
import { podTopologySpread } from './pod-topology-spread.ts';

const plugin = podTopologySpread(contextWith());
const host = 'kubernetes.io/hostname';
const zone = 'zone';
const foo = (words: PodWords = {}) => pod({ labels: { foo: 'bar' }, ...words });
const several = (count: number, words: PodWords = {}) => Array.from({ length: count }, () => foo(words));
const constraint = (topologyKey: string, extra: Partial<TopologySpreadConstraint> = {}): TopologySpreadConstraint => ({
  maxSkew: 1,
  topologyKey,
  whenUnsatisfiable: 'DoNotSchedule',
  labelSelector: { matchLabels: { foo: 'bar' } },
  ...extra,
});
const spreading = (...topologySpreadConstraints: TopologySpreadConstraint[]): ReturnType<typeof pod> =>
  foo({ topologySpreadConstraints });
const node = (name: string, inZone: string | undefined, pods: ReturnType<typeof pod>[] = [], extra: object = {}) => ({
  name,
  labels: { [host]: name, ...(inZone && { zone: inZone }) },
  pods,
  ...extra,
});

/** Two zones of two nodes, three pods: as in "Pod Topology Spread Constraints", example "one topology spread constraint". */
const example = () =>
  clusterOf(
    node('node1', 'a', several(1)),
    node('node2', 'a', several(1)),
    node('node3', 'b', several(1)),
    node('node4', 'b'),
  );
const uneven = "node(s) didn't match pod topology spread constraints";

describe('PodTopologySpread', () => {
  it('one constraint: the new pod goes to the emptier zone', () => {
    assert.deepEqual(fitting(plugin, spreading(constraint(zone)), example()), ['node3', 'node4']);
  });

  it('two constraints: both hold', () => {
    assert.deepEqual(fitting(plugin, spreading(constraint(zone), constraint(host)), example()), ['node4']);
  });

  it('conflicting constraints: nowhere', () => {
    const cluster = clusterOf(
      node('node1', 'a', several(2)),
      node('node2', 'a', several(1)),
      node('node3', 'b', several(2)),
    );
    assert.deepEqual(refusals(plugin, spreading(constraint(zone), constraint(host)), cluster), {
      node1: uneven,
      node2: uneven,
      node3: uneven,
    });
  });

  it('with node affinity: a zone that the pod cannot go to does not count', () => {
    const cluster = clusterOf(
      node('node1', 'a', several(1)),
      node('node2', 'a', several(1)),
      node('node3', 'b', several(1)),
      node('node4', 'b'),
      node('node5', 'c'),
    );
    const notC = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [{ key: zone, operator: 'NotIn', values: ['c'] }] }],
        },
      },
    };
    const wanted = (extra: object) => foo({ affinity: notC, topologySpreadConstraints: [constraint(zone, extra)] });
    assert.deepEqual(fitting(plugin, wanted({}), cluster), ['node3', 'node4', 'node5']);
    assert.deepEqual(fitting(plugin, wanted({ nodeAffinityPolicy: 'Ignore' }), cluster), ['node5']);
  });

  it('taints count only where it is asked for', () => {
    const tainted = { taints: [{ key: 'k', effect: 'NoSchedule' }] };
    const cluster = clusterOf(node('node1', 'a', several(1)), node('node2', 'b', [], tainted));
    assert.deepEqual(fitting(plugin, spreading(constraint(zone)), cluster), ['node2']);
    assert.deepEqual(fitting(plugin, spreading(constraint(zone, { nodeTaintsPolicy: 'Honor' })), cluster), [
      'node1',
      'node2',
    ]);
  });

  it('too few domains: the least is taken for nothing', () => {
    const cluster = clusterOf(node('node1', 'a', several(2)), node('node2', 'b', several(2)));
    assert.deepEqual(fitting(plugin, spreading(constraint(zone, { maxSkew: 2 })), cluster), ['node1', 'node2']);
    assert.deepEqual(fitting(plugin, spreading(constraint(zone, { maxSkew: 2, minDomains: 3 })), cluster), []);
  });

  it('a node without the key takes nobody', () => {
    const cluster = clusterOf(node('node1', 'a'), node('bare', undefined, several(3)));
    assert.deepEqual(refusals(plugin, spreading(constraint(zone)), cluster), {
      node1: '',
      bare: `${uneven} (missing required label)`,
    });
  });

  it('counts neither other namespaces, nor what is being deleted, nor what is not selected', () => {
    const cluster = clusterOf(
      node('node1', 'a', [
        foo({ namespace: 'other' }),
        foo({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }),
        pod({ labels: { foo: 'baz' } }),
      ]),
      node('node2', 'b'),
    );
    assert.deepEqual(fitting(plugin, spreading(constraint(zone)), cluster), ['node1', 'node2']);
  });

  it('a pod that its constraint does not select adds nothing', () => {
    const cluster = clusterOf(node('node1', 'a', several(1)), node('node2', 'b'));
    const other = pod({ labels: { x: 'y' }, topologySpreadConstraints: [constraint(zone)] });
    assert.deepEqual(fitting(plugin, other, cluster), ['node1', 'node2']);
  });

  it('match label keys: only pods with the same values', () => {
    const hash = (value: string): PodWords => ({ labels: { foo: 'bar', hash: value } });
    const cluster = clusterOf(
      node('node1', 'a', [pod(hash('1')), pod(hash('1'))]),
      node('node2', 'b', [pod(hash('2'))]),
    );
    const wanted = (value: string) =>
      pod({ ...hash(value), topologySpreadConstraints: [constraint(zone, { matchLabelKeys: ['hash', 'absent'] })] });
    assert.deepEqual(fitting(plugin, wanted('1'), cluster), ['node2']);
    assert.deepEqual(fitting(plugin, wanted('2'), cluster), ['node1']);
  });

  it('follows pods that come and go, and those in thought', () => {
    const cluster = example();
    const wanted = spreading(constraint(zone));
    const another = foo();
    cluster.place(another, 'node4');
    assert.deepEqual(fitting(plugin, wanted, cluster), ['node1', 'node2', 'node3', 'node4']);
    cluster.remove(another.uid);
    assert.deepEqual(fitting(plugin, wanted, cluster), ['node3', 'node4']);
    const cycle = beginFilters([plugin], wanted, { cluster, nominations: createNominations() });
    assert.ok(isCycle(cycle));
    const [node1] = cluster.nodes().filter(({ name }) => name === 'node1');
    const [there] = node1?.pods.values() ?? [];
    assert.ok(node1 && there);
    cycle.remove(there, node1);
    assert.equal(cycle.check(node1), undefined);
    cycle.add(there, node1);
    assert.ok(cycle.check(node1));
  });
});

describe('PodTopologySpread, scored', () => {
  it('the fewer, the better', () => {
    const anyway = spreading(constraint(host, { whenUnsatisfiable: 'ScheduleAnyway' }));
    const cluster = clusterOf(
      node('node1', 'a', several(4)),
      node('node2', 'a', several(2)),
      node('node3', 'b', several(1)),
      node('node4', 'b', several(3)),
    );
    // Times ln(4 + 2), rounded: 7, 4, 2, 5; then 100 * (most + least - it) / most.
    assert.deepEqual(scores(plugin, anyway, cluster), { node1: 28, node2: 71, node3: 100, node4: 57 });
  });

  it('a node without the key is last', () => {
    const anyway = spreading(constraint(zone, { whenUnsatisfiable: 'ScheduleAnyway' }));
    const cluster = clusterOf(node('node1', 'a', several(2)), node('node2', 'b'), node('bare', undefined));
    // Two domains: 2 * ln(2 + 2), rounded, and 0.
    assert.deepEqual(scores(plugin, anyway, cluster), { node1: 0, node2: 100, bare: 0 });
  });

  const meta = (name: string): ObjectMeta => ({ name, namespace: 'default' });
  const cluster = () => clusterOf(node('node1', undefined, several(2)), node('node2', undefined));
  it('pods of one service are spread without saying so', () => {
    const service = { metadata: meta('s'), spec: { selector: { foo: 'bar' } } };
    const serving = podTopologySpread(contextWith([{ resource: services, object: service }]));
    const { node1 = 0, node2 = 0 } = scores(serving, foo(), cluster());
    assert.ok(node1 < node2);
    assert.deepEqual(scores(serving, pod({ labels: { foo: 'other' } }), cluster()), { node1: 0, node2: 0 });
  });

  it('so are those of one replica set', () => {
    const set = { metadata: meta('rs'), spec: { selector: { matchLabels: { foo: 'bar' } } } };
    const owned = podTopologySpread(contextWith([{ resource: replicaSets, object: set }]));
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: 'rs', controller: true }];
    const { node1 = 0, node2 = 0 } = scores(owned, foo({ metadata: { ownerReferences } }), cluster());
    assert.ok(node1 < node2);
  });
});
