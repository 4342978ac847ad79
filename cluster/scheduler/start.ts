/** The scheduler: gives every pod that has none a node, as soon as the pod or the node appears. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder } from '../client/event-recorder.ts';
import { sharedInformer } from '../client/shared-informer.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes as nodeResource, pods as podResource } from '../kinds/resources.ts';
import type { Node, Pod } from '../kinds/types/core.ts';
import { describeReasons, reasonsAgainst } from './filter.ts';
import { createNodes, type NodeState } from './nodes.ts';
import { createPodQueue, type QueuedPod } from './pod-queue.ts';
import { podUsage, type PodUsage } from './resources.ts';
import { pickNode } from './score.ts';

export interface SchedulerOptions {
  client: Client;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** Binds under way at once. */
const bindLimit = 64;
/** Of many nodes that would do, so many are enough to choose from. */
const enoughNodes = 100;
/** The thread is given to others after so long. */
const turnMilliseconds = 4;
const ours = 'default-scheduler';

function keyOf({ metadata }: Stored<Pod>): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function isOver(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

function isWaiting(pod: Pod): boolean {
  return (
    !pod.spec?.nodeName &&
    pod.metadata.deletionTimestamp === undefined &&
    (pod.spec?.schedulerName ?? ours) === ours &&
    (pod.spec?.schedulingGates?.length ?? 0) === 0 &&
    !isOver(pod)
  );
}

/** Did anything change that decides where pods may run? Heartbeats do not. */
function nodeChanged(now: Stored<Node>, old: Stored<Node> | undefined): boolean {
  const relevant = (node: Stored<Node>): string =>
    JSON.stringify([
      node.spec?.unschedulable,
      node.spec?.taints,
      node.metadata.labels,
      node.status?.allocatable,
      node.status?.conditions?.find(({ type }) => type === 'Ready')?.status,
    ]);
  return !old || relevant(now) !== relevant(old);
}

export async function startScheduler({ client, signal, log }: SchedulerOptions): Promise<{ close(): Promise<void> }> {
  const onError = (error: unknown): void =>
    log('warn', `scheduler: ${error instanceof Error ? error.message : String(error)}`);
  const pods: Informer<Pod> = sharedInformer(client, podResource, {}, onError);
  const nodeInformer: Informer<Node> = sharedInformer(client, nodeResource, {}, onError);
  const recorder = createEventRecorder({ client, component: ours, onError });
  const nodes = createNodes();
  /** Pods that were given a node here, though the informer does not show it yet. */
  const assumed = new Map<string, string>();
  const jobs = new Set<Promise<void>>();
  let binding = 0;
  let scheduled = false;
  let closed = false;
  let startAt = 0;
  const queue = createPodQueue(schedule);

  function schedule(): void {
    if (scheduled || closed) return;
    scheduled = true;
    setImmediate(turn);
  }

  function turn(): void {
    scheduled = false;
    const end = performance.now() + turnMilliseconds;
    while (!closed && binding < bindLimit) {
      if (performance.now() > end) {
        schedule();
        return;
      }
      const queued = queue.next();
      if (!queued) return;
      const slash = queued.key.indexOf('/');
      const pod = pods.get(queued.key.slice(slash + 1), queued.key.slice(0, slash));
      if (pod && pod.metadata.uid === queued.uid && isWaiting(pod) && !assumed.has(queued.uid)) tryPod(queued, pod);
    }
  }

  /** Looks at nodes in turn, beginning where the last search ended, until there are enough to choose from. */
  function findNodes(pod: Stored<Pod>, usage: PodUsage): { fitting: NodeState[]; reasons: Map<string, number> } {
    const all = nodes.all();
    const fitting: NodeState[] = [];
    const reasons = new Map<string, number>();
    for (let index = 0; index < all.length; index++) {
      const node = all[(startAt + index) % all.length];
      if (!node) continue;
      const against = reasonsAgainst(pod, usage, node);
      if (against.length === 0) {
        fitting.push(node);
        if (fitting.length >= enoughNodes) {
          startAt = (startAt + index + 1) % all.length;
          break;
        }
      }
      for (const reason of against) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    return { fitting, reasons };
  }

  function tryPod(queued: QueuedPod, pod: Stored<Pod>): void {
    const usage = podUsage(pod);
    const { fitting, reasons } = findNodes(pod, usage);
    const chosen = pickNode(pod, usage, fitting);
    if (!chosen) {
      queue.failed(queued, false);
      track(reportUnschedulable(pod, describeReasons(nodes.all().length, reasons)));
      return;
    }
    assumed.set(queued.uid, chosen.name);
    nodes.place(queued.uid, chosen.name, usage);
    binding++;
    track(bind(queued, pod, chosen.name));
  }

  function track(job: Promise<void>): void {
    jobs.add(job);
    job.catch(onError).finally(() => jobs.delete(job));
  }

  async function bind(queued: QueuedPod, pod: Stored<Pod>, node: string): Promise<void> {
    const { name, namespace = '', uid } = pod.metadata;
    try {
      await client.bind({ name, namespace, uid }, node);
      queue.remove(queued.key);
      recorder.record(
        { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata },
        { type: 'Normal', reason: 'Scheduled', message: `Successfully assigned ${queued.key} to ${node}` },
      );
    } catch (error) {
      assumed.delete(uid);
      // Bound meanwhile, perhaps by another: the informer will show where it counts.
      const shown = pods.get(name, namespace);
      if (shown?.metadata.uid === uid && shown.spec?.nodeName) nodes.place(uid, shown.spec.nodeName, podUsage(shown));
      else nodes.remove(uid);
      const gone = error instanceof ApiError && (error.code === 404 || error.code === 409);
      queue.failed(queued, true);
      if (!gone) throw new Error(`binding ${queued.key} to ${node} failed`, { cause: error });
    } finally {
      binding--;
      schedule();
    }
  }

  async function reportUnschedulable(pod: Stored<Pod>, message: string): Promise<void> {
    const old = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
    recorder.record(
      { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata },
      { type: 'Warning', reason: 'FailedScheduling', message },
    );
    if (old?.status === 'False' && old.reason === 'Unschedulable' && old.message === message) return;
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastTransitionTime:
        old?.status === 'False' ? (old.lastTransitionTime ?? '') : `${new Date().toISOString().slice(0, 19)}Z`,
    };
    const conditions = [...(pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled'), condition];
    try {
      await client.updateStatus(podResource, { ...pod, status: { ...pod.status, conditions } });
    } catch (error) {
      // It changed or went meanwhile: what is said of it is said again at its next try.
      if (!(error instanceof ApiError && (error.code === 404 || error.code === 409))) throw error;
    }
  }

  function onPod(now: Stored<Pod> | undefined, old: Stored<Pod> | undefined): void {
    if (old && (!now || now.metadata.uid !== old.metadata.uid)) {
      queue.remove(keyOf(old));
      assumed.delete(old.metadata.uid);
      if (nodes.remove(old.metadata.uid)) queue.wakeAll();
    }
    if (!now) return;
    const { uid } = now.metadata;
    if (isOver(now)) {
      assumed.delete(uid);
      queue.remove(keyOf(now));
      if (nodes.remove(uid)) queue.wakeAll();
    } else if (now.spec?.nodeName) {
      assumed.delete(uid);
      queue.remove(keyOf(now));
      nodes.place(uid, now.spec.nodeName, podUsage(now));
    } else if (!isWaiting(now)) {
      queue.remove(keyOf(now));
    } else if (!assumed.has(uid)) {
      // Our own note in its status is no reason to try again; a new spec or new labels are.
      const same =
        old?.metadata.uid === uid &&
        isWaiting(old) &&
        queue.has(keyOf(now)) &&
        old.metadata.generation === now.metadata.generation &&
        JSON.stringify(old.spec) === JSON.stringify(now.spec);
      if (!same) queue.add(keyOf(now), uid, now.spec?.priority ?? 0);
    }
  }

  nodeInformer.onChange((now, old) => {
    if (!now) {
      if (old) nodes.removeNode(old.metadata.name);
      return;
    }
    nodes.setNode(now);
    if (nodeChanged(now, old)) queue.wakeAll();
  });
  // Nodes first: a pod that is tried before they are known would be called unschedulable.
  await nodeInformer.synced;
  for (const node of nodeInformer.list()) nodes.setNode(node);
  pods.onChange(onPod);
  for (const pod of pods.list()) onPod(pod, undefined);
  await pods.synced;

  async function close(): Promise<void> {
    if (closed) return;
    closed = true;
    queue.close();
    pods.close();
    nodeInformer.close();
    await Promise.allSettled(jobs);
    await recorder.flush();
  }
  signal.addEventListener('abort', () => void close(), { once: true });
  return { close };
}
