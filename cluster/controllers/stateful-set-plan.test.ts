import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { StatefulSet, StatefulSetSpec } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import { ordinalOf, planStatefulSet } from './stateful-set-plan.ts';

const now = Date.parse('2024-03-01T10:00:00Z');
const stored = (name: string) => ({
  name,
  uid: name,
  resourceVersion: '1',
  creationTimestamp: '2024-03-01T09:00:00Z',
});

/** `0` is ready and new; `-` after it: not ready, `o`: of the old template, `x`: stopping, `!`: failed. */
function pod(text: string): Stored<Pod> {
  const [ordinal = ''] = /^\d+/.exec(text) ?? [];
  const is = (mark: string): boolean => text.includes(mark);
  const ready = !is('-') && !is('!');
  return {
    metadata: {
      ...stored(`db-${ordinal}`),
      labels: { 'controller-revision-hash': is('o') ? 'old' : 'new' },
      ...(is('x') && { deletionTimestamp: '2024-03-01T09:59:00Z' }),
    },
    status: {
      phase: is('!') ? 'Failed' : 'Running',
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2024-03-01T09:59:50Z' }],
    },
  };
}

function plan(pods: string, spec: Partial<StatefulSetSpec> = {}) {
  const set: Stored<StatefulSet> = {
    metadata: stored('db'),
    spec: {
      serviceName: 'db',
      replicas: 3,
      selector: {},
      template: {},
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
      ...spec,
    },
  };
  const planned = planStatefulSet({
    set,
    pods: pods.split(' ').filter(Boolean).map(pod),
    isGoing: ({ metadata }) => metadata.deletionTimestamp !== undefined,
    currentRevision: 'old',
    updateRevision: 'new',
    collisions: 0,
    now,
  });
  const made = planned.create.map(({ ordinal, revision }) => `+${ordinal}${revision === 'current' ? 'o' : ''}`);
  const gone = planned.remove.map(({ metadata }) => `-${metadata.name.slice(3)}`);
  return { ...planned, does: [...made, ...gone].join(' ') };
}

describe('the next step of a stateful set', () => {
  const parallel: Partial<StatefulSetSpec> = { podManagementPolicy: 'Parallel' };
  const partition = (value: number): Partial<StatefulSetSpec> => ({
    updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: value } },
  });
  const cases: [what: string, pods: string, spec: Partial<StatefulSetSpec>, does: string][] = [
    ['makes the first', '', {}, '+0'],
    ['makes the next when the last is ready', '0', {}, '+1'],
    ['waits for one that is not ready', '0-', {}, ''],
    ['waits for one that stops', '0x 1 2', {}, ''],
    ['fills a gap first', '0 2', {}, '+1'],
    ['waits until a pod is ready for long enough', '0', { minReadySeconds: 20 }, ''],
    ['makes all at once', '1-', parallel, '+0 +2'],
    ['begins where the ordinals do', '', { ordinals: { start: 5 } }, '+5'],
    ['replaces one that failed', '0 1! 2', {}, '-1'],
    ['drops the last first', '0 1 2 3 4', {}, '-4'],
    ['drops nothing while another is unwell', '0 1- 2 3 4', {}, ''],
    ['waits for the last to be gone', '0 1 2 3 4x', {}, ''],
    ['drops all at once', '0 1 2 3 4', parallel, '-4 -3'],
    ['drops one that is itself what is unwell', '0 1 2 3-', {}, '-3'],
    ['updates the last first', '0o 1o 2o', {}, '-2'],
    ['updates the next when that is ready', '0o 1o 2', {}, '-1'],
    ['updates none while one is not ready', '0o 1o 2-', {}, ''],
    ['updates down to the partition', '0o 1o 2', partition(2), ''],
    ['makes a pod below the partition as it was', '1o 2', partition(2), '+0o'],
    ['updates nothing by itself', '0o 1o 2o', { updateStrategy: { type: 'OnDelete' } }, ''],
  ];
  for (const [what, pods, spec, does] of cases) it(what, () => assert.equal(plan(pods, spec).does, does));

  it('counts by revision, and takes the new one for current when all have it', () => {
    const half = plan('0o 1o- 2').status;
    assert.deepEqual(
      [half.replicas, half.readyReplicas, half.currentReplicas, half.updatedReplicas, half.currentRevision],
      [3, 2, 2, 1, 'old'],
    );
    const all = plan('0 1 2').status;
    assert.deepEqual([all.currentReplicas, all.updatedReplicas, all.currentRevision], [3, 3, 'new']);
    assert.equal(plan('0 1 2', { minReadySeconds: 20 }).again, 10_000);
  });

  it('takes for its own only names that are exactly a number after its own', () => {
    const set: StatefulSet = { metadata: { name: 'db' } };
    const of = (name: string) => ordinalOf(set, { metadata: { name } });
    assert.deepEqual(['db-0', 'db-12', 'db-01', 'db-', 'db-x-1', 'other-1'].map(of), [
      0,
      12,
      ...Array(4).fill(undefined),
    ]);
  });
});
