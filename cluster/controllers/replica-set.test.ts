import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  createNode,
  playNodes,
  playScheduler,
  setReady,
  startControlPlane,
  type ControlPlane,
  until,
} from '#testing/control-plane.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { events, namespaces, pods, replicaSets, resourceQuotas } from '../kinds/resources.ts';
import type { ReplicaSet } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import { inDeletionOrder } from './deletion-order.ts';
import { isActive } from './objects.ts';
import { createReplicaSetController } from './replica-set.ts';

function replicaSet(namespace: string, name: string, replicas: number): ReplicaSet {
  const labels = { app: name };
  return {
    metadata: { name, namespace },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels, annotations: { note: 'x' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
    },
  };
}

describe('replica set controller', () => {
  let plane: ControlPlane;
  const stops: (() => void)[] = [];
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    stops.push(
      playScheduler(plane.client, 'node-1'),
      playNodes(plane.client, { ready: (pod) => !pod.metadata.labels?.['slow'] }),
    );
    await plane.start(createReplicaSetController());
  });
  after(async () => {
    for (const stop of stops) stop();
    await plane.close();
  });

  it('makes as many pods as asked for, never one more, and counts them', async () => {
    const namespace = await plane.namespace('make');
    const set = await plane.client.create(replicaSets, replicaSet(namespace, 'web', 20));
    const [full] = await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.availableReplicas === 20);
    assert.deepEqual(
      { ...full?.status, conditions: undefined },
      {
        replicas: 20,
        fullyLabeledReplicas: 20,
        readyReplicas: 20,
        availableReplicas: 20,
        observedGeneration: 1,
        conditions: undefined,
      },
    );
    const made = await plane.client.list(pods, { namespace });
    assert.equal(made.items.length, 20);
    const [first] = made.items;
    assert.match(first?.metadata.name ?? '', /^web-[a-z0-9]{5}$/);
    assert.deepEqual(first?.metadata.labels, { app: 'web' });
    assert.deepEqual(first?.metadata.annotations, { note: 'x' });
    const { blockOwnerDeletion, controller, kind, name, uid } = first?.metadata.ownerReferences?.[0] ?? {};
    assert.deepEqual(
      { blockOwnerDeletion, controller, kind, name, uid },
      { blockOwnerDeletion: true, controller: true, kind: 'ReplicaSet', name: 'web', uid: set.metadata.uid },
    );

    await plane.client.patch(replicaSets, 'web', { type: 'merge', body: { spec: { replicas: 3 } } }, { namespace });
    await until(plane.client, pods, namespace, (list) => list.length === 3);
    await until(
      plane.client,
      replicaSets,
      namespace,
      ([one]) => one?.status?.replicas === 3 && one.status.observedGeneration === 2,
    );
    const of = (reason: string) => (list: { reason?: string }[]) =>
      list.filter((event) => event.reason === reason).length;
    await until(
      plane.client,
      events,
      namespace,
      (list) => of('SuccessfulDelete')(list) === 17 && of('SuccessfulCreate')(list) === 20,
    );
  });

  it('replaces a pod that goes or ends', async () => {
    const namespace = await plane.namespace('replace');
    await plane.client.create(replicaSets, replicaSet(namespace, 'web', 2));
    const [one, two] = await until(plane.client, pods, namespace, (list) => list.filter(isActive).length === 2);
    assert.ok(one && two);
    await plane.client.delete(pods, one.metadata.name, { namespace, gracePeriodSeconds: 0 });
    await until(
      plane.client,
      pods,
      namespace,
      (list) => list.length === 2 && list.every(({ metadata }) => metadata.uid !== one.metadata.uid),
    );
    const live = await plane.client.get(pods, two.metadata.name, namespace);
    await plane.client.updateStatus(pods, { ...live, status: { ...live.status, phase: 'Failed' } });
    const left = await until(plane.client, pods, namespace, (list) => list.filter(isActive).length === 2);
    assert.equal(left.length, 3, 'the failed pod stays to be looked at');
  });

  it('adopts pods that match, and lets go of those that match no more', async () => {
    const namespace = await plane.namespace('adopt');
    const orphan = await plane.client.create(pods, {
      metadata: { name: 'orphan', namespace, labels: { app: 'web' } },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await plane.client.create(replicaSets, replicaSet(namespace, 'web', 2));
    await until(
      plane.client,
      pods,
      namespace,
      (list) => list.length === 2 && list.every(({ metadata }) => metadata.ownerReferences?.length === 1),
    );
    await plane.client.patch(
      pods,
      'orphan',
      { type: 'merge', body: { metadata: { labels: { app: 'other' } } } },
      { namespace },
    );
    const list = await until(
      plane.client,
      pods,
      namespace,
      (all) => all.length === 3 && all.some(({ metadata }) => !metadata.ownerReferences),
    );
    assert.equal(list.find(({ metadata }) => !metadata.ownerReferences)?.metadata.uid, orphan.metadata.uid);
  });

  it('counts a pod as available when it was ready for long enough', async () => {
    const namespace = await plane.namespace('ready');
    const set = replicaSet(namespace, 'slow', 1);
    const labels = { app: 'slow', slow: 'yes' };
    await plane.client.create(replicaSets, {
      ...set,
      spec: {
        ...set.spec,
        selector: { matchLabels: labels },
        minReadySeconds: 2,
        template: { ...set.spec?.template, metadata: { labels } },
      },
    });
    const [pod] = await until(plane.client, pods, namespace, ([one]) => one?.status?.phase === 'Running');
    await until(
      plane.client,
      replicaSets,
      namespace,
      ([one]) => one?.status?.replicas === 1 && one.status.readyReplicas === 0,
    );
    assert.ok(pod);
    await setReady(plane.client, pod, true);
    const [ready] = await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.readyReplicas === 1);
    assert.equal(ready?.status?.availableReplicas, 0);
    await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.availableReplicas === 1);
  });

  it('says why it cannot make pods, and does not try again where everything goes', async () => {
    const namespace = await plane.namespace('going');
    await plane.client.create(replicaSets, replicaSet(namespace, 'web', 0));
    await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.observedGeneration === 1);
    await plane.client.delete(namespaces, namespace);
    await plane.client.patch(replicaSets, 'web', { type: 'merge', body: { spec: { replicas: 1 } } }, { namespace });
    const [set] = await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.observedGeneration === 2);
    const [condition] = set?.status?.conditions ?? [];
    assert.deepEqual(
      [condition?.type, condition?.status, condition?.reason],
      ['ReplicaFailure', 'True', 'FailedCreate'],
    );
    assert.match(condition?.message ?? '', /being terminated/);
  });

  it('never makes too many, however often it is stopped in the middle', async () => {
    const namespace = await plane.namespace('stopped');
    await plane.client.create(replicaSets, replicaSet(namespace, 'web', 0));
    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    let most = 0;
    watched.onChange(() => {
      most = Math.max(most, watched.list().filter(isActive).length);
    });
    for (let round = 1; round <= 8; round++) {
      await plane.client.patch(
        replicaSets,
        'web',
        { type: 'merge', body: { spec: { replicas: round * 3 } } },
        { namespace },
      );
      if (round % 3 === 0) await plane.restartControllers();
    }
    await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.availableReplicas === 24);
    watched.close();
    assert.equal(most, 24);
    assert.equal((await plane.client.list(pods, { namespace })).items.filter(isActive).length, 24);
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });

  it('tells of a failure once, as each try names another pod', async () => {
    const namespace = await plane.namespace('full');
    await plane.client.create(resourceQuotas, { metadata: { name: 'full', namespace }, spec: { hard: { pods: '0' } } });
    await plane.client.create(replicaSets, replicaSet(namespace, 'web', 1));
    const failureOf = ([one]: Stored<ReplicaSet>[]) => one?.status?.conditions?.[0]?.message;
    const first = failureOf(
      await until(plane.client, replicaSets, namespace, (all) => /exceeded quota/.test(failureOf(all) ?? '')),
    );
    await plane.client.patch(replicaSets, 'web', { type: 'merge', body: { spec: { replicas: 2 } } }, { namespace });
    const later = await until(plane.client, replicaSets, namespace, ([one]) => one?.status?.observedGeneration === 2);
    assert.equal(failureOf(later), first);
  });
});

describe('deletion order', () => {
  it('gives up pods as Kubernetes says', () => {
    const pod = (
      name: string,
      options: {
        node?: string;
        phase?: string;
        readySince?: string;
        cost?: string;
        restarts?: number;
        created?: string;
      },
    ): Stored<Pod> => ({
      metadata: {
        name,
        uid: name,
        resourceVersion: '1',
        creationTimestamp: options.created ?? '2020-01-01T00:00:00Z',
        ...(options.cost && { annotations: { 'controller.kubernetes.io/pod-deletion-cost': options.cost } }),
      },
      spec: { containers: [], ...(options.node && { nodeName: options.node }) },
      status: {
        phase: options.phase ?? 'Running',
        ...(options.readySince && {
          conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: options.readySince }],
        }),
        containerStatuses: [{ name: 'c', image: '', imageID: '', ready: true, restartCount: options.restarts ?? 0 }],
      },
    });
    const early = '2020-01-01T00:00:10Z';
    const order = [
      pod('unscheduled', { phase: 'Pending' }),
      pod('pending', { node: 'x', phase: 'Pending' }),
      pod('not-ready', { node: 'x' }),
      pod('cheap', { node: 'x', readySince: early, cost: '-5' }),
      pod('crowded-late', { node: 'x', readySince: '2020-01-01T00:01:00Z' }),
      pod('crowded', { node: 'x', readySince: early }),
      pod('late', { node: 'y', readySince: '2020-01-01T00:01:00Z' }),
      pod('restarted', { node: 'z', readySince: early, restarts: 3 }),
      pod('young', { node: 'w', readySince: early, created: '2020-01-01T00:00:05Z' }),
      pod('old', { node: 'v', readySince: early }),
      pod('dear', { node: 'u', readySince: early, cost: '10' }),
    ];
    const names = order.map(({ metadata }) => metadata.name);
    assert.deepEqual(
      inDeletionOrder(order.toReversed()).map(({ metadata }) => metadata.name),
      names,
    );
  });
});
