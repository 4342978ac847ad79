/**
 * Where an autoscaler's figures come from: metrics.k8s.io for what pods use, custom.metrics.k8s.io and external.metrics.k8s.io
 * for all else, where something serves them. Values in thousandths. What is not there is a `MetricError` in upstream's words.
 */
import { ApiError, type Client } from '../client/client.ts';
import { podMetrics } from '../kinds/resources.ts';
import { formatLabelSelector } from '../kinds/selector.ts';
import type { MetricIdentifier, ObjectMetricSource } from '../kinds/types/autoscaling-v2.ts';
import { MetricError, milliOf, type PodMetric } from './autoscaler-replicas.ts';

interface Asked {
  client: Client;
  namespace: string;
  /** Of the target's pods. */
  selector: string;
}

interface MetricValue {
  describedObject?: { name?: string };
  timestamp?: string;
  windowSeconds?: number;
  value: string;
}

/** For a custom metric that does not say. */
const USUAL_WINDOW = 60_000;

export async function resourceMetric(
  { client, namespace, selector }: Asked,
  resource: string,
  container?: string,
): Promise<Map<string, PodMetric>> {
  const { items } = await client
    .list(podMetrics, { namespace, labelSelector: selector })
    .catch(asMetricError('unable to fetch metrics from resource metrics API'));
  if (items.length === 0) throw new MetricError('no metrics returned from resource metrics API');
  const found = new Map<string, PodMetric>();
  for (const { metadata, timestamp, window, containers } of items) {
    const counted = container === undefined ? containers : containers.filter(({ name }) => name === container);
    if (counted.length === 0)
      throw new MetricError(`container ${container} not present in metrics for pod ${namespace}/${metadata.name}`);
    const usages = counted.map(({ usage }) => (usage as unknown as Record<string, string | undefined>)[resource]);
    if (usages.some((usage) => usage === undefined)) continue;
    found.set(metadata.name, {
      at: Date.parse(timestamp),
      window: millisecondsOf(window),
      value: usages.reduce((sum, usage) => sum + milliOf(usage ?? '0'), 0),
    });
  }
  return found;
}

export async function podsMetric(asked: Asked, metric: MetricIdentifier): Promise<Map<string, PodMetric>> {
  const { client, namespace, selector } = asked;
  const version = await customVersion(client);
  const { items } = await client
    .request<{ items: MetricValue[] }>({
      method: 'GET',
      path: `${version}/namespaces/${namespace}/pods/*/${encodeURIComponent(metric.name)}`,
      query: { labelSelector: selector, ...metricSelector(metric, 'metricLabelSelector') },
    })
    .catch(asMetricError('unable to fetch metrics from custom metrics API'));
  if (items.length === 0) throw new MetricError('no metrics returned from custom metrics API');
  return new Map(
    items.map(({ describedObject, timestamp, windowSeconds, value }) => [
      describedObject?.name ?? '',
      {
        at: Date.parse(timestamp ?? ''),
        window: windowSeconds === undefined ? USUAL_WINDOW : windowSeconds * 1_000,
        value: milliOf(value),
      },
    ]),
  );
}

export async function objectMetric(
  { client, namespace }: Asked,
  { metric, describedObject }: ObjectMetricSource,
  /** `deployments.apps`; `namespaces` for one, whose metrics have a path of their own. */
  resource: string,
): Promise<number> {
  const version = await customVersion(client);
  const { name } = describedObject;
  const object =
    resource === 'namespaces' ? `namespaces/${name}/metrics` : `namespaces/${namespace}/${resource}/${name}`;
  const { items } = await client
    .request<{ items: MetricValue[] }>({
      method: 'GET',
      path: `${version}/${object}/${encodeURIComponent(metric.name)}`,
      query: metricSelector(metric, 'metricLabelSelector'),
    })
    .catch(asMetricError('unable to fetch metrics from custom metrics API'));
  const [first] = items;
  if (first === undefined) throw new MetricError('no metrics returned from custom metrics API');
  return milliOf(first.value);
}

/** Of all its series together. */
export async function externalMetric({ client, namespace }: Asked, metric: MetricIdentifier): Promise<number> {
  const { items } = await client
    .request<{ items: MetricValue[] }>({
      method: 'GET',
      path: `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}/${encodeURIComponent(metric.name)}`,
      query: metricSelector(metric, 'labelSelector'),
    })
    .catch(asMetricError('unable to fetch metrics from external metrics API'));
  if (items.length === 0) throw new MetricError('no metrics returned from external metrics API');
  return items.reduce((sum, { value }) => sum + milliOf(value), 0);
}

/** Its path, of the version that the server prefers. */
async function customVersion(client: Client): Promise<string> {
  try {
    const { preferredVersion } = await client.request<{ preferredVersion?: { groupVersion: string } }>({
      method: 'GET',
      path: '/apis/custom.metrics.k8s.io',
    });
    return `/apis/${preferredVersion?.groupVersion ?? 'custom.metrics.k8s.io/v1beta1'}`;
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
    throw new MetricError(
      'unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered',
    );
  }
}

function metricSelector({ selector }: MetricIdentifier, parameter: string): Record<string, string> {
  const text = selector === undefined ? '<none>' : formatLabelSelector(selector);
  return text === '<none>' ? {} : { [parameter]: text };
}

function asMetricError(doing: string): (error: unknown) => never {
  return (error) => {
    throw error instanceof ApiError ? new MetricError(`${doing}: ${error.message}`) : error;
  };
}

/** A Go duration of hours, minutes and seconds. */
function millisecondsOf(duration: string): number {
  const [, hours = 0, minutes = 0, seconds = 0] = /^(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?$/.exec(duration) ?? [];
  return ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1_000;
}
