/** Which pods would have to go from a node, so that a more important one fits ("Pod Priority and Preemption"). */
import type { Stored } from '../kinds/kind.ts';
import { labelSelectorRequirements, matchesLabels } from '../kinds/selector.ts';
import type { PodDisruptionBudget } from '../kinds/types/policy.ts';
import { nobody } from './describe.ts';
import type { FilterCycle } from './filter-cycle.ts';
import type { NodeInfo } from './node-info.ts';
import type { Rejection } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

export interface Victims {
  node: NodeInfo;
  /** The most important first. */
  pods: PodInfo[];
  /** How many of them a disruption budget does not permit. */
  violations: number;
}

/** When it began to run; one that did not yet began last. */
export function startOf({ pod }: PodInfo): number {
  return pod.status?.startTime === undefined ? Number.POSITIVE_INFINITY : Date.parse(pod.status.startTime);
}

/** The higher priority, then who has run longer. */
function byImportance(a: PodInfo, b: PodInfo): number {
  if (a.priority !== b.priority) return b.priority - a.priority;
  const [first, second] = [startOf(a), startOf(b)];
  return first === second ? 0 : first - second;
}

/** Those whose going some budget does not permit, when they go in this order. */
export function violating(pods: readonly PodInfo[], budgets: readonly Stored<PodDisruptionBudget>[]): Set<PodInfo> {
  const allowed = new Map(budgets.map((budget) => [budget, budget.status?.disruptionsAllowed ?? 0]));
  const found = new Set<PodInfo>();
  for (const pod of pods) {
    if (Object.keys(pod.labels).length === 0) continue;
    for (const budget of budgets) {
      if (budget.metadata.namespace !== pod.namespace || budget.spec?.selector === undefined) continue;
      const selector = labelSelectorRequirements(budget.spec.selector);
      if (selector.length === 0 || !matchesLabels(selector, pod.labels)) continue;
      // It goes already, and was counted when that was permitted.
      if (budget.status?.disruptedPods?.[pod.name] !== undefined) continue;
      const left = (allowed.get(budget) ?? 0) - 1;
      allowed.set(budget, left);
      if (left < 0) found.add(pod);
    }
  }
  return found;
}

/**
 * As few as can be: all that are less important go in thought, and the more important of them come back as far as the pod still
 * fits, those first whose going a budget does not permit. The node is afterwards as it was.
 */
export function selectVictims(
  cycle: FilterCycle,
  node: NodeInfo,
  budgets: readonly Stored<PodDisruptionBudget>[],
): Victims | Rejection {
  const lesser = [...node.pods.values()].filter(({ priority }) => priority < cycle.pod.priority).sort(byImportance);
  if (lesser.length === 0) return nobody;
  const removed = new Set(lesser);
  for (const pod of lesser) cycle.remove(pod, node);
  try {
    const refusal = cycle.check(node);
    if (refusal !== undefined) return refusal.rejection;
    const protectedPods = violating(lesser, budgets);
    const reprieve = (pod: PodInfo): void => {
      cycle.add(pod, node);
      if (cycle.check(node) === undefined) removed.delete(pod);
      else cycle.remove(pod, node);
    };
    for (const pod of lesser) if (protectedPods.has(pod)) reprieve(pod);
    const violations = lesser.filter((pod) => protectedPods.has(pod) && removed.has(pod)).length;
    for (const pod of lesser) if (!protectedPods.has(pod)) reprieve(pod);
    return { node, pods: lesser.filter((pod) => removed.has(pod)), violations };
  } finally {
    for (const pod of removed) cycle.add(pod, node);
  }
}
