/** Why a pod fits nowhere, in kube-scheduler's words. */
import type { Diagnosis } from './find-nodes.ts';
import type { Rejection } from './plugin.ts';

export const noNodes = 'no nodes available to schedule pods';

/** `2 Insufficient cpu, 1 node(s) were unschedulable`: each reason with its number of nodes, in order of the text. */
function histogram(
  rejections: Iterable<Rejection>,
  absent: { rejection: Rejection; count: number } | undefined,
): string {
  const counts = new Map<string, number>();
  const add = ({ reasons }: Rejection, count: number): void => {
    for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + count);
  };
  for (const rejection of rejections) add(rejection, 1);
  if (absent !== undefined && absent.count > 0) add(absent.rejection, absent.count);
  return [...counts]
    .map(([reason, count]) => `${count} ${reason}`)
    .sort()
    .join(', ');
}

/**
 * `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
 * @param absent  of the nodes that `rejections` says nothing of
 */
export function describeRejections(
  nodeCount: number,
  rejections: ReadonlyMap<unknown, Rejection>,
  absent: Rejection | undefined,
): string {
  const others = absent && { rejection: absent, count: nodeCount - rejections.size };
  const reasons = histogram(rejections.values(), others);
  return `0/${nodeCount} nodes are available:${reasons === '' ? '' : ` ${reasons}.`}`;
}

export function describeDiagnosis(nodeCount: number, { everywhere, rejections, absent }: Diagnosis): string {
  if (nodeCount === 0) return noNodes;
  if (everywhere !== undefined) return `0/${nodeCount} nodes are available: ${everywhere.reasons.join(', ')}.`;
  return describeRejections(nodeCount, rejections, absent);
}
