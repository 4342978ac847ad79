import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type ControlPlane,
  createNode,
  playNodes,
  playScheduler,
  startControlPlane,
  until,
} from '#testing/control-plane.ts';
import { ApiError } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { deployments, podDisruptionBudgets, pods } from '../kinds/resources.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetSpec } from '../kinds/types/policy.ts';
import { createDeploymentController } from './deployment.ts';
import { createDisruptionController } from './disruption.ts';
import { budgetStatus } from './disruption-plan.ts';
import { createReplicaSetController } from './replica-set.ts';

describe('disruption controller', () => {
  let plane: ControlPlane;
  const stops: (() => void)[] = [];
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    stops.push(playScheduler(plane.client, 'node-1'), playNodes(plane.client));
    await plane.start(createDisruptionController(), createDeploymentController(), createReplicaSetController());
  });
  after(async () => {
    for (const stop of stops) stop();
    await plane.close();
  });

  const evict = (namespace: string, name: string): Promise<unknown> =>
    plane.client.request({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/pods/${name}/eviction`,
      body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } },
    });

  it('lets as many pods be evicted as the budget allows, and more when others are ready', async () => {
    const namespace = await plane.namespace('evict');
    const labels = { app: 'web' };
    await plane.client.create(deployments, {
      metadata: { name: 'web', namespace },
      spec: {
        replicas: 4,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    });
    await plane.client.create(podDisruptionBudgets, {
      metadata: { name: 'web', namespace },
      spec: { maxUnavailable: '25%', selector: { matchLabels: labels } },
    });
    const allows = (count: number) =>
      until(
        plane.client,
        podDisruptionBudgets,
        namespace,
        ([one]) => one?.status?.disruptionsAllowed === count && one.status.currentHealthy === 3 + count,
      );
    const [full] = await allows(1);
    assert.deepEqual(
      [full?.status?.expectedPods, full?.status?.desiredHealthy, full?.status?.conditions?.[0]?.reason],
      [4, 3, 'SufficientPods'],
    );
    const first = (await plane.client.list(pods, { namespace })).items[0];
    await evict(namespace, first?.metadata.name ?? '');
    await until(
      plane.client,
      pods,
      namespace,
      (list) => list.length === 4 && list.every(({ metadata }) => metadata.uid !== first?.metadata.uid),
    );
    await allows(1);
    // Not one more than that at once.
    const left = (await plane.client.list(pods, { namespace })).items;
    await plane.client.patch(
      podDisruptionBudgets,
      'web',
      { type: 'merge', body: { spec: { maxUnavailable: 0 } } },
      { namespace },
    );
    await until(plane.client, podDisruptionBudgets, namespace, ([one]) => one?.status?.observedGeneration === 2);
    await assert.rejects(
      evict(namespace, left[0]?.metadata.name ?? ''),
      (error) => error instanceof ApiError && error.code === 429,
    );
  });

  it('says why the pods of a budget cannot be counted', async () => {
    const namespace = await plane.namespace('uncountable');
    const owner = { apiVersion: 'example.com/v1', kind: 'Thing', name: 'x', uid: 'x', controller: true };
    await plane.client.create(pods, {
      metadata: { name: 'odd', namespace, labels: { app: 'odd' }, ownerReferences: [owner] },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await plane.client.create(podDisruptionBudgets, {
      metadata: { name: 'odd', namespace },
      spec: { minAvailable: '50%', selector: {} },
    });
    const [failed] = await until(
      plane.client,
      podDisruptionBudgets,
      namespace,
      ([one]) => one?.status?.conditions?.[0]?.reason === 'SyncFailed',
    );
    assert.equal(failed?.status?.disruptionsAllowed, 0);
    assert.match(failed.status.conditions?.[0]?.message ?? '', /Thing uncountable\/x/);
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});

describe('the status of a disruption budget', () => {
  const now = Date.parse('2024-03-01T10:00:00Z');
  const stored = { uid: 'u', resourceVersion: '1', creationTimestamp: '2024-03-01T09:00:00Z' };
  const pod = (name: string, ready = true): Stored<Pod> => ({
    metadata: { name, ...stored },
    status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
  });
  const budget = (
    spec: PodDisruptionBudgetSpec,
    disruptedPods: Record<string, string> = {},
  ): Stored<PodDisruptionBudget> => ({
    metadata: { name: 'b', ...stored },
    spec,
    status: { currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0, disruptedPods },
  });
  const pods3 = [pod('a'), pod('b'), pod('c', false)];
  const cases: [what: string, spec: PodDisruptionBudgetSpec, expected: number | undefined, wanted: number[]][] = [
    ['a number that must be there', { minAvailable: 1 }, undefined, [3, 2, 1, 1]],
    ['a share that must be there, rounded up', { minAvailable: '50%' }, 3, [3, 2, 2, 0]],
    ['a number that may be away', { maxUnavailable: 2 }, 3, [3, 2, 1, 1]],
    ['a share that may be away, rounded up', { maxUnavailable: '40%' }, 3, [3, 2, 1, 1]],
    ['more than there are', { maxUnavailable: 5 }, 3, [3, 2, 0, 2]],
    ['nothing expected', { maxUnavailable: 1 }, 0, [0, 2, 0, 0]],
  ];
  for (const [what, spec, expected, wanted] of cases) {
    it(what, () => {
      const { status } = budgetStatus({ budget: budget(spec), pods: pods3, expected, now });
      assert.deepEqual(
        [status.expectedPods, status.currentHealthy, status.desiredHealthy, status.disruptionsAllowed],
        wanted,
      );
    });
  }

  it('counts a pod whose eviction was allowed as away, until it should have been gone', () => {
    const disrupted = { a: '2024-03-01T09:59:00Z', b: '2024-03-01T09:57:00Z', gone: '2024-03-01T09:59:00Z' };
    const input = { budget: budget({ minAvailable: 0 }, disrupted), pods: pods3, expected: undefined, now };
    const { status, notDeleted, again } = budgetStatus(input);
    assert.equal(status.currentHealthy, 1);
    assert.deepEqual(status.disruptedPods, { a: disrupted.a });
    assert.deepEqual(
      notDeleted.map(({ metadata }) => metadata.name),
      ['b'],
    );
    assert.equal(again, 60_000);
  });
});
