/** How many replicas each metric of an autoscaler asks for, with what is told of it: names, status and errors are upstream's. */
import type { Client } from '../client/client.ts';
import { formatAmount } from '../kinds/amount.ts';
import type { Stored } from '../kinds/kind.ts';
import { formatLabelSelector } from '../kinds/selector.ts';
import type { Scale } from '../kinds/types/autoscaling.ts';
import type {
  ExternalMetricSource,
  MetricSpec,
  MetricStatus,
  MetricTarget,
  MetricValueStatus,
  ObjectMetricSource,
} from '../kinds/types/autoscaling-v2.ts';
import type { Pod } from '../kinds/types/core.ts';
import { externalMetric, objectMetric, podsMetric, resourceMetric } from './autoscaler-metrics.ts';
import {
  MetricError,
  milliOf,
  type PodMetric,
  replicasByAverage,
  replicasByRatio,
  replicasByShare,
  replicasByUtilization,
} from './autoscaler-replicas.ts';
import { resourceOfKind } from './autoscaler-scale.ts';

export interface ProposalInput {
  client: Client;
  namespace: string;
  scale: Scale;
  selector: string;
  pods: Stored<Pod>[];
  now: number;
}

export interface Proposal {
  replicas: number;
  /** What asks for them: `cpu resource utilization (percentage of request)`. */
  name: string;
  status: MetricStatus;
}

/** `reason` is an event's and a condition's; `summary` is what is said of it where all metrics are summed up. */
export class ProposalError extends Error {
  readonly code = 'proposal-failed';
  readonly reason: string;
  readonly summary: string;
  constructor(reason: string, summary: string, cause: Error) {
    super(cause.message, { cause });
    this.name = 'ProposalError';
    this.reason = reason;
    this.summary = `${summary}: ${cause.message}`;
  }
}

/** Throws `ProposalError` where the metric is not known. */
export async function proposalOf(metric: MetricSpec, input: ProposalInput): Promise<Proposal> {
  const { resource, containerResource, pods, object, external } = metric;
  if (resource !== undefined)
    return told('FailedGetResourceMetric', `failed to get ${resource.name} resource metric value`, async () => {
      const { name, current, replicas } = await ofResource(resource, input);
      return { name, replicas, status: { type: 'Resource', resource: { name: resource.name, current } } };
    });
  if (containerResource !== undefined) {
    const { name: of, container } = containerResource;
    return told('FailedGetContainerResourceMetric', `failed to get ${of} container metric value`, async () => {
      const { name, current, replicas } = await ofResource(containerResource, input);
      const status = { type: 'ContainerResource', containerResource: { name: of, container, current } };
      return { name, replicas, status };
    });
  }
  if (pods !== undefined)
    return told('FailedGetPodsMetric', 'failed to get pods metric value', async () => {
      const metrics = await podsMetric(input, pods.metric).catch(because(`unable to get metric ${pods.metric.name}`));
      const { replicas, average } = replicasByAverage(measured(input, metrics, ''), targetOf(pods.target.averageValue));
      const current = { averageValue: quantity(average) };
      return {
        replicas,
        name: `pods metric ${pods.metric.name}`,
        status: { type: 'Pods', pods: { metric: pods.metric, current } },
      };
    });
  if (object !== undefined)
    return told('FailedGetObjectMetric', 'failed to get object metric value', () => ofObject(object, input));
  if (external !== undefined)
    return told('FailedGetExternalMetric', `failed to get ${external.metric.name} external metric value`, () =>
      ofExternal(external, input),
    );
  throw new ProposalError(
    'InvalidMetricSourceType',
    'failed to get a metric value',
    new MetricError(`unknown metric source type "${metric.type}"`),
  );
}

async function ofResource(
  { name, container, target }: { name: string; container?: string; target: MetricTarget },
  input: ProposalInput,
): Promise<Omit<Proposal, 'status'> & { current: MetricValueStatus }> {
  const metricsOf = async () =>
    measured(
      input,
      await resourceMetric(input, name, container).catch(because(`unable to get metrics for resource ${name}`)),
      name,
      container,
    );
  if (target.averageValue !== undefined) {
    const { averageValue } = target;
    const { replicas, average } = await metricsOf()
      .then((metrics) => replicasByAverage(metrics, targetOf(averageValue)))
      .catch(because(`failed to get ${name} usage`));
    return { replicas, name: `${name} resource`, current: { averageValue: quantity(average) } };
  }
  const { averageUtilization } = target;
  if (averageUtilization === undefined)
    throw new MetricError(
      'invalid resource metric source: neither an average utilization target nor an average value (usage) target was set',
    );
  const { replicas, utilization, average } = await metricsOf()
    .then((metrics) => replicasByUtilization(metrics, averageUtilization))
    .catch(because(`failed to get ${name} utilization`));
  return {
    replicas,
    name: `${name} resource utilization (percentage of request)`,
    current: { averageUtilization: utilization, averageValue: quantity(average) },
  };
}

async function ofObject(source: ObjectMetricSource, input: ProposalInput): Promise<Proposal> {
  const { metric, describedObject, target } = source;
  const { kind, name } = describedObject;
  const value = await resourceOfKind(input.client, describedObject)
    .then(({ resource, group }) => objectMetric(input, source, group === '' ? resource : `${resource}.${group}`))
    .catch(because(`unable to get metric ${metric.name}`, ` on ${kind} ${input.namespace}/${name}`));
  const { replicas, current } = ofValue(value, target, input);
  return {
    replicas,
    name: `${kind} metric ${metric.name}`,
    status: { type: 'Object', object: { metric, describedObject, current } },
  };
}

async function ofExternal({ metric, target }: ExternalMetricSource, input: ProposalInput): Promise<Proposal> {
  const selector = metric.selector === undefined ? 'nil' : formatLabelSelector(metric.selector);
  const value = await externalMetric(input, metric).catch(
    because(`unable to get external metric ${input.namespace}/${metric.name}/${selector}`),
  );
  const { replicas, current } = ofValue(value, target, input);
  return {
    replicas,
    name: `external metric ${metric.name}(${selector})`,
    status: { type: 'External', external: { metric, current } },
  };
}

function ofValue(value: number, target: MetricTarget, { scale, pods }: ProposalInput) {
  if (target.averageValue !== undefined) {
    const replicas = scale.status?.replicas ?? 0;
    return {
      replicas: replicasByShare(value, targetOf(target.averageValue), replicas),
      // Of no replicas there is no average: then the value itself.
      current: { averageValue: quantity(Math.ceil(value / Math.max(1, replicas))) },
    };
  }
  const ratio = value / targetOf(target.value);
  return { replicas: replicasByRatio(ratio, scale.spec?.replicas ?? 0, pods), current: { value: quantity(value) } };
}

function measured(
  { scale, pods, now }: ProposalInput,
  metrics: ReadonlyMap<string, PodMetric>,
  resource: string,
  container?: string,
) {
  return { current: scale.spec?.replicas ?? 0, pods, metrics, resource, container, now };
}

function targetOf(text: string | undefined): number {
  const target = text === undefined ? 0 : milliOf(text);
  if (!(target > 0)) throw new MetricError(`invalid metric source: its target is ${text ?? 'not set'}`);
  return target;
}

function quantity(milli: number): string {
  return formatAmount({ nano: BigInt(milli) * 1_000_000n, binary: false });
}

async function told(reason: string, summary: string, propose: () => Promise<Proposal>): Promise<Proposal> {
  try {
    return await propose();
  } catch (error) {
    throw new ProposalError(reason, summary, error instanceof Error ? error : new Error(String(error)));
  }
}

function because(doing: string, after = ''): (error: unknown) => never {
  return (error) => {
    throw new MetricError(`${doing}: ${error instanceof Error ? error.message : String(error)}${after}`);
  };
}
