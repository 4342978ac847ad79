import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, createNode, playNodes, startControlPlane, until } from '#testing/control-plane.ts';
import { createInformer } from '../client/informer.ts';
import { controllerRevisions, daemonSets, events, nodes, pods } from '../kinds/resources.ts';
import type { DaemonSet, DaemonSetSpec } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import { startScheduler } from '../scheduler/start.ts';
import { createDaemonSetController } from './daemon-set.ts';
import { isReady } from './objects.ts';

function daemonSet(namespace: string, name: string, spec: Partial<DaemonSetSpec> = {}, pod = {}): DaemonSet {
  const labels = { app: name };
  return {
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'one' }], ...pod } },
      ...spec,
    },
  };
}

const nodesOf = (list: Pod[]): string[] => list.map(({ spec }) => spec?.nodeName ?? '').sort();

describe('daemon set controller', () => {
  let plane: ControlPlane;
  let scheduler: { close(): Promise<void> };
  let stopNodes: () => void;
  before(async () => {
    plane = await startControlPlane();
    for (const name of ['a', 'b', 'c']) await createNode(plane.client, name);
    stopNodes = playNodes(plane.client, { ready: (pod) => !pod.spec?.containers[0]?.image?.includes('broken') });
    scheduler = await startScheduler(plane.context);
    await plane.start(createDaemonSetController({ backoff: { first: 1, longest: 10 } }));
  });
  after(async () => {
    stopNodes();
    await scheduler.close();
    await plane.close();
  });

  const settled = (namespace: string, count: number) =>
    until(plane.client, daemonSets, namespace, ([one]) => {
      const status = one?.status;
      return (
        status?.observedGeneration === one?.metadata.generation &&
        status?.desiredNumberScheduled === count &&
        (status.numberAvailable ?? 0) === count &&
        (status.updatedNumberScheduled ?? 0) === count &&
        status.currentNumberScheduled === count
      );
    });
  const change = (namespace: string, name: string, spec: unknown) =>
    plane.client.patch(daemonSets, name, { type: 'strategic', body: { spec } }, { namespace });
  const image = (value: string) => ({ template: { spec: { containers: [{ name: 'c', image: value }] } } });
  const taint = (name: string, taints: unknown) =>
    plane.client.patch(nodes, name, { type: 'merge', body: { spec: { taints } } });

  it('runs one pod on each node, and follows nodes as they come, go and change', async () => {
    const namespace = await plane.namespace('each');
    await plane.client.create(daemonSets, daemonSet(namespace, 'all'));
    await settled(namespace, 3);
    const list = (await plane.client.list(pods, { namespace })).items;
    assert.deepEqual(nodesOf(list), ['a', 'b', 'c']);
    const keys = list[0]?.spec?.tolerations?.map(({ key, effect }) => `${key}:${effect}`);
    assert.ok(keys?.includes('node.kubernetes.io/unschedulable:NoSchedule'));
    assert.ok(keys?.includes('node.kubernetes.io/not-ready:NoExecute'));

    await createNode(plane.client, 'd');
    await settled(namespace, 4);
    await taint('d', [{ key: 'mine', effect: 'NoSchedule' }]);
    const [misplaced] = await until(
      plane.client,
      daemonSets,
      namespace,
      ([one]) => one?.status?.numberMisscheduled === 1,
    );
    assert.equal(misplaced?.status?.desiredNumberScheduled, 3);
    assert.equal((await plane.client.list(pods, { namespace })).items.length, 4, 'who is there stays');
    await taint('d', [{ key: 'mine', effect: 'NoExecute' }]);
    await until(plane.client, pods, namespace, (all) => nodesOf(all).join() === 'a,b,c');
    await plane.client.delete(nodes, 'd');
  });

  it('runs where node selector and affinity say, and nowhere else', async () => {
    const namespace = await plane.namespace('chosen');
    const nodeSelector = { disk: 'fast' };
    await plane.client.create(daemonSets, daemonSet(namespace, 'fast', {}, { nodeSelector }));
    await settled(namespace, 0);
    const label = (value: string | null) =>
      plane.client.patch(nodes, 'b', { type: 'merge', body: { metadata: { labels: { disk: value } } } });
    await label('fast');
    await settled(namespace, 1);
    assert.deepEqual(nodesOf((await plane.client.list(pods, { namespace })).items), ['b']);
    await label(null);
    await until(plane.client, pods, namespace, (list) => list.length === 0);
  });

  it('replaces a pod that ended, and one that goes', async () => {
    const namespace = await plane.namespace('ended');
    await plane.client.create(daemonSets, daemonSet(namespace, 'all'));
    await settled(namespace, 3);
    const [one] = (await plane.client.list(pods, { namespace })).items;
    assert.ok(one);
    await plane.client.updateStatus(pods, { ...one, status: { ...one.status, phase: 'Failed' } });
    await until(
      plane.client,
      pods,
      namespace,
      (list) => list.length === 3 && list.every((pod) => pod.metadata.uid !== one.metadata.uid && pod.spec?.nodeName),
    );
    await settled(namespace, 3);
    await until(plane.client, events, namespace, (list) => list.some(({ reason }) => reason === 'FailedDaemonPod'));
  });

  it('updates so many nodes at a time, and none for a template that does not come up', async () => {
    const namespace = await plane.namespace('rolling');
    await plane.client.create(daemonSets, daemonSet(namespace, 'all'));
    await settled(namespace, 3);
    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    let fewest = 3;
    watched.onChange(() => {
      fewest = Math.min(fewest, watched.list().filter((pod) => !pod.metadata.deletionTimestamp && isReady(pod)).length);
    });
    await change(namespace, 'all', image('two'));
    await settled(namespace, 3);
    assert.equal(fewest, 2);
    await change(namespace, 'all', image('broken'));
    await until(
      plane.client,
      daemonSets,
      namespace,
      ([one]) => one?.status?.updatedNumberScheduled === 1 && one.status.numberUnavailable === 1,
    );
    assert.equal(fewest, 2);
    const revisions = (await plane.client.list(controllerRevisions, { namespace })).items;
    assert.deepEqual(revisions.map(({ revision }) => revision).sort(), [1, 2, 3]);
    // By these bytes clients in Go know which revision is the template's.
    for (const { data } of revisions)
      assert.match(
        JSON.stringify(data),
        /^\{"spec":\{"template":\{"\$patch":"replace","metadata":\{"creationTimestamp":null,"labels":\{.*\}\},"spec":\{"containers":\[\{"image":/,
      );
    await change(namespace, 'all', image('two'));
    await settled(namespace, 3);
    assert.equal(fewest, 2);
    watched.close();
  });

  it('lets a new pod come before the old one goes where surge is asked for', async () => {
    const namespace = await plane.namespace('surge');
    const updateStrategy = { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } };
    await plane.client.create(daemonSets, daemonSet(namespace, 'all', { updateStrategy }));
    await settled(namespace, 3);
    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    let fewest = 3;
    let most = 0;
    watched.onChange(() => {
      const whole = watched.list().filter((pod) => !pod.metadata.deletionTimestamp);
      fewest = Math.min(fewest, whole.filter(isReady).length);
      most = Math.max(most, whole.length);
    });
    await change(namespace, 'all', image('two'));
    await settled(namespace, 3);
    assert.deepEqual([fewest, most], [3, 4]);
    watched.close();
  });

  it('waits for the delete of each pod where that is asked for', async () => {
    const namespace = await plane.namespace('on-delete');
    await plane.client.create(daemonSets, daemonSet(namespace, 'all', { updateStrategy: { type: 'OnDelete' } }));
    await settled(namespace, 3);
    await change(namespace, 'all', image('two'));
    await until(
      plane.client,
      daemonSets,
      namespace,
      ([one]) => one?.status?.observedGeneration === 2 && one.status.updatedNumberScheduled === undefined,
    );
    const [one] = (await plane.client.list(pods, { namespace })).items;
    await plane.client.delete(pods, one?.metadata.name ?? '', { namespace });
    await until(
      plane.client,
      daemonSets,
      namespace,
      ([set]) => set?.status?.updatedNumberScheduled === 1 && set.status.numberAvailable === 3,
    );
  });

  it('never has two on a node, however often it is stopped in the middle', async () => {
    const namespace = await plane.namespace('stopped');
    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    let most = 0;
    watched.onChange(() => {
      most = Math.max(most, watched.list().filter((pod) => !pod.metadata.deletionTimestamp).length);
    });
    await plane.client.create(daemonSets, daemonSet(namespace, 'all'));
    for (const value of ['two', 'three', 'four']) {
      await plane.restartControllers();
      await change(namespace, 'all', image(value));
    }
    await plane.restartControllers();
    await settled(namespace, 3);
    assert.equal(most, 3);
    watched.close();
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});
