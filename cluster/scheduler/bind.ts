/** From the choice of a node to the pod that is bound to it, or back to the queue. */
import { ApiError } from '../client/client.ts';
import { pods } from '../kinds/resources.ts';
import type { NodeInfo } from './node-info.ts';
import { type PodInfo, podInfo } from './pod-info.ts';
import type { QueuedPod } from './pod-queue.ts';
import { reportFailure } from './report.ts';
import type { SchedulerState } from './state.ts';

/**
 * Counts the pod on the node at once, so that the next pod sees it there, and binds it while others are scheduled. Whatever
 * fails is undone: the node counts it no more, and who waits for room is told.
 */
export function assumeAndBind(state: SchedulerState, queued: QueuedPod, node: NodeInfo): void {
  const { pod } = queued;
  state.cluster.place(pod, node.name);
  state.batches.placed();
  state.nominations.delete(pod.uid);
  try {
    for (const plugin of state.plugins) plugin.reserve?.(pod, node);
  } catch (error) {
    undo(state, queued, node);
    state.track(reportFailure(pod, { reason: 'SchedulerError', message: messageOf(error) }, state));
    return;
  }
  state.track(bind(state, queued, node));
}

async function bind(state: SchedulerState, queued: QueuedPod, node: NodeInfo): Promise<void> {
  const { recorder, queue } = state;
  const { pod } = queued;
  try {
    for (const plugin of state.plugins) if (plugin.preBind) await plugin.preBind(pod, node, state.signal);
    await bindNow(state, pod, node.name);
    if (queue.get(pod.uid) === queued) queue.remove(pod.uid);
    recorder.record(
      { apiVersion: 'v1', kind: 'Pod', metadata: pod.pod.metadata },
      { type: 'Normal', reason: 'Scheduled', message: `Successfully assigned ${pod.key} to ${node.name}` },
    );
  } catch (error) {
    undo(state, queued, node);
    // Bound or gone meanwhile: the informer shows it.
    if (state.signal.aborted || (error instanceof ApiError && (error.code === 404 || error.code === 409))) return;
    await reportFailure(pod, { reason: 'SchedulerError', message: messageOf(error) }, state);
    throw new Error(`binding ${pod.key} to ${node.name} failed`, { cause: error });
  }
}

async function bindNow(state: SchedulerState, { name, namespace, uid }: PodInfo, node: string): Promise<void> {
  state.binding++;
  try {
    await state.client.bind({ name, namespace, uid }, node);
  } finally {
    state.binding--;
    state.schedule();
  }
}

function undo(state: SchedulerState, queued: QueuedPod, node: NodeInfo): void {
  const { pod } = queued;
  for (const plugin of state.plugins.toReversed()) plugin.unreserve?.(pod, node);
  // Unless the informer knows better by now.
  if (state.cluster.pod(pod.uid) === pod) state.cluster.remove(pod.uid);
  // It may have changed while it was under way.
  const shown = state.pods.get(pod.name, pod.namespace);
  if (shown?.metadata.uid === pod.uid) queued.pod = podInfo(shown);
  if (queued.place === 'tried' && shown?.status?.nominatedNodeName)
    state.nominations.set(queued.pod, shown.status.nominatedNodeName);
  state.queue.failed(queued);
  state.wake(pods, undefined, pod.pod);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
