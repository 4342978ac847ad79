import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { services } from '../kinds/resources.ts';
import { createBatches } from './batch.ts';
import type { Cluster } from './cluster.ts';
import { beginFilters, type FilterCycle, isCycle } from './filter-cycle.ts';
import type { NodeInfo } from './node-info.ts';
import { createNominations, type Nominations } from './nominations.ts';
import { balancedAllocation } from './plugins/balanced-allocation.ts';
import { interPodAffinity } from './plugins/inter-pod-affinity.ts';
import { podTopologySpread } from './plugins/pod-topology-spread.ts';
import { nodeAffinity } from './plugins/node-affinity.ts';
import { nodePorts } from './plugins/node-ports.ts';
import { nodeResourcesFit } from './plugins/node-resources-fit.ts';
import { taintToleration } from './plugins/taint-toleration.ts';
import type { Plugin } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';
import { askScores, rawScores, sumScores } from './rank.ts';
import { clusterOf, contextWith, type NodeWords, pod, type PodWords } from './scheduling.fixture.ts';

const plugins = [
  taintToleration,
  nodeAffinity,
  nodePorts,
  nodeResourcesFit,
  balancedAllocation,
  interPodAffinity(contextWith()),
];

function begin(subject: PodInfo, cluster: Cluster, nominations: Nominations = createNominations()): FilterCycle {
  const cycle = beginFilters(plugins, subject, { cluster, nominations });
  assert.ok(isCycle(cycle));
  return cycle;
}

const service = { metadata: { name: 's', namespace: 'default' }, spec: { selector: { app: 'web' } } };
const spreading = [...plugins, podTopologySpread(contextWith([{ resource: services, object: service }]))];

const various = (count: number): NodeWords[] =>
  Array.from({ length: count }, (_, at) => ({
    name: `n${at}`,
    allocatable: { cpu: String(1 + (at % 4)), memory: `${1 + (at % 3)}Gi`, pods: '5' },
    labels: { zone: at % 2 === 0 ? 'a' : 'b' },
    ...(at % 5 === 0 && { taints: [{ key: 'k', effect: 'PreferNoSchedule' }] }),
  }));

const alike: PodWords = {
  requests: { cpu: '300m', memory: '100Mi' },
  affinity: {
    nodeAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        { weight: 1, preference: { matchExpressions: [{ key: 'zone', operator: 'In', values: ['b'] }] } },
      ],
    },
  },
};

describe('a batch', () => {
  const zone = { topologyKey: 'zone', labelSelector: { matchLabels: { app: 'web' } } };
  const preferred = {
    preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, podAffinityTerm: zone }],
  };
  const web = { ...alike, labels: { app: 'web' } };
  const crowds: [string, Plugin[], PodWords][] = [
    ['a crowd', plugins, alike],
    ['a crowd that is spread', spreading, web],
    ['a crowd that would rather be apart', plugins, { ...web, affinity: { podAntiAffinity: preferred } }],
  ];
  for (const [what, all, words] of crowds) {
    it(`gives each pod of ${what} a node that is best for it, and room is there`, () => {
      const cluster = clusterOf(...various(60));
      const batches = createBatches(all, cluster);
      let again = 0;
      for (let index = 0; index < 150; index++) {
        const subject = pod(words);
        const cycle = begin(subject, cluster);
        const fitting = cluster.nodes().filter((node) => cycle.check(node) === undefined);
        const asked = askScores(all, subject, { cluster, nodes: fitting });
        const sums = sumScores(asked, rawScores(asked, fitting), fitting.length);
        const kept = batches.next(cycle);
        const node = kept ?? batches.choose(cycle, fitting);
        if (kept) again++;
        assert.ok(node);
        // Taken from a batch, it is as good as from a search of all nodes, which this batch was.
        assert.equal(sums[fitting.indexOf(node)], Math.max(...sums));
        cluster.place(subject, node.name);
        batches.placed();
      }
      assert.ok(again > 100, `${again} of 150 needed no search`);
    });
  }

  const cases: [string, (cluster: Cluster, nominations: Nominations) => void, PodWords, boolean][] = [
    ['a pod that is alike', () => undefined, {}, true],
    ['one of another owner and name', () => undefined, { name: 'x', labels: { app: 'x' } }, true],
    ['one that asks for more', () => undefined, { requests: { cpu: '301m', memory: '100Mi' } }, false],
    ['one that tolerates more', () => undefined, { tolerations: [{ operator: 'Exists' }] }, false],
    ['one that says something about others', () => undefined, near(), false],
    ['a node that changed', (cluster) => cluster.removeNode('n1'), {}, false],
    ['another pod that came', (cluster) => cluster.place(pod(), 'n2'), {}, false],
    ['a promise', (_, nominations) => nominations.set(pod({ priority: 1 }), 'n1'), {}, false],
  ];
  for (const [what, change, words, holds] of cases) {
    it(`${holds ? 'holds for' : 'does not hold after, or for,'} ${what}`, () => {
      const cluster = clusterOf(...various(20));
      const nominations = createNominations();
      const batches = createBatches(plugins, cluster);
      const first = pod(alike);
      const chosen: NodeInfo | undefined = batches.choose(begin(first, cluster), [...cluster.nodes()]);
      assert.ok(chosen);
      cluster.place(first, chosen.name);
      batches.placed();
      change(cluster, nominations);
      assert.equal(batches.next(begin(pod({ ...alike, ...words }), cluster, nominations)) !== undefined, holds);
    });
  }

  it('that fits nowhere is told so without asking anybody, until something changes', () => {
    const cluster = clusterOf(...various(20));
    const batches = createBatches(plugins, cluster);
    const words: PodWords = { requests: { cpu: '100' } };
    const diagnosis = { plugins: new Set(['NodeResourcesFit']), rejections: new Map() };
    assert.equal(batches.hopeless(begin(pod(words), cluster)), undefined);
    batches.foundNothing(begin(pod(words), cluster), diagnosis);
    assert.equal(batches.hopeless(begin(pod(words), cluster)), diagnosis);
    assert.equal(batches.hopeless(begin(pod({ requests: { cpu: '99' } }), cluster)), undefined);
    cluster.removeNode('n1');
    assert.equal(batches.hopeless(begin(pod(words), cluster)), undefined);
  });

  it('leaves a node that is full', () => {
    const cluster = clusterOf(...various(12));
    const port = { containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }] };
    const batches = createBatches(plugins, cluster);
    const nodes = new Set<string>();
    for (let index = 0; index < 3; index++) {
      const subject = pod(port);
      const cycle = begin(subject, cluster);
      const node = batches.next(cycle) ?? batches.choose(cycle, [...cluster.nodes()]);
      assert.ok(node);
      nodes.add(node.name);
      cluster.place(subject, node.name);
      batches.placed();
    }
    assert.equal(nodes.size, 3);
  });
});

function near(): PodWords {
  const term = { topologyKey: 'zone', labelSelector: { matchLabels: { app: 'web' } } };
  return {
    labels: { app: 'web' },
    affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } },
  };
}
