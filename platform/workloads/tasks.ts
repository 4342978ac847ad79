/**
 * Runs tasks: one pod for each, made once. What it came to is written on the task before the pod goes, so that a task is
 * never run twice; a pod that went by itself (its node was lost, somebody deleted it) is a task that failed.
 */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { appStatus } from '../resources/instances.ts';
import { pods } from '../resources/kubernetes.ts';
import { type App, apps, type Droplet, droplets, labels, type Task, tasks } from '../resources/types.ts';
import { describeEnd } from './lifecycle-events.ts';
import { byGuid } from './reading.ts';
import { placeOf } from './replica-sets.ts';
import { readKeptServices } from './kept-services.ts';
import { taskPod } from './task-pod.ts';
import type { WorkloadContext } from './workloads.ts';

/** After its end a pod is kept for as long as readers of its log may need to come to the end. */
const LINGER_MILLISECONDS = 15_000;

export function hasEnded(task: Stored<Task>): boolean {
  return task.status?.state === 'SUCCEEDED' || task.status?.state === 'FAILED';
}

/** Gives the milliseconds after which to look again, when time alone may change something. */
export async function reconcileTask(context: WorkloadContext, guid: string): Promise<number | undefined> {
  const { informers } = context;
  const task = byGuid<Task>(informers, tasks, guid);
  // What a deleted task had is collected by its owner references.
  if (!task || task.metadata.deletionTimestamp !== undefined) return undefined;
  const pod = informers.taskPods.list().find((candidate) => candidate.metadata.labels?.[labels.task] === guid);
  if (hasEnded(task)) return pod && removeLater(context, task, pod);
  const app = byGuid<App>(informers, apps, task.spec.app);
  if (!app || app.metadata.deletionTimestamp !== undefined) return undefined;
  if (!pod) return begin(context, app, task);
  const end = endOf(pod);
  if (end) await finish(context, task, task.spec.cancelled ? CANCELLED : end);
  else if (task.spec.cancelled) await removePod(context, pod);
  else if (isRunning(pod) && task.status?.state !== 'RUNNING') await writeStatus(context, task, { state: 'RUNNING' });
  return undefined;
}

type End = { state: 'SUCCEEDED' } | { state: 'FAILED'; failureReason: string };

const CANCELLED: End = { state: 'FAILED', failureReason: 'task was cancelled' };

async function begin(context: WorkloadContext, app: Stored<App>, task: Stored<Task>): Promise<undefined> {
  if (task.spec.cancelled) return finish(context, task, CANCELLED);
  if (task.status?.state === 'RUNNING') return finish(context, task, failed('its instance was lost'));
  const droplet = byGuid<Droplet>(context.informers, droplets, task.spec.droplet);
  const place = placeOf(context, app);
  if (!droplet) return finish(context, task, failed('its droplet was deleted'));
  if (!place) return undefined;
  const services = await readKeptServices(context, task);
  try {
    await context.informers.client.create(pods, taskPod({ app, task, droplet, services, ...place }));
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
  return undefined;
}

function failed(failureReason: string): End {
  return { state: 'FAILED', failureReason };
}

function isRunning(pod: Pod): boolean {
  return appStatus(pod)?.state?.running !== undefined;
}

function endOf(pod: Stored<Pod>): End | undefined {
  const { phase, reason, message } = pod.status ?? {};
  if (phase === 'Succeeded') return { state: 'SUCCEEDED' };
  const status = appStatus(pod);
  const ended = status?.state?.terminated;
  if (phase === 'Failed')
    return failed(ended ? describeEnd(ended).description : (message ?? reason ?? 'it was evicted'));
  // It would wait for ever: there is no image, or the node refuses it.
  const waiting = status?.state?.waiting;
  if (waiting?.reason === 'ImagePullBackOff' || waiting?.reason === 'InvalidImageName') {
    return failed(waiting.message ?? waiting.reason);
  }
  return undefined;
}

async function finish(context: WorkloadContext, task: Stored<Task>, end: End): Promise<undefined> {
  await writeStatus(context, task, { ...end, finishedAt: new Date(context.now()).toISOString() });
  return undefined;
}

async function writeStatus(
  context: WorkloadContext,
  task: Stored<Task>,
  status: NonNullable<Task['status']>,
): Promise<void> {
  await context.informers.client.updateStatus(tasks, { ...task, status });
}

async function removeLater(
  context: WorkloadContext,
  task: Stored<Task>,
  pod: Stored<Pod>,
): Promise<number | undefined> {
  const left = Date.parse(task.status?.finishedAt ?? '') + LINGER_MILLISECONDS - context.now();
  if (left > 0) return left;
  await removePod(context, pod);
  return undefined;
}

async function removePod(context: WorkloadContext, pod: Stored<Pod>): Promise<void> {
  if (pod.metadata.deletionTimestamp !== undefined) return;
  const { name, uid, namespace = '' } = pod.metadata;
  try {
    await context.informers.client.delete(pods, name, { namespace, preconditions: { uid } });
  } catch (error) {
    if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}
