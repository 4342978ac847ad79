/** Brings what informers show into the cluster, the queue and the promises, and tells those that wait. */
import type { Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes as nodeResource, pods as podResource } from '../kinds/resources.ts';
import type { Node, Pod } from '../kinds/types/core.ts';
import { isOver, type PodInfo, podInfo, sameLabels } from './pod-info.ts';
import type { SchedulerState } from './state.ts';

/** Pods of this name are ours. */
export const schedulerName = 'default-scheduler';

type Followed = Pick<SchedulerState, 'cluster' | 'queue' | 'nominations' | 'wake'>;

function isOurs(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && (pod.spec?.schedulerName ?? schedulerName) === schedulerName;
}

/** Nothing else of a pod on a node matters here. */
function countsTheSame(known: PodInfo, now: Stored<Pod>): boolean {
  return (
    known.node?.name === now.spec?.nodeName &&
    known.pod.metadata.deletionTimestamp === now.metadata.deletionTimestamp &&
    sameLabels(known.pod.metadata.labels, now.metadata.labels)
  );
}

export function followPods(state: Followed, informer: Informer<Pod>): void {
  const { cluster, queue, nominations, wake } = state;

  function gone(old: Stored<Pod>): void {
    const { uid } = old.metadata;
    const promised = nominations.nodeOf(uid) !== undefined;
    queue.remove(uid);
    nominations.delete(uid);
    if (cluster.remove(uid) !== undefined || promised) wake(podResource, undefined, old);
  }

  function onNode(now: Stored<Pod>, old: Stored<Pod> | undefined): void {
    const { uid } = now.metadata;
    queue.remove(uid);
    nominations.delete(uid);
    const known = cluster.pod(uid);
    if (known !== undefined && countsTheSame(known, now)) known.pod = now;
    else cluster.place(podInfo(now), now.spec?.nodeName ?? '');
    wake(podResource, now, old?.spec?.nodeName ? old : undefined);
  }

  function unbound(now: Stored<Pod>, old: Stored<Pod> | undefined): void {
    const { uid } = now.metadata;
    // Given a node here, which the informer does not show yet.
    if (cluster.pod(uid) !== undefined) return;
    const nominated = now.status?.nominatedNodeName ?? '';
    const queued = queue.get(uid);
    // Our own note in its status is no reason to try again; a new spec or new labels are.
    const isSame =
      queued !== undefined &&
      old !== undefined &&
      sameLabels(now.metadata.labels, old.metadata.labels) &&
      JSON.stringify(now.spec) === JSON.stringify(old.spec);
    const pod = isSame ? queued.pod : podInfo(now);
    pod.pod = now;
    if (nominated !== (old?.status?.nominatedNodeName ?? '')) {
      if (nominated === '') nominations.delete(uid);
      else nominations.set(pod, nominated);
    }
    if (!isSame) queue.add(pod);
  }

  function onChange(now: Stored<Pod> | undefined, old: Stored<Pod> | undefined): void {
    const before = old !== undefined && (now === undefined || now.metadata.uid === old.metadata.uid) ? old : undefined;
    if (old !== undefined && now !== undefined && before === undefined) gone(old);
    if (now === undefined) {
      if (old !== undefined) gone(old);
    } else if (isOver(now)) gone(now);
    else if (now.spec?.nodeName) onNode(now, before);
    else if (isOurs(now)) unbound(now, before);
    else gone(now);
  }

  informer.onChange(onChange);
  for (const pod of informer.list()) onChange(pod, undefined);
}

export function followNodes({ cluster, wake }: Followed, informer: Informer<Node>): void {
  function onChange(now: Stored<Node> | undefined, old: Stored<Node> | undefined): void {
    if (now !== undefined) cluster.setNode(now);
    else if (old !== undefined) cluster.removeNode(old.metadata.name);
    wake(nodeResource, now, old);
  }
  informer.onChange(onChange);
  for (const node of informer.list()) onChange(node, undefined);
}
