/**
 * Pods that are alike come in crowds: the replicas of a set. The nodes found and scored for one of them hold for the next, but
 * for the node that the one was given: only that one is asked again. So many pods cost one search, and get what they would have
 * got one by one, as long as nothing else changed meanwhile and every plugin with an opinion says what its answers depend on
 * (`likeness`). Scores that depend on more than the node are asked for again, of the nodes found.
 */
import type { Cluster } from './cluster.ts';
import type { FilterCycle } from './filter-cycle.ts';
import type { Diagnosis } from './find-nodes.ts';
import type { NodeInfo } from './node-info.ts';
import { type AskedScore, askScores, pickGreatest, rawScores, scoreAll, sumScores } from './rank.ts';
import type { Plugin } from './plugin.ts';

export interface Batches {
  /** A node for the pod by an earlier search, or undefined where that does not hold for it. */
  next(cycle: FilterCycle): NodeInfo | undefined;
  /** Why a pod that is like this one fitted nowhere, where nothing changed since. */
  hopeless(cycle: FilterCycle): Diagnosis | undefined;
  /** A search found nothing. */
  foundNothing(cycle: FilterCycle, diagnosis: Diagnosis): void;
  /** The best of the nodes that a search found. Those are kept for pods that are like this one. */
  choose(cycle: FilterCycle, fitting: NodeInfo[]): NodeInfo | undefined;
  /** The pod counts on the node that was chosen for it: what is kept goes on to hold. Without a choice before it, nothing happens. */
  placed(): void;
}

interface Batch {
  likeness: string;
  scoreLikeness: string;
  /** Of the cluster, after the last of these pods was placed. */
  version: number;
  nodes: NodeInfo[];
  raw: Float64Array[];
  chosen: number;
  /** It was chosen just now, and the pod does not count there yet. */
  awaited: boolean;
  /** How many more pods: then others of the cluster's nodes have their turn. */
  left: number;
}

/** Of the nodes found, this share gets a pod before other nodes are looked for. */
const share = 5;

function likenessOf(asked: readonly AskedScore[]): string | undefined {
  let text = '';
  for (const { plugin, answer } of asked) {
    if (answer.likeness === undefined) return undefined;
    text += `${plugin}:${answer.likeness};`;
  }
  return text;
}

export function createBatches(plugins: readonly Plugin[], cluster: Cluster): Batches {
  let batch: Batch | undefined;
  let nothing: { likeness: string; version: number; diagnosis: Diagnosis } | undefined;

  /** Brings what is kept up to date with the pod that the chosen node got; it may be full now. */
  function refresh(current: Batch, cycle: FilterCycle, asked: AskedScore[]): void {
    const { nodes, chosen } = current;
    const node = nodes[chosen] as NodeInfo;
    if (cycle.check(node) !== undefined) {
      nodes[chosen] = nodes.at(-1) as NodeInfo;
      nodes.pop();
      current.raw = current.raw.map((scores) => {
        scores[chosen] = scores.at(-1) as number;
        return scores.subarray(0, nodes.length);
      });
    } else
      for (const [index, { answer }] of asked.entries())
        (current.raw[index] as Float64Array)[chosen] = answer.score(node);
    for (const [index, { answer }] of asked.entries())
      if (answer.isVolatile) scoreAll(answer, nodes, current.raw[index] as Float64Array);
  }

  return {
    next(cycle) {
      const current = batch;
      if (current === undefined || current.version !== cluster.version || current.left === 0) return undefined;
      if (cycle.likeness === undefined || cycle.likeness !== current.likeness) return undefined;
      const asked = askScores(plugins, cycle.pod, { cluster, nodes: current.nodes });
      if (likenessOf(asked) !== current.scoreLikeness) return undefined;
      refresh(current, cycle, asked);
      if (current.nodes.length === 0) return undefined;
      current.left--;
      current.awaited = true;
      current.chosen = pickGreatest(sumScores(asked, current.raw, current.nodes.length));
      return current.nodes[current.chosen];
    },
    hopeless({ likeness }) {
      const holds = nothing !== undefined && nothing.likeness === likeness && nothing.version === cluster.version;
      return holds ? nothing?.diagnosis : undefined;
    },
    foundNothing({ likeness }, diagnosis) {
      nothing = likeness === undefined ? undefined : { likeness, version: cluster.version, diagnosis };
    },
    choose(cycle, fitting) {
      batch = undefined;
      if (fitting.length <= 1) return fitting[0];
      const asked = askScores(plugins, cycle.pod, { cluster, nodes: fitting });
      const raw = rawScores(asked, fitting);
      const chosen = pickGreatest(sumScores(asked, raw, fitting.length));
      const scoreLikeness = likenessOf(asked);
      if (cycle.likeness !== undefined && scoreLikeness !== undefined) {
        const left = Math.trunc(fitting.length / share);
        const { likeness } = cycle;
        batch = { likeness, scoreLikeness, version: -1, nodes: fitting, raw, chosen, awaited: true, left };
      }
      return fitting[chosen];
    },
    placed() {
      if (batch === undefined || !batch.awaited) return;
      batch.awaited = false;
      batch.version = cluster.version;
    },
  };
}
