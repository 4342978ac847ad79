import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clusterOf, pod, type PodWords, scores } from '../scheduling.fixture.ts';
import { balancedAllocation } from './balanced-allocation.ts';
import { imageLocality } from './image-locality.ts';
import { nodeAffinity } from './node-affinity.ts';
import { nodeResourcesFit } from './node-resources-fit.ts';
import { taintToleration } from './taint-toleration.ts';

const node = (name: string, cpu: string, memory: string, ...used: Record<string, string>[]) => ({
  name,
  allocatable: { cpu, memory, pods: '110' },
  pods: used.map((requests) => pod({ requests })),
});

describe('NodeResourcesFit, least allocated', () => {
  const cases: [string, PodWords, ReturnType<typeof node>[], Record<string, number>][] = [
    [
      'the greater node of two that are empty',
      { requests: { cpu: '3000m', memory: '5000' } },
      [node('a', '4000m', '10000'), node('b', '6000m', '10000')],
      // cpu (4000-3000)*100/4000 = 25, memory 50; cpu 50, memory 50.
      { a: 37, b: 50 },
    ],
    [
      'what is there counts',
      { requests: { cpu: '3000m', memory: '5000' } },
      [
        node('a', '10000m', '20000', { cpu: '3000m', memory: '0' }),
        node('b', '10000m', '20000', { cpu: '3000m', memory: '5000' }),
      ],
      // (40 + 75) / 2, (40 + 50) / 2.
      { a: 57, b: 45 },
    ],
    [
      'what would be too much is nothing',
      { requests: { cpu: '3000m', memory: '0' } },
      [node('a', '2000m', '10000'), node('b', '4000m', '10000')],
      { a: 50, b: 62 },
    ],
    [
      'a pod that names nothing is taken to use a little',
      {},
      [node('a', '1000m', '400Mi')],
      // 100 m of 1000, 200 Mi of 400.
      { a: 70 },
    ],
  ];
  for (const [what, words, nodes, expected] of cases)
    it(what, () => assert.deepEqual(scores(nodeResourcesFit, pod(words), clusterOf(...nodes)), expected));
});

describe('NodeResourcesBalancedAllocation', () => {
  it('likes the node whose shares are nearer', () => {
    const nodes = clusterOf(node('a', '4', '10000'), node('b', '6', '10000'), node('c', '10', '10000'));
    // Shares of cpu 0.75, 0.5, 0.3 against 0.5 of memory: half their distance is the deviation.
    assert.deepEqual(scores(balancedAllocation, pod({ requests: { cpu: '3', memory: '5000' } }), nodes), {
      a: 87,
      b: 100,
      c: 90,
    });
  });

  it('takes no more than all', () => {
    const nodes = clusterOf(node('a', '1', '10000', { cpu: '3' }));
    assert.deepEqual(scores(balancedAllocation, pod({ requests: { memory: '5000' } }), nodes), { a: 75 });
  });
});

describe('TaintToleration, scored', () => {
  const soft = (...keys: string[]) => keys.map((key) => ({ key, effect: 'PreferNoSchedule' }));
  const nodes = clusterOf(
    { name: 'a', taints: soft('x', 'y') },
    { name: 'b', taints: soft('x') },
    { name: 'c', taints: [{ key: 'x', effect: 'NoSchedule' }] },
  );
  it('the fewer taints that are not tolerated, the better', () => {
    assert.deepEqual(scores(taintToleration, pod(), nodes), { a: 0, b: 50, c: 100 });
    const tolerations = [{ key: 'x', operator: 'Exists' }];
    assert.deepEqual(scores(taintToleration, pod({ tolerations }), nodes), { a: 0, b: 100, c: 100 });
  });
  it('a toleration of another effect does not count', () => {
    const tolerations = [{ key: 'x', operator: 'Exists', effect: 'NoSchedule' }];
    assert.deepEqual(scores(taintToleration, pod({ tolerations }), nodes), { a: 0, b: 50, c: 100 });
  });
});

describe('NodeAffinity, scored', () => {
  it('adds the weights of the preferences that hold; the greatest sum is 100', () => {
    const preferred = (weight: number, key: string) => ({
      weight,
      preference: { matchExpressions: [{ key, operator: 'Exists' }] },
    });
    const affinity = {
      nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [preferred(1, 'x'), preferred(3, 'y')] },
    };
    const nodes = clusterOf(
      { name: 'a', labels: { x: '', y: '' } },
      { name: 'b', labels: { y: '' } },
      { name: 'c', labels: { x: '' } },
      { name: 'd' },
    );
    assert.deepEqual(scores(nodeAffinity, pod({ affinity }), nodes), { a: 100, b: 75, c: 25, d: 0 });
  });
});

describe('ImageLocality', () => {
  const MIB = 1024 * 1024;
  const images = (...list: [string, number][]) =>
    list.map(([name, mib]) => ({ names: [`${name}:latest`], sizeBytes: mib * MIB }));
  const using = (...names: string[]): PodWords => ({
    containers: names.map((image, at) => ({ name: `c${at}`, image })),
  });

  it('likes the node that has the image, by its size and by how many have it', () => {
    const nodes = clusterOf(
      { name: 'a', images: images(['one', 40], ['big', 300]) },
      { name: 'b', images: images(['big', 300]) },
      { name: 'c' },
    );
    // Of `one`: 40 MiB * 1/3 is below what counts at all. Of `big`: (300 * 2/3 - 23) / (1000 - 23).
    assert.deepEqual(scores(imageLocality, pod(using('one')), nodes), { a: 0, b: 0, c: 0 });
    assert.deepEqual(scores(imageLocality, pod(using('big')), nodes), { a: 18, b: 18, c: 0 });
    // (40/3 + 200 - 23) / (2000 - 23)
    assert.deepEqual(scores(imageLocality, pod(using('one', 'big')), nodes), { a: 9, b: 8, c: 0 });
  });

  it('knows no more of an image than its node', () => {
    const nodes = clusterOf({ name: 'a', images: images(['big', 5000]) });
    assert.deepEqual(scores(imageLocality, pod(using('big')), nodes), { a: 100 });
    nodes.removeNode('a');
    assert.equal(nodes.nodesWithImage('big:latest'), 0);
  });
});
