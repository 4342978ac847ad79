/** Fields that controllers read or write and no other test of theirs looks at. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, createNode, playNodes, startControlPlane, until } from '#testing/control-plane.ts';
import { ApiError } from '../client/client.ts';
import {
  controllerRevisions,
  daemonSets,
  deployments,
  endpointSlices,
  endpoints,
  jobs,
  namespaces,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  podDisruptionBudgets,
  pods,
  replicaSets,
  services,
  statefulSets,
  storageClasses,
} from '../kinds/resources.ts';
import type { Pod } from '../kinds/types/core.ts';
import { startScheduler } from '../scheduler/start.ts';
import { allControllers } from './all.ts';
import { failureVerdict, successRule } from './job-policy.ts';
import { stableHash } from './stable-hash.ts';

describe('fields of controllers', () => {
  let plane: ControlPlane;
  const stops: (() => unknown)[] = [];
  before(async () => {
    plane = await startControlPlane();
    for (const name of ['node-1', 'node-2']) await createNode(plane.client, name);
    await plane.client.patch(nodes, 'node-2', { type: 'merge', body: { metadata: { labels: { zone: 'two' } } } });
    stops.push(playNodes(plane.client, { ready: ({ metadata }) => metadata.labels?.['app'] !== 'never' }));
    const scheduler = await startScheduler(plane.context);
    stops.push(() => scheduler.close());
    await plane.start(...allControllers({ nodeLifecycle: { startupGrace: 600_000, leaseGrace: 600_000 } }));
  });
  after(async () => {
    for (const stop of stops) await stop();
    await plane.close();
  });

  const template = (app: string, image = 'one') => ({
    metadata: { labels: { app } },
    spec: { containers: [{ name: 'c', image }] },
  });
  const selecting = (app: string) => ({ selector: { matchLabels: { app } } });

  it('a Deployment counts its pods, dates its conditions, and steps aside for a set of another template', async () => {
    const namespace = await plane.namespace('deployment');
    await plane.client.create(deployments, {
      metadata: { name: 'web', namespace },
      spec: { replicas: 2, ...selecting('web'), template: template('web') },
    });
    const [web] = await until(plane.client, deployments, namespace, ([one]) => one?.status?.readyReplicas === 2);
    assert.equal(web?.status?.unavailableReplicas ?? 0, 0);
    for (const { type, lastUpdateTime, lastTransitionTime } of web?.status?.conditions ?? [])
      assert.ok(lastUpdateTime && lastTransitionTime, type);
    await plane.client.create(deployments, {
      metadata: { name: 'never', namespace },
      spec: { replicas: 3, ...selecting('never'), template: template('never') },
    });
    await until(plane.client, deployments, namespace, (all) =>
      all.some(({ metadata, status }) => metadata.name === 'never' && status?.unavailableReplicas === 3),
    );
    const taken = await plane.client.get(deployments, 'web', namespace);
    const next = structuredClone(taken.spec?.template ?? {});
    for (const container of next.spec?.containers ?? []) container.image = 'two';
    await plane.client.create(replicaSets, {
      metadata: { name: `web-${stableHash(next, 0)}`, namespace },
      spec: { replicas: 0, ...selecting('other'), template: template('other') },
    });
    await plane.client.patch(
      deployments,
      'web',
      {
        type: 'strategic',
        body: { spec: { template: { spec: { containers: [{ name: 'c', image: 'two' }] } } } },
      },
      { namespace },
    );
    const [moved] = await until(plane.client, deployments, namespace, (all) =>
      all.some(
        ({ metadata, status }) =>
          metadata.name === 'web' && status?.collisionCount === 1 && status.updatedReplicas === 2,
      ),
    );
    assert.ok(moved);
  });

  it('a DaemonSet counts those that are ready, and keeps as much history as asked for', async () => {
    const namespace = await plane.namespace('daemons');
    await plane.client.create(daemonSets, {
      metadata: { name: 'agent', namespace },
      spec: { ...selecting('agent'), template: template('agent'), revisionHistoryLimit: 1 },
    });
    const settled = (image: string) =>
      until(plane.client, daemonSets, namespace, ([one]) => {
        const { status, spec, metadata } = one ?? {};
        return (
          status?.numberReady === 2 &&
          status.updatedNumberScheduled === 2 &&
          status.observedGeneration === metadata?.generation &&
          spec?.template.spec?.containers[0]?.image === image
        );
      });
    await settled('one');
    for (const image of ['two', 'three', 'four']) {
      const containers = [{ name: 'c', image }];
      await plane.client.patch(
        daemonSets,
        'agent',
        {
          type: 'strategic',
          body: { spec: { template: { spec: { containers } } } },
        },
        { namespace },
      );
      await settled(image);
    }
    await until(plane.client, controllerRevisions, namespace, (all) => all.length === 2);
    assert.equal((await plane.client.get(daemonSets, 'agent', namespace)).status?.collisionCount ?? 0, 0);
    await plane.client.create(statefulSets, {
      metadata: { name: 'db', namespace },
      spec: { replicas: 1, serviceName: 'db', ...selecting('db'), template: template('db') },
    });
    const [db] = await until(plane.client, statefulSets, namespace, ([one]) => one?.status?.readyReplicas === 1);
    assert.equal(db?.status?.collisionCount, 0);
  });

  it('a Job of another controller is left alone; one with a selector of its own has its pods', async () => {
    const namespace = await plane.namespace('jobs');
    const once = {
      metadata: { labels: { own: 'yes' } },
      spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] },
    };
    await plane.client.create(jobs, {
      metadata: { name: 'theirs', namespace },
      spec: { managedBy: 'example.com/queue', template: once },
    });
    await plane.client.create(jobs, {
      metadata: { name: 'ours', namespace },
      spec: { manualSelector: true, selector: { matchLabels: { own: 'yes' } }, template: once },
    });
    await until(plane.client, jobs, namespace, (all) =>
      all.some(({ metadata, status }) => metadata.name === 'ours' && status?.active === 1),
    );
    const found = await plane.client.list(pods, { namespace });
    assert.deepEqual(
      found.items.map(({ metadata }) => [metadata.ownerReferences?.[0]?.name, metadata.labels?.['own']]),
      [['ours', 'yes']],
    );
    assert.equal((await plane.client.get(jobs, 'theirs', namespace)).status?.active, undefined);
  });

  it('names and protocols of a Service reach its endpoints', async () => {
    const namespace = await plane.namespace('endpoints');
    await plane.client.create(pods, {
      metadata: { name: 'named', namespace, labels: { app: 'named' } },
      spec: { hostname: 'front', subdomain: 'web', containers: [{ name: 'c', image: 'i' }] },
    });
    await plane.client.create(services, {
      metadata: { name: 'web', namespace },
      spec: { selector: { app: 'named' }, clusterIP: 'None', ports: [{ port: 80, appProtocol: 'kubernetes.io/h2c' }] },
    });
    const [mirror] = await until(
      plane.client,
      endpoints,
      namespace,
      ([one]) => one?.subsets?.[0]?.addresses?.length === 1,
    );
    const [subset] = mirror?.subsets ?? [];
    const [address] = subset?.addresses ?? [];
    assert.deepEqual(
      [address?.hostname, typeof address?.nodeName, subset?.ports?.[0]?.appProtocol],
      ['front', 'string', 'kubernetes.io/h2c'],
    );
    const [slice] = await until(plane.client, endpointSlices, namespace, ([one]) => one?.endpoints?.length === 1);
    assert.deepEqual([slice?.endpoints?.[0]?.hostname, slice?.ports?.[0]?.appProtocol], ['front', 'kubernetes.io/h2c']);
  });

  it('a budget lets pods that are not healthy go, by its policy', async () => {
    const namespace = await plane.namespace('budget');
    for (const name of ['sick', 'well'])
      await plane.client.create(pods, {
        metadata: { name, namespace, labels: { app: name === 'sick' ? 'never' : 'well', budget: 'b' } },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      });
    await plane.client.create(podDisruptionBudgets, {
      metadata: { name: 'b', namespace },
      spec: { minAvailable: 2, selector: { matchLabels: { budget: 'b' } } },
    });
    await until(plane.client, podDisruptionBudgets, namespace, ([one]) => one?.status?.currentHealthy === 1);
    const evict = (name: string) =>
      plane.client.request({
        method: 'POST',
        path: `/api/v1/namespaces/${namespace}/pods/${name}/eviction`,
        body: {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { name, namespace },
          deleteOptions: { gracePeriodSeconds: 0 },
        },
      });
    const refused = (error: unknown): boolean => error instanceof ApiError && error.code === 429;
    await assert.rejects(evict('sick'), refused);
    const spec = { unhealthyPodEvictionPolicy: 'AlwaysAllow' };
    await plane.client.patch(podDisruptionBudgets, 'b', { type: 'merge', body: { spec } }, { namespace });
    await assert.rejects(evict('well'), refused);
    await evict('sick');
    await until(plane.client, pods, namespace, (all) => all.every(({ metadata }) => metadata.name !== 'sick'));
  });

  it('a volume is made where its class allows, and says since when it is what it is', async () => {
    const namespace = await plane.namespace('volumes');
    await plane.client.create(storageClasses, {
      metadata: { name: 'there' },
      provisioner: 'sampan.dev/local',
      volumeBindingMode: 'Immediate',
      allowedTopologies: [{ matchLabelExpressions: [{ key: 'zone', values: ['two', 'three'] }] }],
    });
    await plane.client.create(persistentVolumeClaims, {
      metadata: { name: 'data', namespace },
      spec: {
        storageClassName: 'there',
        accessModes: ['ReadWriteOnce'],
        resources: { requests: { storage: '1Mi' } },
      },
    });
    const [volume] = await until(plane.client, persistentVolumes, undefined, ([one]) => one?.status?.phase === 'Bound');
    assert.ok(volume?.status?.lastPhaseTransitionTime);
    const [requirement] = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms?.[0]?.matchExpressions ?? [];
    assert.deepEqual(requirement?.values, ['node-2']);
  });

  it('a node that is off says since when, and a namespace when it began to go', async () => {
    await createNode(plane.client, 'node-3');
    const node = await plane.client.get(nodes, 'node-3');
    const conditions = [{ type: 'Ready', status: 'False' }];
    await plane.client.updateStatus(nodes, { ...node, status: { ...node.status, conditions } });
    await until(plane.client, nodes, undefined, (all) =>
      all.some(
        ({ metadata, spec }) =>
          metadata.name === 'node-3' &&
          spec?.taints?.some(({ effect, timeAdded }) => effect === 'NoExecute' && timeAdded !== undefined) === true,
      ),
    );
    await plane.namespace('going');
    await plane.client.create(pods, {
      metadata: { name: 'held', namespace: 'going', finalizers: ['example.com/hold'] },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    await plane.client.delete(namespaces, 'going');
    await until(plane.client, namespaces, undefined, (all) =>
      all.some(
        ({ metadata, status }) =>
          metadata.name === 'going' &&
          status?.conditions?.some(({ lastTransitionTime }) => lastTransitionTime) === true,
      ),
    );
    await plane.client.patch(
      pods,
      'held',
      { type: 'merge', body: { metadata: { finalizers: null } } },
      { namespace: 'going' },
    );
    await until(plane.client, namespaces, undefined, (all) => all.every(({ metadata }) => metadata.name !== 'going'));
  });
});

describe('policies of a job', () => {
  const failed = (conditions: NonNullable<Pod['status']>['conditions'], container = 'main') => ({
    metadata: { name: 'p', namespace: 'n', uid: 'u', resourceVersion: '1', creationTimestamp: '' },
    status: {
      phase: 'Failed',
      ...(conditions && { conditions }),
      containerStatuses: [
        {
          name: container,
          image: '',
          imageID: '',
          ready: false,
          restartCount: 0,
          state: { terminated: { exitCode: 42 } },
        },
      ],
    },
  });
  const template = { spec: { containers: [] } };

  it('judge a failure by the conditions of its pod, and by one of its containers', () => {
    const onPodConditions = [{ type: 'DisruptionTarget', status: 'True' }];
    const rules = [
      { action: 'Ignore', onPodConditions },
      { action: 'FailJob', onExitCodes: { containerName: 'main', operator: 'In', values: [42] } },
    ];
    const spec = { template, podFailurePolicy: { rules } };
    const disrupted = failed([{ type: 'DisruptionTarget', status: 'True' }]);
    assert.deepEqual(failureVerdict(spec, disrupted), {
      action: 'Ignore',
      message: 'Pod n/p has condition DisruptionTarget matching Ignore rule at index 0',
    });
    assert.equal(failureVerdict(spec, failed([{ type: 'DisruptionTarget', status: 'False' }]))?.action, 'FailJob');
    assert.equal(failureVerdict(spec, failed(undefined, 'sidecar')), undefined);
  });

  it('count successes, of some indexes or of all', () => {
    const spec = (rule: object) => ({ template, completions: 5, successPolicy: { rules: [rule] } });
    const done = new Set([1, 3]);
    assert.equal(successRule(spec({ succeededCount: 2 }), done), 'Matched rules at index 0');
    assert.equal(successRule(spec({ succeededCount: 3 }), done), undefined);
    assert.equal(successRule(spec({ succeededIndexes: '0-1', succeededCount: 1 }), done), 'Matched rules at index 0');
    assert.equal(successRule(spec({ succeededIndexes: '0-1', succeededCount: 2 }), done), undefined);
  });
});
