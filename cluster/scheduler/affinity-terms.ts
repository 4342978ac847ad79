/**
 * What pods on nodes say of others: their terms of affinity, each once however many pods say it, with where those are. Replicas
 * say the same: a pod that comes is held against each term, not against each pod.
 */
import type { AffinityTerm, PodInfo } from './pod-info.ts';
import { Tally } from './tally.ts';

const kinds = ['affinity', 'antiAffinity', 'preferredAffinity', 'preferredAntiAffinity'] as const;
export type TermKind = (typeof kinds)[number];

export interface SaidTerm {
  term: AffinityTerm;
  /** Those who say it. */
  tally: Tally;
}

export interface AffinityTerms {
  of(kind: TermKind): Iterable<SaidTerm>;
  change(pod: PodInfo, by: 1 | -1): void;
  relabel(): void;
}

export function createAffinityTerms(): AffinityTerms {
  const said: Record<TermKind, Map<string, SaidTerm>> = {
    affinity: new Map(),
    antiAffinity: new Map(),
    preferredAffinity: new Map(),
    preferredAntiAffinity: new Map(),
  };
  return {
    of: (kind) => said[kind].values(),
    change(pod, by) {
      if (!pod.node) return;
      for (const kind of kinds) {
        for (const term of pod[kind]) {
          const text = `${term.weight} ${term.text}`;
          let one = said[kind].get(text);
          if (!one) said[kind].set(text, (one = { term, tally: new Tally() }));
          one.tally.change(pod.node, by);
          if (one.tally.isEmpty) said[kind].delete(text);
        }
      }
    },
    relabel() {
      for (const kind of kinds) for (const { tally } of said[kind].values()) tally.relabel();
    },
  };
}
