/** Why a pod fits nowhere, in kube-scheduler's words. */
import type { Diagnosis } from './find-nodes.ts';
import { type Rejection, unresolvable } from './plugin.ts';

const noNodes = 'no nodes available to schedule pods';

/** Of a node, by pre-emption. */
export const nobody = unresolvable('No preemption victims found for incoming pod');
export const unhelpful = unresolvable('Preemption is not helpful for scheduling');

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

/** Thousands of pods that are alike share one diagnosis: its text is made once. */
const told = new WeakMap<Diagnosis, { why?: string; nobody?: string }>();

function once(diagnosis: Diagnosis, what: 'why' | 'nobody', tell: () => string): string {
  let texts = told.get(diagnosis);
  if (!texts) told.set(diagnosis, (texts = {}));
  return (texts[what] ??= tell());
}

export function describeDiagnosis(nodeCount: number, diagnosis: Diagnosis): string {
  const { everywhere, rejections, absent } = diagnosis;
  if (nodeCount === 0) return noNodes;
  if (everywhere !== undefined) return `0/${nodeCount} nodes are available: ${everywhere.reasons.join(', ')}.`;
  return once(diagnosis, 'why', () => describeRejections(nodeCount, rejections, absent));
}

/** What pre-emption says where no pod is less important. */
export function describeNobody(nodeCount: number, diagnosis: Diagnosis): string {
  return once(diagnosis, 'nobody', () => {
    const resolvable = [...diagnosis.rejections].filter(([, { unresolvable: never }]) => !never);
    return describeRejections(nodeCount, new Map(resolvable.map(([node]) => [node, nobody])), unhelpful);
  });
}
