/** Which of the nodes that fit is best: each plugin gives 0 to 100, times its weight; of equals, any. */
import type { Cluster } from './cluster.ts';
import type { NodeInfo } from './node-info.ts';
import type { Plugin, PodScore } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

/** A plugin with an opinion about the pod. */
export interface AskedScore {
  plugin: string;
  weight: number;
  answer: PodScore;
}

export function askScores(
  plugins: readonly Plugin[],
  pod: PodInfo,
  { cluster, nodes }: { cluster: Cluster; nodes: readonly NodeInfo[] },
): AskedScore[] {
  const asked: AskedScore[] = [];
  for (const plugin of plugins) {
    const answer = plugin.score?.(pod, cluster, nodes);
    if (answer !== undefined) asked.push({ plugin: plugin.name, weight: plugin.weight ?? 1, answer });
  }
  return asked;
}

/** Of each plugin, in the order of the nodes. */
export function rawScores(asked: readonly AskedScore[], nodes: readonly NodeInfo[]): Float64Array[] {
  return asked.map(({ answer }) => {
    const scores = new Float64Array(nodes.length);
    scoreAll(answer, nodes, scores);
    return scores;
  });
}

export function scoreAll(answer: PodScore, nodes: readonly NodeInfo[], into: Float64Array): void {
  for (let at = 0; at < nodes.length; at++) into[at] = answer.score(nodes[at] as NodeInfo);
}

/** The sum of every plugin's normalized and weighted scores. */
export function sumScores(asked: readonly AskedScore[], raw: readonly Float64Array[], nodeCount: number): Float64Array {
  const sums = new Float64Array(nodeCount);
  for (const [index, { answer, weight }] of asked.entries()) {
    let scores = raw[index] as Float64Array;
    if (answer.normalize) answer.normalize((scores = scores.slice()));
    for (let at = 0; at < nodeCount; at++) sums[at] = (sums[at] as number) + weight * (scores[at] as number);
  }
  return sums;
}

/** The place of the greatest; of equals, any. */
export function pickGreatest(sums: Float64Array): number {
  let best = 0;
  let equals = 1;
  for (let at = 1; at < sums.length; at++) {
    const [score, bestScore] = [sums[at] as number, sums[best] as number];
    if (score > bestScore) {
      best = at;
      equals = 1;
    } else if (score === bestScore && Math.random() * ++equals < 1) best = at;
  }
  return best;
}
