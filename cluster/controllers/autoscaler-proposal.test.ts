// Nothing of ours serves custom or external metrics, so the API server is stood in for: what counts is what is asked of it, and
// what is made of answers in the form of those APIs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError, type Client, type RawRequest } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import type { MetricSpec, MetricTarget } from '../kinds/types/autoscaling-v2.ts';
import type { Pod } from '../kinds/types/core.ts';
import { proposalOf } from './autoscaler-proposal.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');

const answers: Record<string, object> = {
  '/apis/custom.metrics.k8s.io': { preferredVersion: { groupVersion: 'custom.metrics.k8s.io/v1beta2' } },
  '/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/pods/*/packets?labelSelector=app%3Dweb&metricLabelSelector=a%3Db':
    {
      items: [
        { describedObject: { name: 'web-0' }, timestamp: '2026-01-01T11:59:55Z', value: '3' },
        { describedObject: { name: 'web-1' }, timestamp: '2026-01-01T11:59:55Z', value: '500m' },
      ],
    },
  '/apis/networking.k8s.io/v1': {
    resources: [
      { name: 'ingresses/status', kind: 'Ingress' },
      { name: 'ingresses', kind: 'Ingress' },
    ],
  },
  '/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns/ingresses.networking.k8s.io/main/hits': {
    items: [{ value: '2k' }],
  },
  '/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/queue?labelSelector=q%3D1': {
    items: [{ value: '40' }, { value: '20' }],
  },
  '/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/empty': { items: [] },
};

const client = {
  async request({ path, query = {} }: RawRequest) {
    const text = new URLSearchParams(query).toString();
    const url = text === '' ? path : `${path}?${text}`;
    const answer = answers[url];
    if (answer === undefined) throw new ApiError(404, 'NotFound', `no answer to ${url}`);
    return answer;
  },
} as Partial<Client> as Client;

const pods = ['web-0', 'web-1'].map((name) => ({
  metadata: { name },
  status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] },
})) as unknown as Stored<Pod>[];

const propose = (metric: MetricSpec) =>
  proposalOf(metric, {
    client,
    namespace: 'ns',
    scale: { metadata: {}, spec: { replicas: 2 }, status: { replicas: 2 } },
    selector: 'app=web',
    pods,
    now: NOW,
  });

test('metrics of pods are averaged', async () => {
  const metric = { name: 'packets', selector: { matchLabels: { a: 'b' } } };
  const target = { type: 'AverageValue', averageValue: '1' };
  assert.deepEqual(await propose({ type: 'Pods', pods: { metric, target } }), {
    replicas: 4,
    name: 'pods metric packets',
    status: { type: 'Pods', pods: { metric, current: { averageValue: '1750m' } } },
  });
});

test('a metric of an object, as a whole and for each pod', async () => {
  const describedObject = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', name: 'main' };
  const metric = { name: 'hits' };
  const ask = (target: MetricTarget) => propose({ type: 'Object', object: { metric, describedObject, target } });
  const whole = await ask({ type: 'Value', value: '500' });
  assert.deepEqual([whole.replicas, whole.name], [8, 'Ingress metric hits']);
  assert.deepEqual(whole.status.object?.current, { value: '2k' });
  const shared = await ask({ type: 'AverageValue', averageValue: '400' });
  assert.deepEqual([shared.replicas, shared.status.object?.current], [5, { averageValue: '1k' }]);
});

test('an external metric is the sum of its series', async () => {
  const metric = { name: 'queue', selector: { matchLabels: { q: '1' } } };
  const { replicas, name, status } = await propose({
    type: 'External',
    external: { metric, target: { type: 'AverageValue', averageValue: '20' } },
  });
  assert.deepEqual([replicas, name], [3, 'external metric queue(q=1)']);
  assert.deepEqual(status.external?.current, { averageValue: '30' });
  const target = { type: 'Value', value: '20' };
  await assert.rejects(propose({ type: 'External', external: { metric: { name: 'empty' }, target } }), {
    reason: 'FailedGetExternalMetric',
    message: 'unable to get external metric ns/empty/nil: no metrics returned from external metrics API',
  });
});

test('a target that is none is refused', async () => {
  const metric = { name: 'queue', selector: { matchLabels: { q: '1' } } };
  await assert.rejects(propose({ type: 'External', external: { metric, target: { type: 'Value', value: '0' } } }), {
    message: 'invalid metric source: its target is 0',
  });
});
