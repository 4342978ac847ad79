// Metrics of custom.metrics.k8s.io and external.metrics.k8s.io, from an adapter that is a server of its own behind the API server.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  type AggregatedServer,
  aggregatedServer,
  createServiceFor,
  frontProxyPair,
  register,
} from '#testing/aggregated-server.ts';
import { type ControlPlane, createNode, playNodes, startControlPlane } from '#testing/control-plane.ts';
import { when } from '#testing/when.ts';
import { apiServices, deployments, events, horizontalPodAutoscalers, namespaces } from '../kinds/resources.ts';
import type { Namespace } from '../kinds/types/core.ts';
import type { HorizontalPodAutoscalerSpec } from '../kinds/types/autoscaling-v2.ts';
import { startScheduler } from '../scheduler/start.ts';
import { allControllers } from './all.ts';

const CUSTOM = 'custom.metrics.k8s.io';
const EXTERNAL = 'external.metrics.k8s.io';
const namespace = 'default';

describe('HorizontalPodAutoscaler on metrics of others', { concurrency: 1 }, () => {
  let plane: ControlPlane;
  const servers: AggregatedServer[] = [];
  /** As the adapter shows them, by name; undefined: no such metric. */
  const values = new Map<string, string>();
  const closers: (() => unknown)[] = [];

  before(async () => {
    const frontProxy = await frontProxyPair();
    plane = await startControlPlane({ frontProxy });
    await createNode(plane.client, 'node-1');
    closers.push(playNodes(plane.client));
    const scheduler = await startScheduler(plane.context);
    closers.push(() => scheduler.close());
    await plane.start(...allControllers({ autoscaler: { period: 500 } }));
    for (const [name, group, version] of [
      ['custom', CUSTOM, 'v1beta2'],
      ['external', EXTERNAL, 'v1beta1'],
    ] as const) {
      const server = await aggregatedServer(name, frontProxy, {
        group,
        version,
        resources: [],
        handle(request, response) {
          const url = new URL(request.url ?? '', 'https://it');
          const metric = url.pathname.split('/').at(-1) ?? '';
          const value = values.get(`${metric}${url.searchParams.get('labelSelector') ?? ''}`);
          const items =
            value === undefined
              ? []
              : [{ describedObject: { name: 'it' }, metricName: metric, timestamp: new Date().toISOString(), value }];
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(
            JSON.stringify({ kind: 'MetricValueList', apiVersion: `${group}/${version}`, metadata: {}, items }),
          );
        },
      });
      servers.push(server);
      await createServiceFor(plane.client, name, server);
    }
  });
  after(async () => {
    for (const close of closers) await close();
    for (const server of servers) await server.close();
    await plane.close();
  });

  async function deployment(name: string, replicas: number): Promise<void> {
    await plane.client.create(deployments, {
      metadata: { name, namespace },
      spec: {
        replicas,
        selector: { matchLabels: { app: name } },
        template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image: 'a:1' }] } },
      },
    });
  }

  const autoscaler = (name: string, spec: Partial<HorizontalPodAutoscalerSpec>): Promise<unknown> =>
    plane.client.create(horizontalPodAutoscalers, {
      metadata: { name, namespace },
      spec: {
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
        minReplicas: 1,
        maxReplicas: 10,
        ...spec,
      },
    });

  const scaled = (name: string, count: number) =>
    when(
      plane.client,
      deployments,
      (all) =>
        all.some(
          ({ metadata, spec, status }) =>
            metadata.name === name && spec?.replicas === count && status?.readyReplicas === count,
        ),
      90,
    );

  test('without an adapter it says why, and goes on when there is one', async () => {
    values.set('requests', '30');
    await deployment('shop', 1);
    await autoscaler('shop', {
      metrics: [
        {
          type: 'Object',
          object: {
            describedObject: { apiVersion: 'v1', kind: 'Service', name: 'shop' },
            metric: { name: 'requests' },
            target: { type: 'AverageValue', averageValue: '10' },
          },
        },
      ],
      behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
    });
    await when(
      plane.client,
      events,
      (all) =>
        all.some(
          ({ involvedObject, message }) =>
            involvedObject.name === 'shop' &&
            /no custom metrics API \(custom\.metrics\.k8s\.io\) registered/.test(message ?? ''),
        ),
      60,
    );
    const [custom] = servers;
    assert.ok(custom);
    await register(plane.client, 'custom', custom);
    await scaled('shop', 3);
    values.set('requests', '12');
    await scaled('shop', 2);
  });

  test('an external metric by its selector, as fast as the policies let it', async () => {
    const [, external] = servers;
    assert.ok(external);
    await register(plane.client, 'external', external);
    const target = { type: 'AverageValue', averageValue: '100' };
    const queue = (q: string): HorizontalPodAutoscalerSpec['metrics'] => [
      { type: 'External', external: { metric: { name: 'queue', selector: { matchLabels: { q } } }, target } },
    ];
    const limitedTo = (name: string, reason: string) =>
      when(
        plane.client,
        horizontalPodAutoscalers,
        (all) =>
          all.some(
            ({ metadata, status }) =>
              metadata.name === name &&
              status?.conditions?.some((one) => one.type === 'ScalingLimited' && one.reason === reason),
          ),
        60,
      );
    values.set('queueq=mail', '1k');
    await deployment('mail', 1);
    await autoscaler('mail', {
      metrics: queue('mail'),
      behavior: { scaleUp: { policies: [{ type: 'Pods', value: 2, periodSeconds: 600 }] } },
    });
    await scaled('mail', 3);
    await limitedTo('mail', 'ScaleUpLimit');
    values.set('queueq=post', '0');
    await deployment('post', 4);
    await scaled('post', 4);
    await autoscaler('post', {
      metrics: queue('post'),
      behavior: {
        scaleDown: { stabilizationWindowSeconds: 0, policies: [{ type: 'Pods', value: 1, periodSeconds: 600 }] },
      },
    });
    await scaled('post', 3);
    await limitedTo('post', 'ScaleDownLimit');
  });

  test('while a server behind is away, a namespace waits for it and says so; the others go on', async () => {
    await plane.namespace('leaving');
    await servers[0]?.close();
    const isAway = (wanted: string) =>
      when(
        plane.client,
        apiServices,
        (all) =>
          all.some(
            ({ metadata, status }) =>
              metadata.name === `v1beta2.${CUSTOM}` && status?.conditions?.[0]?.status === wanted,
          ),
        90,
      );
    // Nobody tells when it goes: who cannot reach it makes it looked at.
    await plane.client.request({ method: 'GET', path: `/apis/${CUSTOM}/v1beta2` }).catch(() => undefined);
    await isAway('False');
    await plane.client.delete(namespaces, 'leaving');
    const failure = ({ status }: Namespace) =>
      status?.conditions?.find(({ type }) => type === 'NamespaceDeletionDiscoveryFailure');
    await when(
      plane.client,
      namespaces,
      (all) => all.some((one) => one.metadata.name === 'leaving' && failure(one)?.status === 'True'),
      60,
    );
    await servers[0]?.open();
    await when(plane.client, namespaces, (all) => all.every(({ metadata }) => metadata.name !== 'leaving'), 90);
    await isAway('True');
  });
});
