import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type ControlPlane,
  createNode,
  playNodes,
  playScheduler,
  setReady,
  startControlPlane,
  until,
} from '#testing/control-plane.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { controllerRevisions, persistentVolumeClaims, pods, statefulSets } from '../kinds/resources.ts';
import type { StatefulSet, StatefulSetSpec } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { isReady } from './objects.ts';
import { createStatefulSetController } from './stateful-set.ts';

function statefulSet(namespace: string, name: string, spec: Partial<StatefulSetSpec> = {}, image = 'one'): StatefulSet {
  const labels = { app: name };
  return {
    metadata: { name, namespace },
    spec: {
      serviceName: `${name}-svc`,
      replicas: 3,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image }] } },
      ...spec,
    },
  };
}

describe('stateful set controller, where no pod gets a node', () => {
  let plane: ControlPlane;
  const claim = {
    metadata: { name: 'my-data' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  };
  const claims = (namespace: string, holds: (uids: (string | undefined)[]) => boolean) =>
    until(plane.client, persistentVolumeClaims, namespace, (list) => holds(list.map(({ metadata }) => metadata.uid)));
  before(async () => {
    plane = await startControlPlane();
    await plane.start(createStatefulSetController());
  });
  after(() => plane.close());

  it('makes a claim anew that a pod waits for', async () => {
    const namespace = await plane.namespace('waits');
    await plane.client.create(
      statefulSets,
      statefulSet(namespace, 'db', { replicas: 1, volumeClaimTemplates: [claim] }),
    );
    await until(plane.client, pods, namespace, (list) => list.length === 1);
    const [first] = await claims(namespace, (uids) => uids.length === 1);
    await plane.client.delete(persistentVolumeClaims, 'my-data-db-0', { namespace });
    await claims(namespace, (uids) => uids.length === 1 && uids[0] !== first?.metadata.uid);
  });

  it('makes no pod beside a claim that goes', async () => {
    const namespace = await plane.namespace('goes');
    const name = 'my-data-db-0';
    await plane.client.create(persistentVolumeClaims, {
      ...claim,
      metadata: { name, namespace, finalizers: ['example.com/held'] },
    });
    await plane.client.delete(persistentVolumeClaims, name, { namespace });
    const set = await plane.client.create(
      statefulSets,
      statefulSet(namespace, 'db', { replicas: 1, volumeClaimTemplates: [claim] }),
    );
    await until(plane.client, statefulSets, namespace, ([one]) => one?.status?.observedGeneration === 1);
    assert.deepEqual((await plane.client.list(pods, { namespace })).items, []);
    const body = { metadata: { finalizers: null } };
    await plane.client.patch(persistentVolumeClaims, name, { type: 'merge', body }, { namespace });
    await until(plane.client, pods, namespace, (list) => list.length === 1);
    const [made] = await claims(namespace, (uids) => uids.length === 1);
    assert.ok(Date.parse(made?.metadata.creationTimestamp ?? '') >= Date.parse(set.metadata.creationTimestamp));
    assert.equal(made?.metadata.deletionTimestamp, undefined);
  });
});

describe('stateful set controller', () => {
  let plane: ControlPlane;
  const stops: (() => void)[] = [];
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    stops.push(
      playScheduler(plane.client, 'node-1'),
      playNodes(plane.client, { ready: (pod) => !pod.spec?.containers[0]?.image?.includes('slow') }),
    );
    await plane.start(createStatefulSetController(), createGarbageCollector());
  });
  after(async () => {
    for (const stop of stops) stop();
    await plane.close();
  });

  const change = (namespace: string, name: string, spec: unknown) =>
    plane.client.patch(statefulSets, name, { type: 'strategic', body: { spec } }, { namespace });
  const image = (value: string) => ({ template: { spec: { containers: [{ name: 'c', image: value }] } } });
  const settled = (namespace: string, replicas: number, generation = 1) =>
    until(plane.client, statefulSets, namespace, ([one]) => {
      const status = one?.status;
      return (
        status?.observedGeneration === generation &&
        status.replicas === replicas &&
        (status.readyReplicas ?? 0) === replicas &&
        status.currentRevision === status.updateRevision
      );
    });
  const imagesOf = async (namespace: string): Promise<Record<string, string | undefined>> =>
    Object.fromEntries(
      (await plane.client.list(pods, { namespace })).items.map((pod) => [
        pod.metadata.name,
        pod.spec?.containers[0]?.image,
      ]),
    );

  it('makes pods one after the other, with names, host names and claims of their own', async () => {
    const namespace = await plane.namespace('ordered');
    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    const early: string[] = [];
    watched.onChange((now, old) => {
      if (!now || old) return;
      const before = watched.list().filter(({ metadata }) => metadata.name < now.metadata.name);
      if (!before.every(isReady)) early.push(now.metadata.name);
    });
    const claim = {
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    await plane.client.create(
      statefulSets,
      statefulSet(namespace, 'db', { volumeClaimTemplates: [claim], ordinals: { start: 1 } }),
    );
    const [set] = await settled(namespace, 3);
    assert.deepEqual(early, [], 'made before those in front were ready');
    const made = watched.list().sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    assert.deepEqual(
      made.map(({ metadata, spec }) => [metadata.name, spec?.hostname, spec?.subdomain]),
      ['db-1', 'db-2', 'db-3'].map((name) => [name, name, 'db-svc']),
    );
    const [first] = made;
    assert.equal(first?.metadata.labels?.['statefulset.kubernetes.io/pod-name'], 'db-1');
    assert.equal(first.metadata.labels['apps.kubernetes.io/pod-index'], '1');
    assert.equal(first.metadata.labels['controller-revision-hash'], set?.status?.updateRevision);
    assert.equal(
      first.spec?.volumes?.find(({ name }) => name === 'data')?.persistentVolumeClaim?.claimName,
      'data-db-1',
    );
    const claims = (await plane.client.list(persistentVolumeClaims, { namespace })).items;
    assert.deepEqual(claims.map(({ metadata }) => metadata.name).sort(), ['data-db-1', 'data-db-2', 'data-db-3']);
    const { currentReplicas, updatedReplicas, availableReplicas } = set?.status ?? {};
    assert.deepEqual([currentReplicas, updatedReplicas, availableReplicas], [3, 3, 3]);

    await change(namespace, 'db', { replicas: 1 });
    await settled(namespace, 1, 2);
    assert.deepEqual(Object.keys(await imagesOf(namespace)), ['db-1'], 'the last went first');
    assert.equal((await plane.client.list(persistentVolumeClaims, { namespace })).items.length, 3, 'claims stay');
    // A pod that goes comes back under its name.
    await plane.client.delete(pods, 'db-1', { namespace });
    await until(
      plane.client,
      pods,
      namespace,
      (list) => list.length === 1 && list.every((pod) => pod.metadata.uid !== first.metadata.uid && isReady(pod)),
    );
    watched.close();
  });

  it('waits for a pod that is not ready before it makes the next', async () => {
    const namespace = await plane.namespace('waits');
    await plane.client.create(statefulSets, statefulSet(namespace, 'db', {}, 'slow'));
    for (const count of [1, 2, 3]) {
      const list = await until(
        plane.client,
        pods,
        namespace,
        (all) => all.length === count && all.every(({ status }) => status?.phase === 'Running'),
      );
      assert.equal(list.length, count);
      for (const pod of list as Stored<Pod>[]) if (!isReady(pod)) await setReady(plane.client, pod, true);
    }
    await settled(namespace, 3);
  });

  it('updates from the last down to the partition, keeps history, and goes back', async () => {
    const namespace = await plane.namespace('rolling');
    await plane.client.create(statefulSets, statefulSet(namespace, 'db', { revisionHistoryLimit: 1 }));
    await settled(namespace, 3);
    await change(namespace, 'db', {
      ...image('two'),
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } },
    });
    await until(
      plane.client,
      statefulSets,
      namespace,
      ([one]) => one?.status?.updatedReplicas === 1 && one.status.readyReplicas === 3,
    );
    assert.deepEqual(await imagesOf(namespace), { 'db-0': 'one', 'db-1': 'one', 'db-2': 'two' });
    // Below the partition a pod comes back as it was.
    const old = await plane.client.get(pods, 'db-0', namespace);
    await plane.client.delete(pods, 'db-0', { namespace });
    await until(plane.client, pods, namespace, (list) =>
      list.some(({ metadata }) => metadata.name === 'db-0' && metadata.uid !== old.metadata.uid),
    );
    assert.equal((await imagesOf(namespace))['db-0'], 'one');
    await change(namespace, 'db', { updateStrategy: { rollingUpdate: { partition: 0 } } });
    await settled(namespace, 3, 3);
    assert.deepEqual(await imagesOf(namespace), { 'db-0': 'two', 'db-1': 'two', 'db-2': 'two' });
    await change(namespace, 'db', image('three'));
    await settled(namespace, 3, 4);
    const kept = await until(plane.client, controllerRevisions, namespace, (list) => list.length === 2);
    assert.deepEqual(kept.map(({ revision }) => revision).sort(), [2, 3]);
    // An old template again is the newest revision.
    await change(namespace, 'db', image('two'));
    await settled(namespace, 3, 5);
    const again = await until(plane.client, controllerRevisions, namespace, (list) =>
      list.some(({ revision }) => revision === 4),
    );
    assert.deepEqual(again.map(({ revision }) => revision).sort(), [3, 4]);
  });

  it('does all at once where that is asked for, and nothing before a pod is deleted', async () => {
    const namespace = await plane.namespace('parallel');
    await plane.client.create(
      statefulSets,
      statefulSet(namespace, 'db', { podManagementPolicy: 'Parallel', updateStrategy: { type: 'OnDelete' } }, 'slow'),
    );
    await until(plane.client, pods, namespace, (list) => list.length === 3);
    await change(namespace, 'db', image('two'));
    await until(plane.client, statefulSets, namespace, ([one]) => one?.status?.observedGeneration === 2);
    assert.deepEqual(await imagesOf(namespace), { 'db-0': 'slow', 'db-1': 'slow', 'db-2': 'slow' });
    await plane.client.delete(pods, 'db-1', { namespace });
    await until(plane.client, pods, namespace, (list) =>
      list.some(({ metadata, spec }) => metadata.name === 'db-1' && spec?.containers[0]?.image === 'two'),
    );
    await change(namespace, 'db', { replicas: 0 });
    await until(plane.client, pods, namespace, (list) => list.length === 0);
  });

  it('removes claims with the pods or the set where its policy says so', async () => {
    const namespace = await plane.namespace('claims');
    const claim = {
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
    };
    const persistentVolumeClaimRetentionPolicy = { whenScaled: 'Delete', whenDeleted: 'Delete' };
    await plane.client.create(
      statefulSets,
      statefulSet(namespace, 'db', {
        replicas: 2,
        volumeClaimTemplates: [claim],
        persistentVolumeClaimRetentionPolicy,
      }),
    );
    await settled(namespace, 2);
    await change(namespace, 'db', { replicas: 1 });
    const unprotected = async (names: string[]): Promise<void> => {
      await until(
        plane.client,
        persistentVolumeClaims,
        namespace,
        (list) =>
          list
            .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
            .map(({ metadata }) => metadata.name)
            .join() === names.join(),
      );
    };
    await unprotected(['data-db-0']);
    await plane.client.delete(statefulSets, 'db', { namespace });
    await unprotected([]);
  });

  it('replaces a pod that ended, and carries on wherever it is stopped', async () => {
    const namespace = await plane.namespace('stopped');
    await plane.client.create(statefulSets, statefulSet(namespace, 'db', { replicas: 4 }));
    for (const count of [1, 2, 3]) {
      await until(plane.client, pods, namespace, (list) => list.length >= count);
      await plane.restartControllers();
    }
    await settled(namespace, 4);
    const pod = await plane.client.get(pods, 'db-2', namespace);
    await plane.client.updateStatus(pods, { ...pod, status: { ...pod.status, phase: 'Failed' } });
    await until(plane.client, pods, namespace, (list) =>
      list.some(({ metadata }) => metadata.name === 'db-2' && metadata.uid !== pod.metadata.uid),
    );
    await settled(namespace, 4);
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});
