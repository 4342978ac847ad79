/** How many of a PodDisruptionBudget's pods may go. Pure. The rules are those of Kubernetes, "Specifying a Disruption Budget". */
import type { Stored } from '../kinds/kind.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { PodDisruptionBudget, PodDisruptionBudgetStatus } from '../kinds/types/policy.ts';
import { isReady, timestamp } from './objects.ts';

/** A pod whose eviction was allowed, and that is whole after so long, was not evicted. */
const evictionTimeout = 120_000;

export interface BudgetInput {
  budget: Stored<PodDisruptionBudget>;
  pods: Stored<Pod>[];
  /** How many pods their controllers want; undefined where only the pods that are there count. */
  expected: number | undefined;
  now: number;
}

export interface BudgetOutput {
  status: PodDisruptionBudgetStatus;
  /** Pods that were to be evicted, and were not. */
  notDeleted: Stored<Pod>[];
  /** Milliseconds after which the next of them is given up. */
  again: number | undefined;
}

/** Do the controllers of the pods matter, or only the pods? */
export function needsExpected({ spec }: PodDisruptionBudget): boolean {
  return spec?.maxUnavailable !== undefined || typeof spec?.minAvailable === 'string';
}

function resolve(value: number | string, total: number): number {
  if (typeof value === 'number') return value;
  return Math.ceil((Number(/^(\d+)%$/.exec(value)?.[1] ?? 0) * total) / 100);
}

export function budgetStatus({ budget, pods, expected, now }: BudgetInput): BudgetOutput {
  const { spec, status: before, metadata } = budget;
  const expectedPods = expected ?? pods.length;
  const disruptedPods: Record<string, string> = {};
  const notDeleted: Stored<Pod>[] = [];
  let again: number | undefined;
  for (const pod of pods) {
    const since = before?.disruptedPods?.[pod.metadata.name];
    if (since === undefined || pod.metadata.deletionTimestamp !== undefined) continue;
    const left = Date.parse(since) + evictionTimeout - now;
    if (left <= 0) notDeleted.push(pod);
    else {
      disruptedPods[pod.metadata.name] = since;
      again = Math.min(again ?? left, left);
    }
  }
  const currentHealthy = pods.filter(
    (pod) => pod.metadata.deletionTimestamp === undefined && !(pod.metadata.name in disruptedPods) && isReady(pod),
  ).length;
  const desiredHealthy =
    spec?.maxUnavailable === undefined
      ? resolve(spec?.minAvailable ?? 0, expectedPods)
      : Math.max(0, expectedPods - resolve(spec.maxUnavailable, expectedPods));
  const disruptionsAllowed = expectedPods > 0 ? Math.max(0, currentHealthy - desiredHealthy) : 0;
  return {
    notDeleted,
    again,
    status: {
      ...(Object.keys(disruptedPods).length > 0 && { disruptedPods }),
      currentHealthy,
      desiredHealthy,
      expectedPods,
      disruptionsAllowed,
      observedGeneration: metadata.generation ?? 0,
      conditions: [
        disruptionsAllowed > 0
          ? allowedCondition(budget, { status: 'True', reason: 'SufficientPods', message: '' }, now)
          : allowedCondition(budget, { status: 'False', reason: 'InsufficientPods', message: '' }, now),
      ],
    },
  };
}

/** Of a budget whose pods cannot be counted: nothing may go. */
export function failedStatus(budget: Stored<PodDisruptionBudget>, message: string, now: number) {
  const none = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };
  const condition = allowedCondition(budget, { status: 'False', reason: 'SyncFailed', message }, now);
  return { ...none, ...budget.status, disruptionsAllowed: 0, conditions: [condition] };
}

function allowedCondition(
  { metadata, status: before }: Stored<PodDisruptionBudget>,
  fresh: { status: string; reason: string; message: string },
  now: number,
) {
  const old = before?.conditions?.find(({ type }) => type === 'DisruptionAllowed');
  const lastTransitionTime = old?.status === fresh.status ? old.lastTransitionTime : timestamp(now);
  return { type: 'DisruptionAllowed', ...fresh, lastTransitionTime, observedGeneration: metadata.generation ?? 0 };
}
