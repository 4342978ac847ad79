/**
 * A HorizontalPodAutoscaler of autoscaling/v1 as one of v2 and back. What version 1 has no field for is in annotations there,
 * under upstream's names, so that a client of it that writes back what it read loses nothing.
 */
import { fromVersion1Metric, toVersion1Metric, type Version1Metric } from './horizontal-pod-autoscaler-v1-metrics.ts';
import type { ApiObject } from './kind.ts';
import type { HorizontalPodAutoscaler as Version1 } from './types/autoscaling.ts';
import type { HorizontalPodAutoscaler, MetricSpec, MetricStatus } from './types/autoscaling-v2.ts';

const METRICS = 'autoscaling.alpha.kubernetes.io/metrics';
const BEHAVIOR = 'autoscaling.alpha.kubernetes.io/behavior';
const CURRENT = 'autoscaling.alpha.kubernetes.io/current-metrics';
const CONDITIONS = 'autoscaling.alpha.kubernetes.io/conditions';

export function readVersion1(stored: ApiObject): ApiObject {
  const { metadata, spec, status, ...rest } = structuredClone(stored) as HorizontalPodAutoscaler;
  const kept: Record<string, string> = {};
  const [own, others] = split(spec?.metrics ?? []);
  const current = status?.currentMetrics ?? [];
  if (others.length > 0) kept[METRICS] = JSON.stringify(others.map((one) => toVersion1Metric(one, 'target')));
  if (spec?.behavior !== undefined) kept[BEHAVIOR] = JSON.stringify(spec.behavior);
  // That of the cpu too: its field has no place for the value itself.
  if (current.length > 0) kept[CURRENT] = JSON.stringify(current.map((one) => toVersion1Metric(one, 'current')));
  if ((status?.conditions ?? []).length > 0) kept[CONDITIONS] = JSON.stringify(status?.conditions);
  const { metrics: _metrics, behavior: _behavior, ...plainSpec } = spec ?? { maxReplicas: 0, scaleTargetRef: {} };
  const { currentMetrics: _current, conditions: _conditions, ...plainStatus } = status ?? {};
  const target = own?.resource?.target.averageUtilization;
  const reached = split(current)[0]?.resource?.current.averageUtilization;
  return {
    ...rest,
    metadata:
      Object.keys(kept).length === 0 ? metadata : { ...metadata, annotations: { ...metadata.annotations, ...kept } },
    spec: { ...plainSpec, ...(target === undefined ? {} : { targetCPUUtilizationPercentage: target }) },
    status: {
      currentReplicas: 0,
      desiredReplicas: 0,
      ...plainStatus,
      ...(reached === undefined ? {} : { currentCPUUtilizationPercentage: reached }),
    },
  } as ApiObject;
}

export function writeVersion1(object: ApiObject): ApiObject {
  const { metadata, spec, status, ...rest } = structuredClone(object) as unknown as Version1;
  const {
    [METRICS]: metrics,
    [BEHAVIOR]: behavior,
    [CURRENT]: current,
    [CONDITIONS]: conditions,
    ...annotations
  } = metadata.annotations ?? {};
  const { targetCPUUtilizationPercentage: target, ...plainSpec } = spec ?? { maxReplicas: 0 };
  const { currentCPUUtilizationPercentage: reached, ...plainStatus } = status ?? {};
  const all: MetricSpec[] = metricsIn(metrics).map((one) => fromVersion1Metric(one, 'target'));
  if (target !== undefined)
    all.unshift({
      type: 'Resource',
      resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: target } },
    });
  const seen: MetricStatus[] = metricsIn(current).map((one) => fromVersion1Metric(one, 'current'));
  if (reached !== undefined && split(seen)[0] === undefined)
    seen.unshift({ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: reached } } });
  const { annotations: _annotations, ...plainMetadata } = metadata;
  return {
    ...rest,
    metadata: Object.keys(annotations).length === 0 ? plainMetadata : { ...plainMetadata, annotations },
    ...(spec === undefined
      ? {}
      : {
          spec: {
            ...plainSpec,
            ...(all.length === 0 ? {} : { metrics: all }),
            ...(behavior === undefined ? {} : { behavior: parsed(behavior) }),
          },
        }),
    ...(status === undefined
      ? {}
      : {
          status: {
            ...plainStatus,
            currentMetrics: seen,
            ...(conditions === undefined ? {} : { conditions: parsed(conditions) }),
          },
        }),
  } as unknown as ApiObject;
}

/** The one for the cpu's utilization, which version 1 has a field for, and the others. */
function split<T extends MetricSpec | MetricStatus>(metrics: T[]): [T | undefined, T[]] {
  const own = metrics.find((metric) => {
    const resource = metric.resource as MetricSpec['resource'] & MetricStatus['resource'];
    const side = resource?.target ?? resource?.current;
    return metric.type === 'Resource' && resource?.name === 'cpu' && side?.averageUtilization !== undefined;
  });
  return [own, metrics.filter((metric) => metric !== own)];
}

function metricsIn(text: string | undefined): Version1Metric[] {
  const value = parsed(text);
  if (!Array.isArray(value)) return [];
  return value.filter((one: unknown) => typeof one === 'object' && one !== null && 'type' in one) as Version1Metric[];
}

function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    // Whatever is in the annotation was not put there by us.
    return undefined;
  }
}
