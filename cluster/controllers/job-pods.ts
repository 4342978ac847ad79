/** The pods of a Job: what each says, how long to wait after a failure, and how a new one looks. */
import type { Stored } from '../kinds/kind.ts';
import type { Job } from '../kinds/types/batch.ts';
import type { Container, Pod } from '../kinds/types/core.ts';
import { indexAnnotation, indexOf } from './job-indexes.ts';
import { type PodOwner, podFromTemplate } from './pod-control.ts';

/** Keeps a pod until it is counted: nothing that ended is missed, and nothing is counted twice. */
export const trackingFinalizer = 'batch.kubernetes.io/job-tracking';
const failureCountAnnotation = 'batch.kubernetes.io/job-index-failure-count';
const maxHostname = 63;

export interface Backoff {
  /** Milliseconds after the first failure; doubles with each in a row. */
  first: number;
  longest: number;
}

export const usualBackoff: Backoff = { first: 10_000, longest: 600_000 };

export interface NewPod {
  index?: number;
  /** Of earlier pods of the index, where they are limited by index. */
  failures?: number;
}

export const isTracked = ({ metadata }: Pod): boolean => metadata.finalizers?.includes(trackingFinalizer) === true;

/**
 * How the pod counts; undefined while it runs. One that is being deleted has failed as soon as it is, unless the job
 * replaces failed pods only: then when it has stopped.
 */
export function outcomeOf(job: Job, { metadata, status }: Pod): 'succeeded' | 'failed' | undefined {
  if (status?.phase === 'Succeeded') return 'succeeded';
  if (status?.phase === 'Failed') return 'failed';
  if (metadata.deletionTimestamp === undefined) return undefined;
  // The last delete, without grace, is that of the node agent, or of a pod that never had a node.
  const stopped = metadata.deletionGracePeriodSeconds === 0;
  return job.spec?.podReplacementPolicy !== 'Failed' || stopped ? 'failed' : undefined;
}

export function failuresOf(pod: Pod): number {
  return Number(pod.metadata.annotations?.[failureCountAnnotation] ?? 0) || 0;
}

function endedAt(pod: Stored<Pod>): number {
  const times = (pod.status?.containerStatuses ?? []).flatMap(({ state }) => state?.terminated?.finishedAt ?? []);
  const last = times.sort().at(-1) ?? pod.metadata.deletionTimestamp ?? pod.metadata.creationTimestamp;
  return Date.parse(last);
}

function waitAfter(failures: number, last: number, { first, longest }: Backoff, now: number): number {
  if (failures === 0) return 0;
  return Math.max(0, last + Math.min(first * 2 ** Math.min(failures - 1, 30), longest) - now);
}

/** How long no pod may be made after failures in a row. `pods` are those of the job, or of one of its indexes. */
export function backoffLeft(job: Job, pods: Stored<Pod>[], backoff: Backoff, now: number): number {
  let failures = 0;
  let last = 0;
  const ended = pods
    .map((pod) => ({ outcome: outcomeOf(job, pod), at: endedAt(pod) }))
    .filter(({ outcome }) => outcome !== undefined)
    .sort((a, b) => a.at - b.at);
  for (const { outcome, at } of ended) {
    failures = outcome === 'failed' ? failures + 1 : 0;
    last = at;
  }
  return waitAfter(failures, last, backoff, now);
}

/** As `backoffLeft`, for one index whose pods carry how many failed before them. */
export function indexBackoffLeft(newest: Stored<Pod> | undefined, backoff: Backoff, now: number): number {
  return newest ? waitAfter(failuresOf(newest) + 1, endedAt(newest), backoff, now) : 0;
}

/** How often containers were restarted in place, which counts as failures where pods do so. */
export function restartsOf(pods: Pod[]): number {
  return pods
    .flatMap(({ status }) => [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])])
    .reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function withIndex(container: Container): Container {
  if (container.env?.some(({ name }) => name === 'JOB_COMPLETION_INDEX')) return container;
  const fieldRef = { fieldPath: `metadata.labels['${indexAnnotation}']` };
  return { ...container, env: [...(container.env ?? []), { name: 'JOB_COMPLETION_INDEX', valueFrom: { fieldRef } }] };
}

export function podOfJob(job: Stored<Job>, owner: PodOwner, { index, failures }: NewPod): Pod {
  const pod = podFromTemplate(owner, job.spec?.template);
  pod.metadata.finalizers = [...(pod.metadata.finalizers ?? []), trackingFinalizer];
  if (index === undefined || !pod.spec) return pod;
  const name = `${job.metadata.name}-${index}`;
  const mark = { [indexAnnotation]: String(index) };
  const { containers, initContainers } = pod.spec;
  return {
    metadata: {
      ...pod.metadata,
      generateName: `${name}-`,
      labels: { ...pod.metadata.labels, ...mark },
      annotations: {
        ...pod.metadata.annotations,
        ...mark,
        ...(failures !== undefined && { [failureCountAnnotation]: String(failures) }),
      },
    },
    spec: {
      ...pod.spec,
      hostname: name.slice(0, maxHostname).replace(/-+$/, ''),
      containers: containers.map(withIndex),
      ...(initContainers && { initContainers: initContainers.map(withIndex) }),
    },
  };
}

/** Of the pods with an index, those of each. */
export function byIndex(pods: Stored<Pod>[]): Map<number, Stored<Pod>[]> {
  const groups = new Map<number, Stored<Pod>[]>();
  for (const pod of pods) {
    const index = indexOf(pod);
    if (index === undefined) continue;
    const group = groups.get(index) ?? [];
    groups.set(index, group);
    group.push(pod);
  }
  return groups;
}
