/**
 * How many pods each ReplicaSet of a Deployment should have next. Pure: looks at the sets, says what to write.
 * The rules are those of Kubernetes, "Deployments: Strategy" and "Proportional scaling".
 */
import type { Stored } from '../kinds/kind.ts';
import type { Deployment, ReplicaSet } from '../kinds/types/apps.ts';

export const desiredAnnotation = 'deployment.kubernetes.io/desired-replicas';
export const maxAnnotation = 'deployment.kubernetes.io/max-replicas';

export type Plan = Map<Stored<ReplicaSet>, number>;

export const replicasOf = (set: ReplicaSet): number => set.spec?.replicas ?? 0;
const availableOf = (set: ReplicaSet): number => set.status?.availableReplicas ?? 0;
const sum = (sets: ReplicaSet[], count: (set: ReplicaSet) => number): number =>
  sets.reduce((total, set) => total + count(set), 0);

export const revisionAnnotation = 'deployment.kubernetes.io/revision';

/** 0 where the set has none. Somebody may have given it any number of 64 bits. */
export function revisionOf(set: Pick<ReplicaSet, 'metadata'> | undefined): bigint {
  const text = set?.metadata.annotations?.[revisionAnnotation] ?? '';
  return /^\d{1,19}$/.test(text) ? BigInt(text) : 0n;
}

export function compareRevisions(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function newestRevision(sets: readonly ReplicaSet[]): bigint {
  return sets.map(revisionOf).reduce((newest, one) => (one > newest ? one : newest), 0n);
}

export function byAge(sets: Stored<ReplicaSet>[]): Stored<ReplicaSet>[] {
  return sets.toSorted(({ metadata: a }, { metadata: b }) => {
    if (a.creationTimestamp !== b.creationTimestamp) return a.creationTimestamp < b.creationTimestamp ? -1 : 1;
    return compareRevisions(revisionOf({ metadata: a }), revisionOf({ metadata: b }));
  });
}

function resolve(value: number | string | undefined, total: number, round: (value: number) => number): number {
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(value ?? '25%');
  return round((Number(percent?.[1] ?? 0) * total) / 100);
}

/** Surge is rounded up, unavailability down; both 0 would stand still. */
export function limits(deployment: Deployment): { replicas: number; maxSurge: number; maxUnavailable: number } {
  const replicas = deployment.spec?.replicas ?? 1;
  if (deployment.spec?.strategy?.type === 'Recreate') return { replicas, maxSurge: 0, maxUnavailable: replicas };
  const { maxSurge, maxUnavailable } = deployment.spec?.strategy?.rollingUpdate ?? {};
  const surge = resolve(maxSurge, replicas, Math.ceil);
  const unavailable = Math.min(resolve(maxUnavailable, replicas, Math.floor), replicas);
  return { replicas, maxSurge: surge, maxUnavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}

/** Was the Deployment scaled since its sets were last written? */
export function isScaled(deployment: Deployment, sets: Stored<ReplicaSet>[]): boolean {
  return sets.some((set) => replicasOf(set) > 0 && isOfOtherSize(deployment, set));
}

/** Was it written for another number of replicas? */
function isOfOtherSize(deployment: Deployment, set: ReplicaSet): boolean {
  const desired = set.metadata.annotations?.[desiredAnnotation];
  return desired !== undefined && Number(desired) !== limits(deployment).replicas;
}

/**
 * Spreads a new number of replicas over the sets of a rollout that is under way or paused. A set that keeps its number is in the plan too
 * where it was written for another size: until all are of this one nothing else goes on.
 */
export function planScale(
  deployment: Deployment,
  current: Stored<ReplicaSet> | undefined,
  old: Stored<ReplicaSet>[],
): Plan {
  const plan: Plan = new Map();
  const { replicas, maxSurge } = limits(deployment);
  const all = current ? [current, ...old] : old;
  const active = all.filter((set) => replicasOf(set) > 0);
  const only = active.length > 1 ? undefined : (active[0] ?? current ?? byAge(all).at(-1));
  if (active.length <= 1) {
    if (only && (replicasOf(only) !== replicas || isOfOtherSize(deployment, only))) plan.set(only, replicas);
    return plan;
  }
  if (current && replicasOf(current) === replicas && availableOf(current) === replicas) {
    for (const set of old) if (replicasOf(set) > 0) plan.set(set, 0);
    return plan;
  }
  const total = sum(active, replicasOf);
  const allowed = replicas > 0 ? replicas + (deployment.spec?.strategy?.type === 'Recreate' ? 0 : maxSurge) : 0;
  let left = allowed - total;
  const bySize = byAge(active)
    .reverse()
    .sort((a, b) => (replicasOf(b) - replicasOf(a)) * (left > 0 ? 1 : -1));
  const next = new Map(bySize.map((set) => [set, replicasOf(set)]));
  for (const set of bySize) {
    const before = Number(set.metadata.annotations?.[maxAnnotation]) || total;
    const share = Math.round((replicasOf(set) * allowed) / before) - replicasOf(set);
    const change = left > 0 ? Math.min(left, Math.max(0, share)) : Math.max(left, Math.min(0, share));
    next.set(set, replicasOf(set) + change);
    left -= change;
  }
  // What rounding left over goes to the first that can take it.
  for (const set of bySize) {
    const value = Math.max(0, (next.get(set) ?? 0) + left);
    left -= value - (next.get(set) ?? 0);
    next.set(set, value);
    if (left === 0) break;
  }
  for (const [set, count] of next)
    if (count !== replicasOf(set) || isOfOtherSize(deployment, set)) plan.set(set, count);
  return plan;
}

/** One step of a rolling update: first up, and when nothing goes up, down. */
export function planRolling(deployment: Deployment, current: Stored<ReplicaSet>, old: Stored<ReplicaSet>[]): Plan {
  const plan: Plan = new Map();
  const { replicas, maxSurge, maxUnavailable } = limits(deployment);
  const all = [current, ...old];
  const total = sum(all, replicasOf);
  const own = replicasOf(current);
  if (own > replicas) return plan.set(current, replicas);
  const room = Math.min(replicas + maxSurge - total, replicas - own);
  if (room > 0) return plan.set(current, own + room);

  const minAvailable = replicas - maxUnavailable;
  const newUnavailable = own - availableOf(current);
  let spare = total - minAvailable - newUnavailable;
  if (spare <= 0) return plan;
  const sets = byAge(old).filter((set) => replicasOf(set) > 0);
  const next = new Map(sets.map((set) => [set, replicasOf(set)]));
  // Pods of old sets that serve nobody go first.
  for (const set of sets) {
    const unhealthy = Math.min(spare, Math.max(0, replicasOf(set) - availableOf(set)));
    next.set(set, replicasOf(set) - unhealthy);
    spare -= unhealthy;
  }
  let healthy = Math.min(spare, sum(all, availableOf) - minAvailable);
  for (const set of sets) {
    if (healthy <= 0) break;
    const count = next.get(set) ?? 0;
    const down = Math.min(count, healthy);
    next.set(set, count - down);
    healthy -= down;
  }
  for (const [set, count] of next) if (count !== replicasOf(set)) plan.set(set, count);
  return plan;
}
