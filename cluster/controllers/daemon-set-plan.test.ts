import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { DaemonSet, RollingUpdateDaemonSet } from '../kinds/types/apps.ts';
import type { Node, Pod, PodSpec, Taint } from '../kinds/types/core.ts';
import { nodeOf, placementOn, planDaemonSet } from './daemon-set-plan.ts';

const now = Date.parse('2024-03-01T10:00:00Z');
const stored = (name: string) => ({
  name,
  uid: name,
  resourceVersion: '1',
  creationTimestamp: '2024-03-01T09:00:00Z',
});

/** `a` is ready and new on node a; `-` after it: not ready, `o`: of the old template, `x`: stopping, `!`: failed, `?`: not bound. */
function pod(text: string): Stored<Pod> {
  const node = text[0] ?? '';
  const is = (mark: string): boolean => text.includes(mark);
  const terms = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }];
  return {
    metadata: {
      ...stored(text),
      labels: { 'controller-revision-hash': is('o') ? 'old' : 'new' },
      ...(is('x') && { deletionTimestamp: '2024-03-01T09:59:00Z' }),
    },
    spec: {
      containers: [],
      ...(!is('?') && { nodeName: node }),
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } },
    },
    status: {
      phase: is('!') ? 'Failed' : 'Running',
      conditions: [{ type: 'Ready', status: is('-') || is('!') || is('?') ? 'False' : 'True' }],
    },
  };
}

function daemonSet(rollingUpdate: RollingUpdateDaemonSet | undefined, spec: Partial<PodSpec> = {}): Stored<DaemonSet> {
  return {
    metadata: stored('set'),
    spec: {
      selector: {},
      template: { spec: { containers: [], ...spec } },
      updateStrategy: rollingUpdate ? { type: 'RollingUpdate', rollingUpdate } : { type: 'OnDelete' },
    },
  };
}

const node = (name: string, taints: Taint[] = [], labels: Record<string, string> = {}): Stored<Node> => ({
  metadata: { ...stored(name), labels },
  spec: { taints },
});

function does(pods: string, rollingUpdate: RollingUpdateDaemonSet | undefined): string {
  const plan = planDaemonSet({
    set: daemonSet(rollingUpdate),
    nodes: ['a', 'b', 'c', 'd'].map((name) => node(name)),
    pods: pods.split(' ').filter(Boolean).map(pod),
    isGoing: ({ metadata }) => metadata.deletionTimestamp !== undefined,
    hash: 'new',
    collisions: 0,
    now,
  });
  const gone = [...plan.remove, ...plan.ended].map(({ metadata }) => `-${metadata.name}`);
  return [...plan.create.map((name) => `+${name}`), ...gone].join(' ');
}

describe('the next step of a daemon set', () => {
  const one = { maxUnavailable: 1 };
  const surge = { maxSurge: 1, maxUnavailable: 0 };
  const cases: [what: string, pods: string, update: RollingUpdateDaemonSet | undefined, does: string][] = [
    ['makes one on each node', '', one, '+a +b +c +d'],
    ['waits for one that stops', 'a bx c d', one, ''],
    ['keeps one of two', 'a a b c d', one, '-a'],
    ['drops one that ended', 'a! b c d', one, '-a!'],
    ['drops one that waits for a node that is no more', 'a b c d z?', one, '-z?'],
    ['updates one at a time', 'ao bo co do', one, '-ao'],
    ['updates none while another is not available', 'a- bo co do', one, ''],
    ['replaces what serves nobody at once', 'a- bo- co do', one, '-bo-'],
    ['updates as many as a share, rounded up, says', 'ao bo co do', { maxUnavailable: '30%' }, '-ao -bo'],
    ['makes new ones beside old ones', 'ao bo co do', surge, '+a'],
    ['waits for the new one', 'ao a- bo co do', surge, ''],
    ['drops the old one when the new one is available, and goes on', 'ao a bo co do', surge, '+b -ao'],
    ['updates nothing by itself', 'ao bo co do', undefined, ''],
  ];
  for (const [what, pods, update, wanted] of cases) it(what, () => assert.equal(does(pods, update), wanted));

  it('is for nodes whose taints it bears', () => {
    const set = daemonSet(undefined, { nodeSelector: { disk: 'fast' } });
    const fast = { disk: 'fast' };
    const taint = (key: string, effect: string): Taint[] => [{ key, effect }];
    assert.deepEqual(placementOn(set, node('a', [], fast)), { run: true, stay: true });
    assert.deepEqual(placementOn(set, node('a')), { run: false, stay: false });
    assert.deepEqual(placementOn(set, node('a', taint('x', 'NoSchedule'), fast)), { run: false, stay: true });
    assert.deepEqual(placementOn(set, node('a', taint('x', 'NoExecute'), fast)), { run: false, stay: false });
    const cordoned = taint('node.kubernetes.io/unschedulable', 'NoSchedule');
    assert.deepEqual(placementOn(set, node('a', cordoned, fast)), { run: true, stay: true });
  });

  it('knows where a pod will be before it is bound', () => {
    assert.deepEqual([nodeOf(pod('a')), nodeOf(pod('b?'))], ['a', 'b']);
  });
});
