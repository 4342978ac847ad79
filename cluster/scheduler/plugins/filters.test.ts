import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PodSpec, Toleration } from '../../kinds/types/core.ts';
import { clusterOf, fitting, pod, type PodWords, refusals } from '../scheduling.fixture.ts';
import { nodeAffinity } from './node-affinity.ts';
import { nodeName } from './node-name.ts';
import { nodePorts } from './node-ports.ts';
import { nodeResourcesFit } from './node-resources-fit.ts';
import { nodeUnschedulable } from './node-unschedulable.ts';
import { taintToleration } from './taint-toleration.ts';

describe('NodeName and NodeUnschedulable', () => {
  const cluster = clusterOf({ name: 'a' }, { name: 'b', unschedulable: true });

  it('a named node is the only one', () => {
    assert.deepEqual(refusals(nodeName, pod({ nodeName: 'a' }), cluster), {
      a: '',
      b: "node(s) didn't match the requested node name",
    });
  });

  it('a cordoned node takes nobody but those that tolerate it', () => {
    assert.deepEqual(refusals(nodeUnschedulable, pod(), cluster), { a: '', b: 'node(s) were unschedulable' });
    const tolerations = [{ key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' }];
    assert.deepEqual(fitting(nodeUnschedulable, pod({ tolerations }), cluster), ['a', 'b']);
  });
});

describe('TaintToleration', () => {
  const taint = { key: 'k', value: 'v', effect: 'NoSchedule' };
  const cluster = clusterOf({ name: 'a', taints: [taint] });
  const cases: [string, Toleration[], boolean][] = [
    ['no toleration', [], false],
    ['equal', [{ key: 'k', operator: 'Equal', value: 'v', effect: 'NoSchedule' }], true],
    ['equal is the default', [{ key: 'k', value: 'v' }], true],
    ['another value', [{ key: 'k', value: 'w' }], false],
    ['exists', [{ key: 'k', operator: 'Exists' }], true],
    ['everything', [{ operator: 'Exists' }], true],
    ['another effect', [{ key: 'k', operator: 'Exists', effect: 'NoExecute' }], false],
    ['no key and not Exists', [{ value: 'v' }], false],
  ];
  for (const [what, tolerations, tolerated] of cases) {
    it(what, () =>
      assert.deepEqual(refusals(taintToleration, pod({ tolerations }), cluster), {
        a: tolerated ? '' : 'node(s) had untolerated taint {k: v}',
      }),
    );
  }

  it('NoExecute keeps off too, PreferNoSchedule does not', () => {
    const nodes = clusterOf(
      { name: 'a', taints: [{ ...taint, effect: 'NoExecute' }] },
      { name: 'b', taints: [{ ...taint, effect: 'PreferNoSchedule' }] },
    );
    assert.deepEqual(fitting(taintToleration, pod(), nodes), ['b']);
  });
});

describe('NodeAffinity', () => {
  const cluster = clusterOf(
    { name: 'a', labels: { zone: 'x', cores: '8', odd: '8x' } },
    { name: 'b', labels: { zone: 'y', cores: '16' } },
    { name: 'c' },
  );
  const required = (...nodeSelectorTerms: object[]): Partial<PodSpec> => ({
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: nodeSelectorTerms as never[],
        },
      },
    },
  });
  const expression = (key: string, operator: string, ...values: string[]): object => ({
    matchExpressions: [{ key, operator, values }],
  });
  const field = (operator: string, ...values: string[]): object => ({
    matchFields: [{ key: 'metadata.name', operator, values }],
  });
  const cases: [string, Partial<PodSpec>, string[]][] = [
    ['node selector', { nodeSelector: { zone: 'x' } }, ['a']],
    ['node selector of two', { nodeSelector: { zone: 'x', cores: '16' } }, []],
    ['In', required(expression('zone', 'In', 'x', 'y')), ['a', 'b']],
    ['NotIn holds for what has no such label', required(expression('zone', 'NotIn', 'x')), ['b', 'c']],
    ['Exists', required(expression('zone', 'Exists')), ['a', 'b']],
    ['DoesNotExist', required(expression('zone', 'DoesNotExist')), ['c']],
    ['Gt is strict', required(expression('cores', 'Gt', '8')), ['b']],
    ['Lt is strict', required(expression('cores', 'Lt', '16')), ['a']],
    ['what is no whole number is not greater', required(expression('odd', 'Gt', '1')), []],
    ['nor greater than what is none', required(expression('cores', 'Gt', '1.5')), []],
    ['terms are alternatives', required(expression('zone', 'In', 'x'), expression('cores', 'Gt', '8')), ['a', 'b']],
    ['a term without requirements matches nothing', required({}), []],
    ['an empty term beside another', required({}, expression('zone', 'In', 'y')), ['b']],
    ['a field', required(field('In', 'c')), ['c']],
    ['a field that is denied', required(field('NotIn', 'c')), ['a', 'b']],
    ['selector and affinity both', { nodeSelector: { zone: 'y' }, ...required(expression('cores', 'Exists')) }, ['b']],
  ];
  for (const [what, spec, names] of cases)
    it(what, () => assert.deepEqual(fitting(nodeAffinity, pod(spec), cluster), names));

  it('says why', () => {
    assert.equal(
      refusals(nodeAffinity, pod({ nodeSelector: { zone: 'z' } }), cluster)['a'],
      "node(s) didn't match Pod's node affinity/selector",
    );
    const both = {
      matchFields: [
        { key: 'metadata.name', operator: 'In', values: ['a'] },
        { key: 'metadata.name', operator: 'In', values: ['b'] },
      ],
    };
    assert.equal(refusals(nodeAffinity, pod(required(both)), cluster)['a'], 'pod affinity terms conflict');
  });
});

describe('NodePorts', () => {
  const taken = "node(s) didn't have free ports for the requested pod ports";
  const ports = (hostPort: number, hostIP?: string, protocol = 'TCP'): PodWords => ({
    containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort, protocol, ...(hostIP && { hostIP }) }] }],
  });
  const cases: [string, PodWords, PodWords, string][] = [
    ['another port', ports(81), ports(80), ''],
    ['the same', ports(80), ports(80), taken],
    ['another protocol', ports(80, undefined, 'UDP'), ports(80), ''],
    ['another address', ports(80, '10.0.0.2'), ports(80, '10.0.0.1'), ''],
    ['the same address', ports(80, '10.0.0.1'), ports(80, '10.0.0.1'), taken],
    ['every address after one', ports(80), ports(80, '10.0.0.1'), taken],
    ['one after every address', ports(80, '10.0.0.1'), ports(80), taken],
    ['no host port', { containers: [{ name: 'c', ports: [{ containerPort: 80 }] }] }, ports(80), ''],
  ];
  for (const [what, wanted, there, reason] of cases) {
    it(what, () => {
      const cluster = clusterOf({ name: 'a', pods: [pod(there)] });
      assert.deepEqual(refusals(nodePorts, pod(wanted), cluster), { a: reason });
    });
  }

  it('gives a port back when the pod goes', () => {
    const [first, second] = [pod(ports(80)), pod(ports(80, '10.0.0.1'))];
    const cluster = clusterOf({ name: 'a', pods: [first, second] });
    cluster.remove(first.uid);
    assert.equal(refusals(nodePorts, pod(ports(80)), cluster)['a'], taken);
    cluster.remove(second.uid);
    assert.equal(refusals(nodePorts, pod(ports(80)), cluster)['a'], '');
  });
});

describe('NodeResourcesFit', () => {
  const allocatable = { cpu: '1', memory: '1Gi', pods: '3', 'ephemeral-storage': '1Gi', 'example.com/gpu': '1' };
  const used = (requests: Record<string, string>): ReturnType<typeof pod> => pod({ requests });
  const cases: [string, Record<string, string>, Record<string, string>, string][] = [
    ['exactly what is left', { cpu: '100m' }, { cpu: '900m' }, ''],
    ['a little more', { cpu: '101m' }, { cpu: '900m' }, 'Insufficient cpu'],
    ['nothing asked of what is overbooked', {}, { cpu: '2' }, ''],
    ['zero asked of what is overbooked', { cpu: '0' }, { cpu: '2' }, ''],
    ['memory', { memory: '1025Mi' }, {}, 'Insufficient memory'],
    ['storage', { 'ephemeral-storage': '2Gi' }, {}, 'Insufficient ephemeral-storage'],
    ['an extended resource', { 'example.com/gpu': '1' }, { 'example.com/gpu': '1' }, 'Insufficient example.com/gpu'],
    ['one that the node does not have', { 'example.com/fpga': '1' }, {}, 'Insufficient example.com/fpga'],
    [
      'everything at once',
      { cpu: '2', memory: '2Gi', 'example.com/gpu': '2' },
      {},
      'Insufficient cpu, Insufficient memory, Insufficient example.com/gpu',
    ],
  ];
  for (const [what, wanted, there, reason] of cases) {
    it(what, () => {
      const cluster = clusterOf({ name: 'a', allocatable, pods: [used(there)] });
      assert.deepEqual(refusals(nodeResourcesFit, used(wanted), cluster), { a: reason });
    });
  }

  it('counts pods', () => {
    const cluster = clusterOf({ name: 'a', allocatable, pods: [pod(), pod(), pod()] });
    assert.deepEqual(refusals(nodeResourcesFit, pod(), cluster), { a: 'Too many pods' });
  });
});
