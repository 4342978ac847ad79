import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { Deployment, ReplicaSet } from '../kinds/types/apps.ts';
import { byAge, isScaled, limits, newestRevision, type Plan, planRolling, planScale } from './deployment-plan.ts';

const template = { spec: { containers: [] } };

function deployment(replicas: number, maxSurge: number | string, maxUnavailable: number | string): Deployment {
  return {
    metadata: { name: 'd' },
    spec: {
      replicas,
      selector: {},
      template,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge, maxUnavailable } },
    },
  };
}

function set(
  name: string,
  replicas: number,
  availableReplicas: number,
  annotations: Record<string, string> = {},
): Stored<ReplicaSet> {
  return {
    metadata: {
      name,
      uid: name,
      resourceVersion: '1',
      creationTimestamp: `2020-01-0${name.length}T00:00:00Z`,
      annotations,
    },
    spec: { replicas, selector: {} },
    status: { replicas, availableReplicas },
  };
}

const readable = (plan: Plan): Record<string, number> =>
  Object.fromEntries([...plan].map(([{ metadata }, count]) => [metadata.name, count]));

describe('deployment plan', () => {
  it('rounds surge up and unavailability down, and never stands still', () => {
    assert.deepEqual(limits(deployment(10, '25%', '25%')), { replicas: 10, maxSurge: 3, maxUnavailable: 2 });
    assert.deepEqual(limits(deployment(1, '25%', '25%')), { replicas: 1, maxSurge: 1, maxUnavailable: 0 });
    assert.deepEqual(limits(deployment(3, 0, 0)), { replicas: 3, maxSurge: 0, maxUnavailable: 1 });
  });

  it('rolls up first, then down as the new pods become available', () => {
    const subject = deployment(3, 1, 0);
    assert.deepEqual(readable(planRolling(subject, set('newer', 0, 0), [set('old', 3, 3)])), { newer: 1 });
    assert.deepEqual(readable(planRolling(subject, set('newer', 1, 0), [set('old', 3, 3)])), {});
    assert.deepEqual(readable(planRolling(subject, set('newer', 1, 1), [set('old', 3, 3)])), { old: 2 });
    assert.deepEqual(readable(planRolling(subject, set('newer', 1, 1), [set('old', 2, 2)])), { newer: 2 });
    assert.deepEqual(readable(planRolling(subject, set('newer', 3, 3), [set('old', 1, 1)])), { old: 0 });
    assert.deepEqual(readable(planRolling(subject, set('newer', 3, 3), [set('old', 0, 0)])), {});
  });

  it('takes unavailable old pods away first', () => {
    const subject = deployment(4, 1, 1);
    assert.deepEqual(readable(planRolling(subject, set('newest', 1, 0), [set('a', 2, 2), set('bb', 2, 1)])), { bb: 1 });
    assert.deepEqual(readable(planRolling(subject, set('newest', 1, 1), [set('a', 2, 2), set('bb', 2, 1)])), {
      a: 1,
      bb: 1,
    });
  });

  it('never plans fewer available or more pods than allowed, whatever becomes ready when', () => {
    let seed = 7;
    const random = (limit: number): number => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed % limit;
    };
    for (let round = 0; round < 300; round++) {
      const subject = deployment(1 + random(8), random(3), random(3));
      const { replicas, maxSurge, maxUnavailable } = limits(subject);
      let [current, old] = [set('newer', 0, 0), set('old', replicas, replicas)];
      for (let step = 0; step < 200; step++) {
        for (const [target, count] of planRolling(subject, current, [old])) {
          const available = Math.min(target.status?.availableReplicas ?? 0, count);
          if (target === current) current = set('newer', count, available);
          else old = set('old', count, available);
        }
        const total = (current.spec?.replicas ?? 0) + (old.spec?.replicas ?? 0);
        const available = (current.status?.availableReplicas ?? 0) + (old.status?.availableReplicas ?? 0);
        assert.ok(total <= replicas + maxSurge, `${total} pods, ${replicas}+${maxSurge} allowed`);
        assert.ok(
          available >= replicas - maxUnavailable,
          `${available} available, ${replicas}-${maxUnavailable} needed`,
        );
        const waiting = (current.spec?.replicas ?? 0) - (current.status?.availableReplicas ?? 0);
        if (waiting > 0)
          current = set(
            'newer',
            current.spec?.replicas ?? 0,
            (current.status?.availableReplicas ?? 0) + 1 + random(waiting),
          );
      }
      assert.deepEqual([current.spec?.replicas, old.spec?.replicas], [replicas, 0], `round ${round} came to an end`);
    }
  });

  it('scales the sets of a rollout in proportion', () => {
    const annotations = {
      'deployment.kubernetes.io/max-replicas': '13',
      'deployment.kubernetes.io/desired-replicas': '10',
    };
    // The example of the Kubernetes documentation: 10 replicas, 3 surge, rolled out to 8 and 5, then scaled to 15.
    const plan = planScale(deployment(15, 3, 2), set('newer', 5, 0, annotations), [set('old', 8, 8, annotations)]);
    assert.deepEqual(readable(plan), { newer: 7, old: 11 });
    assert.deepEqual(readable(planScale(deployment(5, 1, 1), set('newer', 3, 3), [set('old', 0, 0)])), { newer: 5 });
    assert.deepEqual(readable(planScale(deployment(0, 1, 1), set('newer', 3, 3), [set('old', 2, 2)])), {
      newer: 0,
      old: 0,
    });
  });

  it('goes on with a rollout that was scaled to what is there already', () => {
    const annotations = (desired: number) => ({ 'deployment.kubernetes.io/desired-replicas': String(desired) });
    const [one, two] = [set('a', 1, 1, annotations(2)), set('ab', 1, 1, annotations(2))];
    const subject = deployment(1, '25%', '25%');
    assert.equal(isScaled(subject, [one, two]), true);
    // Two are as many as one and its surge: each keeps its number, and is written for the new size.
    assert.deepEqual(readable(planScale(subject, undefined, [one, two])), { a: 1, ab: 1 });
    assert.deepEqual(readable(planScale(subject, undefined, [one])), { a: 1 });
    assert.deepEqual(readable(planScale(subject, undefined, [set('a', 1, 1, annotations(1))])), {});
  });
});

describe('revisions', () => {
  it('are numbers of 64 bits', () => {
    const revision = (text: string) => ({ 'deployment.kubernetes.io/revision': text });
    const later = set('b', 1, 1, revision('3546343826724305833'));
    const former = set('a', 1, 1, revision('3546343826724305832'));
    const sets = [later, former, set('c', 1, 1, revision('many')), set('d', 1, 1)];
    assert.equal(newestRevision(sets), 3546343826724305833n);
    assert.deepEqual(
      byAge([later, former]).map(({ metadata }) => metadata.name),
      ['a', 'b'],
    );
    assert.equal(newestRevision([]), 0n);
  });
});
