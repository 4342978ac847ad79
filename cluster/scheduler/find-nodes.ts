/** Which nodes can take a pod; of a large cluster, enough of them to choose from. */
import type { Cluster } from './cluster.ts';
import type { FilterCycle } from './filter-cycle.ts';
import type { NodeInfo } from './node-info.ts';
import { type Rejection, unresolvable } from './plugin.ts';

/** Why nothing was found. */
export interface Diagnosis {
  /** What said no: a change that helps one of these may help the pod. */
  plugins: Set<string>;
  /** Of each node that was asked. */
  rejections: Map<NodeInfo, Rejection>;
  /** Of those that were not, because only some could do. */
  absent?: Rejection;
  /** No node was asked: this holds for all of them. */
  everywhere?: Rejection;
}

export interface Found {
  fitting: NodeInfo[];
  diagnosis: Diagnosis;
}

const leastNodes = 100;
const leastPercentage = 5;

/**
 * kube-scheduler's rule ("Scheduler Performance Tuning"): of at most 100 nodes all; of more a share, which shrinks from 50 %
 * by one for every 125 nodes to 5 %, and never fewer than 100.
 * @param percentage  0: by that rule
 */
export function enoughNodes(nodeCount: number, percentage = 0): number {
  if (nodeCount < leastNodes || percentage >= 100) return nodeCount;
  const share = percentage > 0 ? percentage : Math.max(leastPercentage, 50 - Math.trunc(nodeCount / 125));
  return Math.max(leastNodes, Math.trunc((nodeCount * share) / 100));
}

export interface Search {
  find(cycle: FilterCycle): Found;
}

/** Looks at nodes in turn: each search begins where the last one ended. */
export function createSearch(cluster: Cluster, percentage = 0): Search {
  let startAt = 0;

  function candidates({ only }: FilterCycle): readonly NodeInfo[] {
    if (only === undefined) return cluster.nodes();
    return [...only].flatMap((name) => cluster.node(name) ?? []);
  }

  return {
    find(cycle) {
      const nodes = candidates(cycle);
      const enough = enoughNodes(nodes.length, percentage);
      const diagnosis: Diagnosis = { plugins: new Set(), rejections: new Map() };
      const fitting: NodeInfo[] = [];
      const offset = nodes.length === 0 ? 0 : startAt % nodes.length;
      let asked = 0;
      while (asked < nodes.length && fitting.length < enough) {
        const at = offset + asked++;
        const node = nodes[at < nodes.length ? at : at - nodes.length];
        if (node === undefined) continue;
        const refusal = cycle.check(node);
        if (refusal === undefined) fitting.push(node);
        else {
          diagnosis.plugins.add(refusal.plugin);
          diagnosis.rejections.set(node, refusal.rejection);
        }
      }
      if (cycle.only === undefined) startAt = offset + asked;
      else {
        for (const plugin of cycle.onlyBy) diagnosis.plugins.add(plugin);
        diagnosis.absent = unresolvable(`node(s) didn't satisfy plugin(s) [${cycle.onlyBy.join(' ')}]`);
      }
      return { fitting, diagnosis };
    },
  };
}
