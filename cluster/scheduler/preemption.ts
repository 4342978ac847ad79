/** Makes room for a pod that fits nowhere, where less important ones are ("Pod Priority and Preemption"). Decides; `evict.ts` acts. */
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { PodDisruptionBudget } from '../kinds/types/policy.ts';
import type { Cluster } from './cluster.ts';
import { describeNobody, describeRejections, unhelpful } from './describe.ts';
import type { FilterCycle } from './filter-cycle.ts';
import type { Diagnosis } from './find-nodes.ts';
import type { NodeInfo } from './node-info.ts';
import type { Rejection } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';
import { pickVictims } from './pick-victims.ts';
import { selectVictims, type Victims } from './victims.ts';

export const preemptedReason = 'PreemptionByScheduler';

export type Preemption =
  | { victims: Victims }
  /** Nobody has to go, and why; `hopeless`: waiting for the node that was promised is in vain too. */
  | { message: string; hopeless: boolean };

export interface PreemptionInput {
  cluster: Cluster;
  /** Undefined when a plugin refused the pod before any node was asked. */
  cycle: FilterCycle | undefined;
  diagnosis: Diagnosis;
  budgets: readonly Stored<PodDisruptionBudget>[];
  /** The node that the pod was promised before. */
  nominated: NodeInfo | undefined;
}

/** Of how many nodes it is tried out: a tenth, but not fewer than this. */
const leastCandidates = 100;

function isBeingPreempted({ metadata, status }: Pod): boolean {
  return (
    metadata.deletionTimestamp !== undefined &&
    (status?.conditions?.some(
      ({ type, status: value, reason }) =>
        type === 'DisruptionTarget' && value === 'True' && reason === preemptedReason,
    ) ??
      false)
  );
}

/** Why it may not, or undefined. */
function forbids(pod: PodInfo, { nominated, diagnosis }: PreemptionInput): string | undefined {
  if (pod.pod.spec?.preemptionPolicy === 'Never') return 'not eligible due to preemptionPolicy=Never.';
  if (nominated === undefined || diagnosis.rejections.get(nominated)?.unresolvable === true) return undefined;
  for (const other of nominated.pods.values())
    if (other.priority < pod.priority && isBeingPreempted(other.pod))
      return 'not eligible due to a terminating pod on the nominated node.';
  return undefined;
}

export function planPreemption(pod: PodInfo, input: PreemptionInput): Preemption {
  const { cluster, cycle, diagnosis, budgets } = input;
  const forbidden = forbids(pod, input);
  if (forbidden !== undefined) return { message: forbidden, hopeless: false };
  if (!cluster.hasLesser(pod)) return { message: describeNobody(cluster.nodes().length, diagnosis), hopeless: true };
  const nodes = [...diagnosis.rejections].flatMap(([node, { unresolvable: never }]) => (never ? [] : [node]));
  const refused = new Map<NodeInfo, Rejection>();
  const found = cycle === undefined ? [] : tryOut(cycle, { nodes, budgets, refused });
  const victims = pickVictims(found);
  if (victims !== undefined) return { victims };
  return { message: describeRejections(cluster.nodes().length, refused, unhelpful), hopeless: true };
}

interface Trial {
  nodes: NodeInfo[];
  budgets: readonly Stored<PodDisruptionBudget>[];
  /** Filled with the nodes that would not do. */
  refused: Map<NodeInfo, Rejection>;
}

/** Begins anywhere, so that not always the same nodes are emptied. */
function tryOut(cycle: FilterCycle, { nodes, budgets, refused }: Trial): Victims[] {
  const enough = Math.max(leastCandidates, Math.trunc(nodes.length / 10));
  const offset = Math.floor(Math.random() * nodes.length);
  const found: Victims[] = [];
  for (let index = 0; index < nodes.length; index++) {
    const node = nodes[(offset + index) % nodes.length];
    if (node === undefined) continue;
    const result = selectVictims(cycle, node, budgets);
    if ('reasons' in result) refused.set(node, result);
    else found.push(result);
    if (found.length >= enough && found.some(({ violations }) => violations === 0)) break;
  }
  return found;
}
