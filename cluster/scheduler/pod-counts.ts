/**
 * How many pods of a namespace a selector matches on each node. The counts asked for last are kept up to date with every
 * pod that comes or goes: thousands of replicas of one set are spread without counting all of them again for each.
 */
import { matchesLabels, type Requirement } from '../kinds/selector.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';

export interface PodCounts {
  of(namespace: string, selector: Requirement[]): ReadonlyMap<NodeInfo, number>;
  add(pod: PodInfo): void;
  remove(pod: PodInfo): void;
}

interface Kept {
  selector: Requirement[];
  nodes: Map<NodeInfo, number>;
}

/** Of each namespace. */
const keptLimit = 16;

export function createPodCounts(podsIn: (namespace: string) => ReadonlySet<PodInfo>): PodCounts {
  const byNamespace = new Map<string, Map<string, Kept>>();

  function count(kept: Kept, pod: PodInfo, change: 1 | -1): void {
    if (!pod.node || pod.pod.metadata.deletionTimestamp !== undefined || !matchesLabels(kept.selector, pod.labels))
      return;
    const value = (kept.nodes.get(pod.node) ?? 0) + change;
    if (value > 0) kept.nodes.set(pod.node, value);
    else kept.nodes.delete(pod.node);
  }

  function change(pod: PodInfo, by: 1 | -1): void {
    for (const kept of byNamespace.get(pod.namespace)?.values() ?? []) count(kept, pod, by);
  }

  return {
    of(namespace, selector) {
      let keyed = byNamespace.get(namespace);
      if (!keyed) byNamespace.set(namespace, (keyed = new Map()));
      const key = JSON.stringify(selector);
      let kept = keyed.get(key);
      if (kept) keyed.delete(key);
      else {
        kept = { selector, nodes: new Map() };
        for (const pod of podsIn(namespace)) count(kept, pod, 1);
        if (keyed.size >= keptLimit) for (const oldest of keyed.keys()) if (keyed.delete(oldest)) break;
      }
      keyed.set(key, kept);
      return kept.nodes;
    },
    add: (pod) => change(pod, 1),
    remove(pod) {
      change(pod, -1);
      // A namespace that empties takes its counts along.
      if (podsIn(pod.namespace).size <= 1) byNamespace.delete(pod.namespace);
    },
  };
}
