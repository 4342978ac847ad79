/** Sends away the pods that make room for another one. */
import { ApiError, type Client } from '../client/client.ts';
import type { EventRecorder } from '../client/event-recorder.ts';
import { pods } from '../kinds/resources.ts';
import type { PodInfo } from './pod-info.ts';
import { preemptedReason } from './preemption.ts';
import { timestamp } from './report.ts';
import type { Victims } from './victims.ts';

interface Eviction {
  client: Client;
  recorder: EventRecorder;
  now: () => number;
}

/** Gracefully, each marked with why before it goes. One that is gone already is no failure. */
export async function evictVictims(victims: Victims, forPod: PodInfo, eviction: Eviction): Promise<void> {
  const staying = victims.pods.filter(({ pod }) => pod.metadata.deletionTimestamp === undefined);
  const done = await Promise.allSettled(staying.map((victim) => evictOne(victim, victims.node.name, forPod, eviction)));
  const failed = done.find((result) => result.status === 'rejected');
  if (failed) throw new Error(`making room for ${forPod.key} on ${victims.node.name} failed`, { cause: failed.reason });
}

async function evictOne(
  { pod, name, namespace, uid }: PodInfo,
  node: string,
  forPod: PodInfo,
  { client, recorder, now }: Eviction,
): Promise<void> {
  const condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: preemptedReason,
    message: `${forPod.pod.spec?.schedulerName ?? 'default-scheduler'}: preempting to accommodate a higher priority pod`,
    lastTransitionTime: timestamp(now()),
  };
  try {
    await client.patch(
      pods,
      name,
      { type: 'strategic', body: { metadata: { uid }, status: { conditions: [condition] } } },
      { namespace, subresource: 'status' },
    );
    await client.delete(pods, name, { namespace, preconditions: { uid } });
  } catch (error) {
    // Gone, or another pod has its name.
    if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return;
    throw error;
  }
  recorder.record(
    { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata },
    { type: 'Normal', reason: 'Preempted', message: `Preempted by pod ${forPod.uid} on node ${node}` },
  );
}
