/**
 * Tallies of the pods of a namespace that some rule selects. Those asked for last are kept up to date with every pod that comes
 * or goes: thousands of replicas of one set are spread without counting all of them again for each.
 */
import type { PodInfo } from './pod-info.ts';
import { Tally } from './tally.ts';

export interface SelectedPods {
  /** @param rule  a text that means `selects`, among all the rules for this namespace */
  tally(namespace: string, rule: string, selects: (pod: PodInfo) => boolean): Tally;
  change(pod: PodInfo, by: 1 | -1): void;
  relabel(): void;
}

interface Kept {
  selects: (pod: PodInfo) => boolean;
  tally: Tally;
}

/** Of each namespace. */
const keptLimit = 16;

export function createSelectedPods(podsIn: (namespace: string) => ReadonlySet<PodInfo>): SelectedPods {
  const byNamespace = new Map<string, Map<string, Kept>>();

  function begin(namespace: string, selects: Kept['selects']): Kept {
    const tally = new Tally();
    for (const pod of podsIn(namespace)) if (pod.node && selects(pod)) tally.change(pod.node, 1);
    return { selects, tally };
  }

  return {
    tally(namespace, rule, selects) {
      let rules = byNamespace.get(namespace);
      if (!rules) byNamespace.set(namespace, (rules = new Map()));
      let kept = rules.get(rule);
      if (kept) rules.delete(rule);
      else {
        kept = begin(namespace, selects);
        if (rules.size >= keptLimit) for (const oldest of rules.keys()) if (rules.delete(oldest)) break;
      }
      rules.set(rule, kept);
      return kept.tally;
    },
    change(pod, by) {
      const rules = byNamespace.get(pod.namespace);
      if (rules === undefined) return;
      for (const { selects, tally } of rules.values()) if (pod.node && selects(pod)) tally.change(pod.node, by);
      // A namespace that empties takes its rules along.
      if (by < 0 && podsIn(pod.namespace).size <= 1) byNamespace.delete(pod.namespace);
    },
    relabel() {
      for (const rules of byNamespace.values()) for (const { tally } of rules.values()) tally.relabel();
    },
  };
}
