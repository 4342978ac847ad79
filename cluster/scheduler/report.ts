/** Tells people why a pod has no node: an event, and its condition `PodScheduled`. */
import { ApiError, type Client } from '../client/client.ts';
import type { EventRecorder } from '../client/event-recorder.ts';
import { pods } from '../kinds/resources.ts';
import type { PodInfo } from './pod-info.ts';

export interface Report {
  /** `Unschedulable`, or `SchedulerError` when it was not for lack of a node. */
  reason: 'Unschedulable' | 'SchedulerError';
  message: string;
  /** The node that it is promised from now on, or none any more; unchanged when absent. */
  nominate?: string | undefined;
}

interface Reporting {
  client: Client;
  recorder: EventRecorder;
  now: () => number;
}

export function timestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

export async function reportFailure(pod: PodInfo, report: Report, { client, recorder, now }: Reporting): Promise<void> {
  const { metadata, status } = pod.pod;
  const { reason, message } = report;
  recorder.record(
    { apiVersion: 'v1', kind: 'Pod', metadata },
    { type: 'Warning', reason: 'FailedScheduling', message },
  );
  const old = status?.conditions?.find(({ type }) => type === 'PodScheduled');
  const isSame = old?.status === 'False' && old.reason === reason && old.message === message;
  const promised = 'nominate' in report && (report.nominate ?? '') !== (status?.nominatedNodeName ?? '');
  if (isSame && !promised) return;
  const condition = {
    type: 'PodScheduled',
    status: 'False',
    reason,
    message,
    lastTransitionTime: old?.status === 'False' && old.lastTransitionTime ? old.lastTransitionTime : timestamp(now()),
  };
  await patchStatus(client, pod, {
    conditions: [condition],
    ...(promised && { nominatedNodeName: report.nominate ?? null }),
  });
}

/** A less important pod is no longer promised its node: it looks for another at once. */
export function withdrawNomination(client: Client, pod: PodInfo): Promise<void> {
  return patchStatus(client, pod, { nominatedNodeName: null });
}

async function patchStatus(client: Client, { name, namespace, uid }: PodInfo, status: object): Promise<void> {
  try {
    await client.patch(
      pods,
      name,
      { type: 'strategic', body: { metadata: { uid }, status } },
      { namespace, subresource: 'status' },
    );
  } catch (error) {
    // It changed or went meanwhile: what is said of it is said again at its next try.
    if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error;
  }
}
