// The agent is stood in for, so that usage is known (`testing/summary-agent.ts`); pods that burn a real cpu: `testing/autoscale.long.test.ts`.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, playNodes, startControlPlane, until } from '#testing/control-plane.ts';
import { kubectlMissing, type Kubectl, startKubectl } from '#testing/kubectl.ts';
import { type SummaryAgent, summaryAgent } from '#testing/summary-agent.ts';
import { until as eventually } from '#testing/until.ts';
import { issueCertificate } from '#lib/certificates.ts';
import type { Informer } from '../client/client.ts';
import { createInformer } from '../client/informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { deployments, events, horizontalPodAutoscalers, nodes, pods } from '../kinds/resources.ts';
import type { Event, Pod } from '../kinds/types/core.ts';
import type { HorizontalPodAutoscaler as HorizontalPodAutoscalerV1 } from '../kinds/types/autoscaling.ts';
import type { HorizontalPodAutoscaler } from '../kinds/types/autoscaling-v2.ts';
import { startScheduler } from '../scheduler/start.ts';
import { allControllers } from './all.ts';

const MIB = 1024 * 1024;
const NODE = 'node-1';

describe('HorizontalPodAutoscaler', { skip: kubectlMissing, concurrency: true }, () => {
  let plane: ControlPlane;
  let kubectl: Kubectl;
  let agent: SummaryAgent;
  /** What every pod of `web` uses; undefined: nobody knows. */
  let cores: number | undefined;
  let allPods: Informer<Pod>;
  const closers: (() => unknown)[] = [];

  function report(): void {
    for (const { metadata } of allPods.list({ labels: { app: 'web' } })) {
      const key = `${metadata.namespace}/${metadata.name}/app`;
      if (cores === undefined) agent.forget(key);
      else agent.use(key, { cores, memoryBytes: 64 * MIB });
    }
  }

  before(async () => {
    plane = await startControlPlane({ metricsResolution: 1_000 });
    kubectl = await startKubectl(plane);
    const identity = await issueCertificate(plane.authority, {
      commonName: `system:node:${NODE}`,
      organizations: ['system:nodes'],
      ips: ['127.0.0.1'],
      usages: ['server'],
      days: 1,
    });
    agent = await summaryAgent(NODE, identity, plane.authority.certificate);
    const allocatable = { cpu: '100', memory: '100Gi', pods: '110', 'ephemeral-storage': '10Gi' };
    await plane.client.create(nodes, {
      metadata: { name: NODE },
      status: {
        addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
        daemonEndpoints: { kubeletEndpoint: { Port: agent.port } },
        capacity: allocatable,
        allocatable,
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    });
    closers.push(playNodes(plane.client));
    allPods = createInformer(plane.client, pods);
    allPods.onChange(report);
    const scheduler = await startScheduler(plane.context);
    closers.push(
      () => allPods.close(),
      () => scheduler.close(),
    );
    await plane.start(
      ...allControllers({
        autoscaler: { period: 1_000 },
        // Its nodes never say anything.
        nodeLifecycle: { startupGrace: 600_000, leaseGrace: 600_000 },
      }),
    );
  });
  after(async () => {
    for (const close of closers) await close();
    await plane.close();
    await kubectl.close();
    agent.close();
  });

  const autoscaler = async (
    name: string,
    condition: (one: Stored<HorizontalPodAutoscaler>) => boolean,
  ): Promise<Stored<HorizontalPodAutoscaler>> => {
    const is = (one: Stored<HorizontalPodAutoscaler>) => one.metadata.name === name && condition(one);
    const found = (await until(plane.client, horizontalPodAutoscalers, 'default', (all) => all.some(is))).find(is);
    assert.ok(found);
    return found;
  };
  const conditionOf = (one: HorizontalPodAutoscaler, type: string) =>
    one.status?.conditions?.find((condition) => condition.type === type);
  const told = (name: string, reason: string, message: RegExp) =>
    until(plane.client, events, 'default', (all) =>
      all.some(
        (one: Event) => one.involvedObject.name === name && one.reason === reason && message.test(one.message ?? ''),
      ),
    );
  const replicas = (count: number) =>
    until(plane.client, deployments, 'default', (all) =>
      all.some(
        ({ metadata, spec, status }) =>
          metadata.name === 'web' && spec?.replicas === count && status?.readyReplicas === count,
      ),
    );

  it('scales a deployment up and down, as kubectl asks and shows', async () => {
    await kubectl.run('create', 'deployment', 'web', '--image=app:1', '--replicas=1');
    await kubectl.run('set', 'resources', 'deployment', 'web', '--requests=cpu=1');
    await kubectl.run('rollout', 'status', 'deployment/web', '--timeout=30s');
    await kubectl.run('autoscale', 'deployment', 'web', '--min=1', '--max=4', '--cpu-percent=50');
    const blind = await autoscaler('web', (one) => conditionOf(one, 'ScalingActive')?.status === 'False');
    assert.equal(
      conditionOf(blind, 'ScalingActive')?.message,
      'the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API',
    );
    await told('web', 'FailedGetResourceMetric', /^failed to get cpu utilization: unable to get metrics/);
    await told(
      'web',
      'FailedComputeMetricsReplicas',
      /^invalid metrics \(1 invalid out of 1\), first error is: failed to get cpu resource metric value: failed to get cpu/,
    );
    assert.match(await kubectl.run('get', 'hpa', 'web'), /Deployment\/web +cpu: <unknown>\/50% +1 +4 +1 /);

    cores = 1;
    report();
    await told(
      'web',
      'SuccessfulRescale',
      /^New size: \d; reason: cpu resource utilization \(percentage of request\) above target$/,
    );
    await replicas(4);
    const full = await autoscaler('web', (one) => conditionOf(one, 'ScalingLimited')?.reason === 'TooManyReplicas');
    assert.equal(conditionOf(full, 'ScalingActive')?.reason, 'ValidMetricFound');
    assert.ok(full.status?.lastScaleTime);
    // For a moment nothing may be known of a pod that has just come.
    const shown = /cpu: (99|100|101)%\/50% +1 +4 +4 /;
    await eventually(async () => shown.test(await kubectl.run('get', 'hpa', 'web')));
    const described = await kubectl.run('describe', 'hpa', 'web');
    assert.match(described, /AbleToScale +True +ReadyForNewScale/);
    assert.match(
      described,
      /ScalingLimited +True +TooManyReplicas +the desired replica count is more than the maximum/,
    );
    assert.match(described, /resource cpu on pods +\(as a percentage of request\): +\d+% \(\d+m?\) \/ 50%/);

    cores = 0.1;
    report();
    await autoscaler('web', (one) => conditionOf(one, 'AbleToScale')?.reason === 'ScaleDownStabilized');
    const behavior = { scaleDown: { stabilizationWindowSeconds: 0 } };
    await kubectl.run('patch', 'hpa', 'web', '--type=merge', '-p', JSON.stringify({ spec: { behavior } }));
    await told('web', 'SuccessfulRescale', /^New size: 1; reason: All metrics below target$/);
    await replicas(1);
    // Version 1 has one field for it all.
    const version1 = await kubectl.run('get', 'horizontalpodautoscalers.v1.autoscaling', 'web', '-o', 'json');
    const { spec, status } = JSON.parse(version1) as HorizontalPodAutoscalerV1;
    assert.equal(spec?.targetCPUUtilizationPercentage, 50);
    assert.ok(Math.abs((status?.currentCPUUtilizationPercentage ?? 0) - 10) <= 1, version1);
    assert.match(await kubectl.run('top', 'pods', '-l', 'app=web', '--no-headers'), /^web-\S+ +(99|100|101)m +64Mi/);
  });

  it('scales whatever has a scale', async () => {
    const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ name: 'app', image: 'app:1' }] } };
    await kubectl.apply({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'farms.example.com' },
      spec: {
        group: 'example.com',
        scope: 'Namespaced',
        names: { plural: 'farms', singular: 'farm', kind: 'Farm' },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
            subresources: {
              scale: {
                specReplicasPath: '.spec.size',
                statusReplicasPath: '.status.size',
                labelSelectorPath: '.status.selector',
              },
            },
          },
        ],
      },
    });
    await kubectl.run('wait', '--for=condition=Established', 'crd/farms.example.com', '--timeout=20s');
    const selector = { matchLabels: { app: 'x' } };
    const targets: [string, string, object][] = [
      ['apps/v1', 'ReplicaSet', { replicas: 1, selector, template }],
      ['apps/v1', 'StatefulSet', { replicas: 1, selector, template, serviceName: 'x' }],
      ['v1', 'ReplicationController', { replicas: 1, selector: { app: 'x' }, template }],
      ['example.com/v1', 'Farm', { size: 1 }],
    ];
    for (const [apiVersion, kind, spec] of targets) {
      const name = kind.toLowerCase();
      await kubectl.apply({ apiVersion, kind, metadata: { name }, spec });
      await kubectl.apply({
        apiVersion: 'autoscaling/v2',
        kind: 'HorizontalPodAutoscaler',
        metadata: { name },
        spec: { minReplicas: 2, maxReplicas: 3, scaleTargetRef: { apiVersion, kind, name } },
      });
    }
    for (const [, kind] of targets) {
      const name = kind.toLowerCase();
      await told(name, 'SuccessfulRescale', /^New size: 2; reason: Current number of replicas below Spec.MinReplicas$/);
      const path = kind === 'Farm' ? '{.spec.size}' : '{.spec.replicas}';
      assert.equal(await kubectl.run('get', name, name, '-o', `jsonpath=${path}`), '2', kind);
    }
    const blind = await autoscaler('farm', (one) => conditionOf(one, 'ScalingActive') !== undefined);
    assert.equal(conditionOf(blind, 'ScalingActive')?.reason, 'InvalidSelector');
    await autoscaler('replicaset', (one) => conditionOf(one, 'ScalingActive')?.reason === 'AmbiguousSelector');
  });

  it('says why it cannot', async () => {
    await kubectl.run('create', 'deployment', 'blind', '--image=app:1', '--replicas=1');
    const make = (name: string, target: object, metrics: object[]) =>
      kubectl.apply({
        apiVersion: 'autoscaling/v2',
        kind: 'HorizontalPodAutoscaler',
        metadata: { name },
        spec: { maxReplicas: 3, scaleTargetRef: target, metrics },
      });
    const blindTarget = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'blind' };
    const target = { type: 'AverageValue', averageValue: '10' };
    await make('no-kind', { apiVersion: 'apps/v1', kind: 'Nothing', name: 'x' }, []);
    await make('no-object', { apiVersion: 'apps/v1', kind: 'Deployment', name: 'x' }, []);
    await make('custom', blindTarget, [
      { type: 'Pods', pods: { metric: { name: 'packets' }, target } },
      { type: 'Object', object: { metric: { name: 'hits' }, describedObject: blindTarget, target } },
      { type: 'External', external: { metric: { name: 'queue', selector: { matchLabels: { a: 'b' } } }, target } },
    ]);
    await told(
      'no-kind',
      'FailedGetScale',
      /^unable to determine resource for scale target reference: no matches for kind "Nothing" in group "apps"$/,
    );
    const missing = await autoscaler('no-object', (one) => conditionOf(one, 'AbleToScale')?.status === 'False');
    assert.deepEqual(
      [conditionOf(missing, 'AbleToScale')?.reason, conditionOf(missing, 'AbleToScale')?.message],
      [
        'FailedGetScale',
        'the HPA controller was unable to get the target\'s current scale: deployments.apps "x" not found',
      ],
    );
    await told(
      'custom',
      'FailedGetPodsMetric',
      /^unable to get metric packets: unable to fetch metrics from custom metrics API: no custom metrics API \(custom\.metrics\.k8s\.io\) registered$/,
    );
    await told(
      'custom',
      'FailedGetObjectMetric',
      /^unable to get metric hits: .* registered on Deployment default\/blind$/,
    );
    await told(
      'custom',
      'FailedGetExternalMetric',
      /^unable to get external metric default\/queue\/a=b: .*the server could not find/,
    );
    await told(
      'custom',
      'FailedComputeMetricsReplicas',
      /^invalid metrics \(3 invalid out of 3\), first error is: failed to get pods metric value/,
    );
    await kubectl.run('scale', 'deployment/blind', '--replicas=0');
    const disabled = await autoscaler(
      'custom',
      (one) => conditionOf(one, 'ScalingActive')?.reason === 'ScalingDisabled',
    );
    assert.equal(disabled.status?.currentReplicas, 0);
  });
});
