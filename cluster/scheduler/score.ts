import type { Pod } from '../kinds/types/core.ts';
import { matchesTerm } from './filter.ts';
import type { NodeState } from './nodes.ts';
import type { PodUsage } from './resources.ts';

/** Pods of one owner are spread before load is evened out. */
const spreadWeight = 2;

function free(allocatable: number | undefined, used: number): number {
  return allocatable ? Math.max(0, (allocatable - used) / allocatable) : 0;
}

/** 0 to 100: how empty the node would be. */
function leastAllocated(usage: PodUsage, node: NodeState): number {
  const cpu = free(node.allocatable.get('cpu'), node.scoreCpu + usage.scoreCpu);
  const memory = free(node.allocatable.get('memory'), node.scoreMemory + usage.scoreMemory);
  return (cpu + memory) * 50;
}

function preference(pod: Pod, node: NodeState): number {
  const terms = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.reduce((sum, { weight, preference: term }) => sum + (matchesTerm(term, node) ? weight : 0), 0);
}

/** The best of the nodes; of equals, any. */
export function pickNode(pod: Pod, usage: PodUsage, nodes: NodeState[]): NodeState | undefined {
  if (nodes.length === 1) return nodes[0];
  const together = (node: NodeState): number => (usage.owner === undefined ? 0 : (node.owners.get(usage.owner) ?? 0));
  const most = Math.max(1, ...nodes.map(together));
  let best: NodeState | undefined;
  let bestScore = Number.NEGATIVE_INFINITY;
  let equals = 0;
  for (const node of nodes) {
    const spread = (1 - together(node) / most) * 100;
    const score = leastAllocated(usage, node) + spreadWeight * spread + preference(pod, node);
    if (score > bestScore) {
      best = node;
      bestScore = score;
      equals = 1;
    } else if (score === bestScore && Math.random() * ++equals < 1) {
      best = node;
    }
  }
  return best;
}
