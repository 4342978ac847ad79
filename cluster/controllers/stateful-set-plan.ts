/** What a StatefulSet needs next. Pure. The rules are those of Kubernetes, "StatefulSets: Deployment and Scaling Guarantees". */
import type { Stored } from '../kinds/kind.ts';
import type { StatefulSet, StatefulSetStatus } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import { isFinished, readySince } from './objects.ts';
import { revisionOfPod } from './revisions.ts';

export interface StatefulSetInput {
  set: Stored<StatefulSet>;
  pods: Stored<Pod>[];
  /** Is somebody stopping it? */
  isGoing: (pod: Stored<Pod>) => boolean;
  currentRevision: string;
  updateRevision: string;
  collisions: number;
  now: number;
}

export interface StatefulSetPlan {
  create: { ordinal: number; revision: 'current' | 'update' }[];
  remove: Stored<Pod>[];
  /** Of those to remove, the ones that ended and will be made again. */
  ended: Stored<Pod>[];
  /** Of all pods, those that no replica stands for any more. */
  condemned: Stored<Pod>[];
  status: StatefulSetStatus;
  /** When the next ready pod becomes available. */
  again: number | undefined;
}

/** The number in a pod's name; undefined where the name is not of this set. */
export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const name = pod.metadata.name ?? '';
  const prefix = `${set.metadata.name}-`;
  const text = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^(0|[1-9]\d*)$/.test(text) ? Number(text) : undefined;
}

const isRunningAndReady = (pod: Pod): boolean => pod.status?.phase === 'Running' && readySince(pod) !== undefined;

export function planStatefulSet(input: StatefulSetInput): StatefulSetPlan {
  const { set, pods, isGoing } = input;
  const start = set.spec?.ordinals?.start ?? 0;
  const replicas = set.spec?.replicas ?? 1;
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod), pod]));
  const slots = Array.from({ length: replicas }, (_, index) => byOrdinal.get(start + index));
  const condemned = pods
    .filter((pod) => {
      const ordinal = ordinalOf(set, pod);
      return ordinal !== undefined && (ordinal < start || ordinal >= start + replicas);
    })
    .sort((a, b) => (ordinalOf(set, b) ?? 0) - (ordinalOf(set, a) ?? 0));
  const { availableIn, isAvailable } = availability(input);
  const plan: StatefulSetPlan = {
    create: [],
    remove: [],
    ended: [],
    condemned,
    status: statusOf(input, slots, isAvailable),
    again: availableIn,
  };
  if (set.metadata.deletionTimestamp !== undefined) return plan;
  const isWell = (pod: Stored<Pod> | undefined): boolean =>
    pod !== undefined && !isGoing(pod) && isRunningAndReady(pod) && isAvailable(pod);
  const one: Walk = { input, plan, slots, start, ordered: set.spec?.podManagementPolicy !== 'Parallel', isWell };
  if (fillSlots(one) && dropCondemned(one)) update(one);
  return plan;
}

interface Walk {
  input: StatefulSetInput;
  plan: StatefulSetPlan;
  slots: (Stored<Pod> | undefined)[];
  start: number;
  /** One after the other, each when those before are well. */
  ordered: boolean;
  /** Ready for long enough, and nobody stops it. */
  isWell(pod: Stored<Pod> | undefined): boolean;
}

/** From the first to the last. Returns whether the next stage may begin. */
function fillSlots({ input, plan, slots, start, ordered, isWell }: Walk): boolean {
  const partition = input.set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  for (const [index, pod] of slots.entries()) {
    if (pod === undefined) {
      plan.create.push({ ordinal: start + index, revision: index < partition ? 'current' : 'update' });
    } else if (isFinished(pod) && !input.isGoing(pod)) {
      plan.ended.push(pod);
      plan.remove.push(pod);
    }
    if (ordered && !isWell(pod)) return false;
  }
  return true;
}

/** From the last to the first. */
function dropCondemned({ input, plan, slots, ordered, isWell }: Walk): boolean {
  const { condemned } = plan;
  const unwell = [...slots, ...condemned.toReversed()].find((pod) => !isWell(pod));
  for (const pod of condemned) {
    if (input.isGoing(pod)) {
      if (ordered) return false;
      continue;
    }
    // While another is unwell, one that is not ready may be what it waits for.
    if (ordered && !isRunningAndReady(pod) && pod !== unwell) return false;
    plan.remove.push(pod);
    if (ordered) return false;
  }
  return true;
}

/** One pod of an old template after the other, from the last down to the partition. */
function update({ input, plan, slots, isWell }: Walk): void {
  const { updateStrategy } = input.set.spec ?? {};
  if (updateStrategy?.type === 'OnDelete') return;
  const partition = updateStrategy?.rollingUpdate?.partition ?? 0;
  for (const pod of slots.slice(partition).reverse()) {
    if (pod && revisionOfPod(pod) !== input.updateRevision && !input.isGoing(pod)) {
      if (!plan.remove.includes(pod)) plan.remove.push(pod);
      return;
    }
    if (!isWell(pod)) return;
  }
}

function availability({ set, pods, now }: StatefulSetInput) {
  const minReady = (set.spec?.minReadySeconds ?? 0) * 1000;
  const waits = pods.map((pod) => (readySince(pod) ?? Number.POSITIVE_INFINITY) + minReady - now);
  const coming = waits.filter((wait) => wait > 0 && Number.isFinite(wait));
  return {
    availableIn: minReady > 0 && coming.length > 0 ? Math.min(...coming) : undefined,
    isAvailable: (pod: Pod): boolean =>
      minReady === 0 || (readySince(pod) ?? Number.POSITIVE_INFINITY) + minReady <= now,
  };
}

function statusOf(
  { set, pods, isGoing, currentRevision, updateRevision, collisions }: StatefulSetInput,
  slots: (Stored<Pod> | undefined)[],
  isAvailable: (pod: Pod) => boolean,
): StatefulSetStatus {
  const ready = pods.filter(isRunningAndReady);
  const of = (revision: string): number =>
    pods.filter((pod) => revisionOfPod(pod) === revision && !isGoing(pod)).length;
  const [current, updated] = [of(currentRevision), of(updateRevision)];
  const readyReplicas = ready.length;
  const complete =
    updated === slots.length && readyReplicas === slots.length && set.spec?.updateStrategy?.type !== 'OnDelete';
  const currentReplicas = complete ? updated : current;
  return {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: pods.length,
    ...(readyReplicas > 0 && { readyReplicas }),
    availableReplicas: ready.filter(isAvailable).length,
    ...(currentReplicas > 0 && { currentReplicas }),
    ...(updated > 0 && { updatedReplicas: updated }),
    currentRevision: complete ? updateRevision : currentRevision,
    updateRevision,
    collisionCount: collisions,
    ...(set.status?.conditions && { conditions: set.status.conditions }),
  };
}
