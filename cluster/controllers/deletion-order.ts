import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import { readySince } from './objects.ts';

const phaseRank = new Map([
  ['Pending', 0],
  ['Unknown', 1],
  ['Running', 2],
]);

function deletionCost(pod: Pod): number {
  const value = Number(pod.metadata.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0);
  return Number.isInteger(value) ? value : 0;
}

function restarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((container) => container.restartCount));
}

/**
 * Which pods a ReplicaSet gives up first (Kubernetes, "ReplicaSet: Scaling a ReplicaSet"): not scheduled, not running,
 * not ready, of lower deletion cost, on a node with more of them, ready for a shorter time, restarted more, younger.
 */
export function inDeletionOrder(pods: Stored<Pod>[]): Stored<Pod>[] {
  const onNode = new Map<string, number>();
  for (const { spec } of pods) if (spec?.nodeName) onNode.set(spec.nodeName, (onNode.get(spec.nodeName) ?? 0) + 1);
  const rank = (pod: Stored<Pod>): number[] => {
    const since = readySince(pod);
    return [
      pod.spec?.nodeName ? 1 : 0,
      phaseRank.get(pod.status?.phase ?? 'Pending') ?? 1,
      since === undefined ? 0 : 1,
      deletionCost(pod),
      -(onNode.get(pod.spec?.nodeName ?? '') ?? 0),
      -(since ?? 0),
      -restarts(pod),
      -Date.parse(pod.metadata.creationTimestamp),
    ];
  };
  return pods
    .map((pod) => ({ pod, rank: rank(pod) }))
    .sort((a, b) => {
      for (const [index, value] of a.rank.entries()) {
        const difference = value - (b.rank[index] ?? 0);
        if (difference !== 0) return difference;
      }
      return a.pod.metadata.name < b.pod.metadata.name ? -1 : 1;
    })
    .map(({ pod }) => pod);
}
