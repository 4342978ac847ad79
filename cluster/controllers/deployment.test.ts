import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  createNode,
  playNodes,
  playScheduler,
  startControlPlane,
  type ControlPlane,
  until,
} from '#testing/control-plane.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { deployments, pods, replicaSets } from '../kinds/resources.ts';
import type { Deployment, DeploymentStrategy, ReplicaSet } from '../kinds/types/apps.ts';
import { createDeploymentController } from './deployment.ts';
import { isReady } from './objects.ts';
import { createReplicaSetController } from './replica-set.ts';

const revision = 'deployment.kubernetes.io/revision';

describe('deployment controller', () => {
  let plane: ControlPlane;
  const stops: (() => void)[] = [];
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    stops.push(playScheduler(plane.client, 'node-1'));
    stops.push(playNodes(plane.client, { ready: (pod) => !pod.spec?.containers[0]?.image?.includes('broken') }));
    await plane.start(createReplicaSetController(), createDeploymentController());
  });
  after(async () => {
    for (const stop of stops) stop();
    await plane.close();
  });

  const labels = { app: 'web' };
  const templateOf = (image: string) => ({ metadata: { labels }, spec: { containers: [{ name: 'c', image }] } });
  const deployment = (
    namespace: string,
    image: string,
    replicas: number,
    strategy?: DeploymentStrategy,
  ): Deployment => ({
    metadata: { name: 'web', namespace },
    spec: { replicas, selector: { matchLabels: labels }, template: templateOf(image), ...(strategy && { strategy }) },
  });
  const rollTo = (namespace: string, spec: unknown) =>
    plane.client.patch(deployments, 'web', { type: 'strategic', body: { spec } }, { namespace });
  const complete = (image: string, replicas: number) => (list: Stored<Deployment>[]) =>
    list.some(
      ({ spec, status, metadata }) =>
        spec?.template.spec?.containers[0]?.image === image &&
        status?.updatedReplicas === replicas &&
        status.replicas === replicas &&
        status.availableReplicas === replicas &&
        status.observedGeneration === metadata.generation,
    );
  const imageOf = (set: Stored<ReplicaSet>): string => set.spec?.template?.spec?.containers[0]?.image ?? '';

  it('rolls to a new template with as many pods as promised, and back again', async () => {
    const namespace = await plane.namespace('rolling');
    await plane.client.create(
      deployments,
      deployment(namespace, 'one', 4, { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }),
    );
    const [first] = await until(plane.client, deployments, namespace, complete('one', 4));
    assert.equal(first?.metadata.annotations?.[revision], '1');
    assert.deepEqual(
      first?.status?.conditions?.map(({ type, status, reason }) => [type, status, reason]),
      [
        ['Available', 'True', 'MinimumReplicasAvailable'],
        ['Progressing', 'True', 'NewReplicaSetAvailable'],
      ],
    );

    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    let least = Number.POSITIVE_INFINITY;
    let most = 0;
    watched.onChange(() => {
      const whole = watched.list().filter(({ metadata }) => metadata.deletionTimestamp === undefined);
      least = Math.min(least, whole.filter(isReady).length);
      most = Math.max(most, whole.length);
    });
    await rollTo(namespace, { template: { spec: { containers: [{ name: 'c', image: 'two' }] } } });
    const [second] = await until(plane.client, deployments, namespace, complete('two', 4));
    watched.close();
    assert.ok(least >= 4, `${least} pods were ready`);
    assert.ok(most <= 5, `${most} pods were there`);
    assert.equal(second?.metadata.annotations?.[revision], '2');
    const sets = await plane.client.list(replicaSets, { namespace });
    assert.deepEqual(
      sets.items.map((set) => [imageOf(set), set.spec?.replicas, set.metadata.annotations?.[revision]]).toSorted(),
      [
        ['one', 0, '1'],
        ['two', 4, '2'],
      ],
    );
    for (const set of sets.items) {
      const hash = set.metadata.labels?.['pod-template-hash'];
      assert.equal(set.metadata.name, `web-${hash}`);
      assert.equal(set.spec?.selector.matchLabels?.['pod-template-hash'], hash);
    }

    // As `kubectl rollout undo` does it: the old template again.
    await rollTo(namespace, { template: { spec: { containers: [{ name: 'c', image: 'one' }] } } });
    const [back] = await until(plane.client, deployments, namespace, complete('one', 4));
    assert.equal(back?.metadata.annotations?.[revision], '3');
    const after = await plane.client.list(replicaSets, { namespace });
    const again = after.items.find((set) => imageOf(set) === 'one');
    assert.equal(after.items.length, 2);
    assert.deepEqual(
      [
        again?.metadata.annotations?.[revision],
        again?.metadata.annotations?.['deployment.kubernetes.io/revision-history'],
      ],
      ['3', '1'],
    );
  });

  it('stops at a broken template, says so after its deadline, and scales meanwhile', async () => {
    const namespace = await plane.namespace('broken');
    const wanted = deployment(namespace, 'good', 3, {
      type: 'RollingUpdate',
      rollingUpdate: { maxSurge: 1, maxUnavailable: 1 },
    });
    await plane.client.create(deployments, {
      ...wanted,
      spec: {
        ...wanted.spec,
        selector: { matchLabels: labels },
        template: templateOf('good'),
        progressDeadlineSeconds: 1,
      },
    });
    await until(plane.client, deployments, namespace, complete('good', 3));
    await rollTo(namespace, { template: { spec: { containers: [{ name: 'c', image: 'broken' }] } } });
    const [stuck] = await until(plane.client, deployments, namespace, (list) =>
      list.some(({ status }) => status?.conditions?.some(({ reason }) => reason === 'ProgressDeadlineExceeded')),
    );
    assert.equal(stuck?.status?.conditions?.find(({ type }) => type === 'Available')?.status, 'True');
    const sets = await plane.client.list(replicaSets, { namespace });
    assert.deepEqual(sets.items.map((set) => [imageOf(set), set.spec?.replicas]).toSorted(), [
      ['broken', 2],
      ['good', 2],
    ]);
    await rollTo(namespace, { template: { spec: { containers: [{ name: 'c', image: 'good' }] } } });
    await until(plane.client, deployments, namespace, complete('good', 3));
  });

  it('recreates: no new pod before the last old one is gone', async () => {
    const namespace = await plane.namespace('recreate');
    await plane.client.create(deployments, deployment(namespace, 'one', 3, { type: 'Recreate' }));
    await until(plane.client, deployments, namespace, complete('one', 3));
    const watched = createInformer(plane.client, pods, { namespace });
    await watched.synced;
    let mixed = false;
    watched.onChange(() => {
      mixed ||= new Set(watched.list().map(({ spec }) => spec?.containers[0]?.image)).size > 1;
    });
    await rollTo(namespace, { template: { spec: { containers: [{ name: 'c', image: 'two' }] } } });
    await until(plane.client, deployments, namespace, complete('two', 3));
    watched.close();
    assert.equal(mixed, false);
  });

  it('does nothing while paused but scale, and keeps as much history as asked for', async () => {
    const namespace = await plane.namespace('paused');
    const wanted = deployment(namespace, 'v1', 2);
    await plane.client.create(deployments, {
      ...wanted,
      spec: { ...wanted.spec, selector: { matchLabels: labels }, template: templateOf('v1'), revisionHistoryLimit: 1 },
    });
    await until(plane.client, deployments, namespace, complete('v1', 2));
    await rollTo(namespace, {
      paused: true,
      replicas: 3,
      template: { spec: { containers: [{ name: 'c', image: 'v2' }] } },
    });
    const [paused] = await until(plane.client, deployments, namespace, (list) =>
      list.some(({ status }) => status?.availableReplicas === 3),
    );
    assert.equal(paused?.status?.updatedReplicas ?? 0, 0);
    assert.equal(paused?.status?.conditions?.find(({ type }) => type === 'Progressing')?.reason, 'DeploymentPaused');
    assert.equal((await plane.client.list(replicaSets, { namespace })).items.length, 1);
    await rollTo(namespace, { paused: false });
    await until(plane.client, deployments, namespace, complete('v2', 3));
    await rollTo(namespace, { template: { spec: { containers: [{ name: 'c', image: 'v3' }] } } });
    await until(plane.client, deployments, namespace, complete('v3', 3));
    const sets = await until(plane.client, replicaSets, namespace, (list) => list.length === 2);
    assert.deepEqual(sets.map(imageOf).toSorted(), ['v2', 'v3']);
    assert.deepEqual(plane.warnings, []);
  });
});
