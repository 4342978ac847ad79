import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeDiagnosis } from './describe.ts';
import { beginFilters, isCycle } from './filter-cycle.ts';
import { createSearch, enoughNodes } from './find-nodes.ts';
import { createNominations } from './nominations.ts';
import { nodeAffinity } from './plugins/node-affinity.ts';
import { nodeResourcesFit } from './plugins/node-resources-fit.ts';
import { nodeUnschedulable } from './plugins/node-unschedulable.ts';
import { taintToleration } from './plugins/taint-toleration.ts';
import { clusterOf, pod, type PodWords } from './scheduling.fixture.ts';

const plugins = [nodeUnschedulable, taintToleration, nodeAffinity, nodeResourcesFit];

describe('how many nodes are enough', () => {
  const cases: [number, number, number][] = [
    [10, 0, 10],
    [100, 0, 100],
    [1000, 0, 420],
    [5000, 0, 500],
    [6000, 0, 300],
    [5000, 30, 1500],
    [1000, 1, 100],
    [5000, 100, 5000],
  ];
  for (const [nodes, percentage, enough] of cases)
    it(`of ${nodes} at ${percentage} %`, () => assert.equal(enoughNodes(nodes, percentage), enough));
});

describe('the search', () => {
  const begin = (words: PodWords, cluster: ReturnType<typeof clusterOf>) => {
    const cycle = beginFilters(plugins, pod(words), { cluster, nominations: createNominations() });
    assert.ok(isCycle(cycle));
    return cycle;
  };

  it('goes on where the last one ended, through every zone', () => {
    const cluster = clusterOf(
      ...Array.from({ length: 300 }, (_, at) => ({
        name: `n${at}`,
        labels: { 'topology.kubernetes.io/zone': at < 200 ? 'a' : 'b' },
      })),
    );
    const search = createSearch(cluster);
    const seen = new Set<string>();
    for (let round = 0; round < 3; round++) {
      const { fitting } = search.find(begin({}, cluster));
      assert.equal(fitting.length, 144);
      if (round === 0) assert.equal(fitting.filter(({ name }) => Number(name.slice(1)) >= 200).length, 72);
      for (const { name } of fitting) seen.add(name);
    }
    assert.equal(seen.size, 300);
  });

  it('says what each node lacks, in order of the text', () => {
    const cluster = clusterOf(
      { name: 'cordoned', unschedulable: true },
      { name: 'tainted', taints: [{ key: 'k', value: 'v', effect: 'NoSchedule' }] },
      { name: 'other', labels: { zone: 'b' } },
      { name: 'small', labels: { zone: 'a' }, allocatable: { cpu: '1', memory: '1', pods: '1' } },
    );
    const { fitting, diagnosis } = createSearch(cluster).find(
      begin({ nodeSelector: { zone: 'a' }, requests: { cpu: '2', memory: '2Gi' } }, cluster),
    );
    assert.deepEqual(fitting, []);
    assert.equal(
      describeDiagnosis(4, diagnosis),
      "0/4 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable.",
    );
    assert.deepEqual([...diagnosis.plugins].toSorted(), [
      'NodeAffinity',
      'NodeResourcesFit',
      'NodeUnschedulable',
      'TaintToleration',
    ]);
    assert.equal(describeDiagnosis(0, diagnosis), 'no nodes available to schedule pods');
  });

  it('asks only the node that a pod names by its field', () => {
    const cluster = clusterOf({ name: 'a', unschedulable: true }, { name: 'b' }, { name: 'c' });
    const nodeSelectorTerms = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: ['a'] }] }];
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } };
    const { diagnosis } = createSearch(cluster).find(begin({ affinity }, cluster));
    assert.equal(
      describeDiagnosis(3, diagnosis),
      "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
    );
  });
});

describe('a promise', () => {
  it('keeps its room from those that are less important', () => {
    const cluster = clusterOf({ name: 'a', allocatable: { cpu: '1', memory: '1Gi', pods: '2' } });
    const nominations = createNominations();
    nominations.set(pod({ name: 'promised', priority: 10, requests: { cpu: '1' } }), 'a');
    const fits = (words: PodWords): boolean => {
      const cycle = beginFilters(plugins, pod({ requests: { cpu: '1' }, ...words }), { cluster, nominations });
      const node = cluster.node('a');
      return isCycle(cycle) && node !== undefined && cycle.check(node) === undefined;
    };
    assert.equal(fits({ priority: 9 }), false);
    assert.equal(fits({ priority: 10 }), false);
    assert.equal(fits({ priority: 11 }), true);
    assert.equal(fits({ name: 'promised', priority: 10 }), true);
    nominations.delete('promised');
    assert.equal(fits({ priority: 9 }), true);
    assert.equal(cluster.node('a')?.requested.cpu, 0);
  });
});
