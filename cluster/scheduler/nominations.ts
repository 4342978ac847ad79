/**
 * Pods that were promised a node on which others still have to go ("Pod Priority and Preemption", nominated node). Whoever is
 * less important must leave them their room; nothing is guaranteed, and they may go elsewhere.
 */
import type { PodInfo } from './pod-info.ts';

export interface Nominations {
  set(pod: PodInfo, node: string): void;
  delete(uid: string): void;
  nodeOf(uid: string): string | undefined;
  /** Those promised to the node. */
  on(node: string): Iterable<PodInfo>;
  readonly size: number;
}

const nobody: readonly PodInfo[] = [];

export function createNominations(): Nominations {
  const byNode = new Map<string, Map<string, PodInfo>>();
  const nodes = new Map<string, string>();

  function remove(uid: string): void {
    const node = nodes.get(uid);
    if (node === undefined) return;
    nodes.delete(uid);
    const pods = byNode.get(node);
    pods?.delete(uid);
    if (pods?.size === 0) byNode.delete(node);
  }

  return {
    set(pod, node) {
      remove(pod.uid);
      nodes.set(pod.uid, node);
      const pods = byNode.get(node);
      if (pods) pods.set(pod.uid, pod);
      else byNode.set(node, new Map([[pod.uid, pod]]));
    },
    delete: remove,
    nodeOf: (uid) => nodes.get(uid),
    on: (node) => byNode.get(node)?.values() ?? nobody,
    get size() {
      return nodes.size;
    },
  };
}
