/** Which changes are told to pods that wait: too few and they wait five minutes, too many and every heartbeat tries them all. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ClientObject } from '../../client/client.ts';
import type { ResourceRef, Stored } from '../../kinds/kind.ts';
import { nodes, pods } from '../../kinds/resources.ts';
import type { Plugin } from '../plugin.ts';
import { contextWith, makeNode, makePod, type NodeWords, pod, type PodWords } from '../scheduling.fixture.ts';
import { interPodAffinity } from './inter-pod-affinity.ts';
import { nodeAffinity } from './node-affinity.ts';
import { nodePorts } from './node-ports.ts';
import { nodeResourcesFit } from './node-resources-fit.ts';
import { nodeUnschedulable } from './node-unschedulable.ts';
import { podTopologySpread } from './pod-topology-spread.ts';
import { taintToleration } from './taint-toleration.ts';

type Shown = Stored<ClientObject> | undefined;

function helps(plugin: Plugin, waiting: PodWords, resource: ResourceRef, now: Shown, old: Shown): boolean {
  return (plugin.hints ?? []).some((hint) => hint.resource === resource && hint.helps(pod(waiting), now, old));
}

const node = (words: Partial<NodeWords> = {}) => makeNode({ name: 'n', ...words });
const there = (words: PodWords = {}) => makePod({ nodeName: 'n', ...words });
const taint = { key: 'k', effect: 'NoSchedule' };
const allocatable = (cpu: string) => ({ allocatable: { cpu, memory: '1Gi', pods: '10' } });
const labelSelector = { matchLabels: { app: 'a' } };
const near: PodWords = {
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'z', labelSelector }] } },
};
const far: PodWords = {
  affinity: {
    podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'z', labelSelector }] },
  },
};
const spread: PodWords = {
  labels: { app: 'a' },
  topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'z', whenUnsatisfiable: 'DoNotSchedule', labelSelector }],
};
const port: PodWords = { containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }] };
const a: PodWords = { labels: { app: 'a' } };
const affinity = interPodAffinity(contextWith());
const spreading = podTopologySpread(contextWith());

describe('hints', () => {
  const ofNodes: [string, Plugin, PodWords, Shown, Shown, boolean][] = [
    ['a heartbeat is no room', nodeResourcesFit, { requests: { cpu: '1' } }, node(), node(), false],
    ['more cpu is', nodeResourcesFit, { requests: { cpu: '1' } }, node(allocatable('2')), node(allocatable('1')), true],
    [
      'less is not',
      nodeResourcesFit,
      { requests: { cpu: '1' } },
      node(allocatable('1')),
      node(allocatable('2')),
      false,
    ],
    ['a new node is', nodeResourcesFit, { requests: { cpu: '1' } }, node(), undefined, true],
    ['one that is too small is not', nodeResourcesFit, { requests: { cpu: '9' } }, node(), undefined, false],
    ['a taint that went', taintToleration, {}, node(), node({ taints: [taint] }), true],
    ['a taint that came', taintToleration, {}, node({ taints: [taint] }), node(), false],
    [
      'a taint of two that went',
      taintToleration,
      {},
      node({ taints: [taint] }),
      node({ taints: [taint, { ...taint, key: 'x' }] }),
      false,
    ],
    ['uncordoned', nodeUnschedulable, {}, node(), node({ unschedulable: true }), true],
    ['cordoned', nodeUnschedulable, {}, node({ unschedulable: true }), node(), false],
    ['a label that is wanted', nodeAffinity, { nodeSelector: { z: 'x' } }, node({ labels: { z: 'x' } }), node(), true],
    ['one that is not', nodeAffinity, { nodeSelector: { z: 'x' } }, node({ labels: { z: 'y' } }), node(), false],
    [
      'a heartbeat says nothing of affinity',
      affinity,
      near,
      node({ labels: { z: 'x' } }),
      node({ labels: { z: 'x' } }),
      false,
    ],
    ['a new domain', spreading, spread, node({ labels: { z: 'new' } }), undefined, true],
    ['a domain that went', spreading, spread, undefined, node({ labels: { z: 'x' } }), true],
    [
      'a heartbeat says nothing of spreading',
      spreading,
      spread,
      node({ labels: { z: 'x' } }),
      node({ labels: { z: 'x' } }),
      false,
    ],
  ];
  for (const [what, plugin, waiting, now, old, expected] of ofNodes)
    it(`nodes, ${plugin.name}: ${what}`, () => assert.equal(helps(plugin, waiting, nodes, now, old), expected));

  const ofPods: [string, Plugin, PodWords, Shown, Shown, boolean][] = [
    ['a pod that went leaves room', nodeResourcesFit, {}, undefined, there(), true],
    ['one that came does not', nodeResourcesFit, {}, there(), undefined, false],
    ['a port that is free', nodePorts, port, undefined, there(port), true],
    ['another port', nodePorts, port, undefined, there(), false],
    ['somebody to be near to came', affinity, near, there(a), undefined, true],
    ['somebody else came', affinity, near, there(), undefined, false],
    ['somebody to be far from went', affinity, far, undefined, there(a), true],
    ['somebody to be far from came', affinity, far, there(a), undefined, false],
    ['one who did not want it went', affinity, a, undefined, there(far), true],
    ['one to spread with came', spreading, spread, there(a), undefined, true],
    ['one of another namespace', spreading, spread, there({ ...a, namespace: 'other' }), undefined, false],
    ['one that is not selected', spreading, spread, there(), undefined, false],
  ];
  for (const [what, plugin, waiting, now, old, expected] of ofPods)
    it(`pods, ${plugin.name}: ${what}`, () => assert.equal(helps(plugin, waiting, pods, now, old), expected));
});
