/** Which of the nodes that fit is best: each plugin gives 0 to 100, times its weight; of equals, any. */
import type { Cluster } from './cluster.ts';
import type { NodeInfo } from './node-info.ts';
import type { Plugin } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

/** The sum of every plugin's weighted scores, in the order of the nodes. */
export function scoreNodes(
  plugins: readonly Plugin[],
  pod: PodInfo,
  { cluster, nodes }: { cluster: Cluster; nodes: readonly NodeInfo[] },
): Float64Array {
  const sums = new Float64Array(nodes.length);
  const scores = new Float64Array(nodes.length);
  for (const plugin of plugins) {
    const answer = plugin.score?.(pod, cluster, nodes);
    if (answer === undefined) continue;
    for (let at = 0; at < nodes.length; at++) scores[at] = answer.score(nodes[at] as NodeInfo);
    answer.normalize?.(scores);
    const weight = plugin.weight ?? 1;
    for (let at = 0; at < nodes.length; at++) sums[at] = (sums[at] ?? 0) + weight * (scores[at] ?? 0);
  }
  return sums;
}

export function pickNode(
  plugins: readonly Plugin[],
  pod: PodInfo,
  where: { cluster: Cluster; nodes: readonly NodeInfo[] },
): NodeInfo | undefined {
  const { nodes } = where;
  if (nodes.length <= 1) return nodes[0];
  const sums = scoreNodes(plugins, pod, where);
  let best = 0;
  let equals = 1;
  for (let at = 1; at < sums.length; at++) {
    const [score, bestScore] = [sums[at] ?? 0, sums[best] ?? 0];
    if (score > bestScore) [best, equals] = [at, 1];
    else if (score === bestScore && Math.random() * ++equals < 1) best = at;
  }
  return nodes[best];
}
