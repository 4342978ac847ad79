import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readVersion1, writeVersion1 } from './horizontal-pod-autoscaler-v1.ts';
import type { ApiObject } from './kind.ts';
import type { HorizontalPodAutoscaler, MetricSpec, MetricStatus } from './types/autoscaling-v2.ts';

const metric = { name: 'hits', selector: { matchLabels: { a: 'b' } } };
const describedObject = { apiVersion: 'v1', kind: 'Service', name: 'web' };
const average = (averageValue: string) => ({ type: 'AverageValue', averageValue });

const metrics: MetricSpec[] = [
  { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } } },
  { type: 'Resource', resource: { name: 'memory', target: average('1Gi') } },
  {
    type: 'ContainerResource',
    containerResource: { name: 'cpu', container: 'main', target: { type: 'Utilization', averageUtilization: 70 } },
  },
  { type: 'Pods', pods: { metric, target: average('10') } },
  { type: 'Object', object: { metric, describedObject, target: { type: 'Value', value: '2k' } } },
  { type: 'Object', object: { metric, describedObject, target: average('5') } },
  { type: 'External', external: { metric: { name: 'queue' }, target: { type: 'Value', value: '30' } } },
  { type: 'External', external: { metric: { name: 'queue' }, target: average('3') } },
];

const currentMetrics: MetricStatus[] = [
  { type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 40, averageValue: '400m' } } },
  { type: 'Resource', resource: { name: 'memory', current: { averageValue: '0' } } },
  { type: 'ContainerResource', containerResource: { name: 'cpu', container: 'main', current: { averageValue: '1' } } },
  { type: 'Pods', pods: { metric, current: { averageValue: '9' } } },
  { type: 'Object', object: { metric, describedObject, current: { value: '1k' } } },
  { type: 'External', external: { metric: { name: 'queue' }, current: { value: '12' } } },
  { type: '' },
];

const stored: HorizontalPodAutoscaler = {
  metadata: { name: 'web', annotations: { own: 'yes' } },
  spec: {
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    maxReplicas: 5,
    metrics,
    behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
  },
  status: {
    currentReplicas: 2,
    desiredReplicas: 3,
    currentMetrics,
    conditions: [{ type: 'AbleToScale', status: 'True', reason: 'ReadyForNewScale' }],
  },
};

const read = () => readVersion1(stored as ApiObject) as unknown as ApiObject & { spec: object; status: object };

test('version 1 and back loses nothing', () => {
  assert.deepEqual(writeVersion1(read()), stored);
});

test('metrics are in annotations in the form of version 1', () => {
  const { metadata, spec, status } = read();
  assert.deepEqual(spec, {
    scaleTargetRef: { kind: 'Deployment', name: 'web' },
    maxReplicas: 5,
    targetCPUUtilizationPercentage: 50,
  });
  assert.deepEqual(status, { currentReplicas: 2, desiredReplicas: 3, currentCPUUtilizationPercentage: 40 });
  const { selector } = metric;
  const kept = (name: string): unknown =>
    JSON.parse(metadata.annotations?.[`autoscaling.alpha.kubernetes.io/${name}`] ?? '');
  assert.deepEqual(kept('metrics'), [
    { type: 'Resource', resource: { name: 'memory', targetAverageValue: '1Gi' } },
    { type: 'ContainerResource', containerResource: { name: 'cpu', container: 'main', targetAverageUtilization: 70 } },
    { type: 'Pods', pods: { metricName: 'hits', selector, targetAverageValue: '10' } },
    { type: 'Object', object: { target: describedObject, metricName: 'hits', selector, targetValue: '2k' } },
    {
      type: 'Object',
      object: { target: describedObject, metricName: 'hits', selector, targetValue: '0', averageValue: '5' },
    },
    { type: 'External', external: { metricName: 'queue', targetValue: '30' } },
    { type: 'External', external: { metricName: 'queue', targetAverageValue: '3' } },
  ]);
  const [cpu] = kept('current-metrics') as object[];
  assert.deepEqual(cpu, {
    type: 'Resource',
    resource: { name: 'cpu', currentAverageUtilization: 40, currentAverageValue: '400m' },
  });
});

test('whatever is in the annotations breaks nothing', () => {
  for (const text of ['1', '{}', '[null, 1, {}]', '[{"type":"Pods","pods":null}]', '[{"type":"constructor"}]', '{'])
    writeVersion1({
      metadata: { annotations: { 'autoscaling.alpha.kubernetes.io/metrics': text } },
      spec: { maxReplicas: 1 },
    });
});
