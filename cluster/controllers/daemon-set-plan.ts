/** Which pods of a DaemonSet come and go. Pure. The rules are those of Kubernetes, "DaemonSet" and "Perform a Rolling Update on a DaemonSet". */
import type { Stored } from '../kinds/kind.ts';
import type { DaemonSet, DaemonSetStatus } from '../kinds/types/apps.ts';
import type { Node, Pod, Taint, Toleration } from '../kinds/types/core.ts';
import { matchesNodeSelection } from '../scheduler/node-selection.ts';
import { tolerates } from '../scheduler/tolerates.ts';
import { isFinished, readySince } from './objects.ts';
import { revisionOfPod } from './revisions.ts';

const exists = (key: string, effect: string): Toleration => ({ key, operator: 'Exists', effect });

/** A daemon stays on a node in trouble, and comes to one that takes nobody else. */
const daemonTolerations: Toleration[] = [
  exists('node.kubernetes.io/not-ready', 'NoExecute'),
  exists('node.kubernetes.io/unreachable', 'NoExecute'),
  exists('node.kubernetes.io/disk-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/memory-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/pid-pressure', 'NoSchedule'),
  exists('node.kubernetes.io/unschedulable', 'NoSchedule'),
];

export function tolerationsOf({ spec }: DaemonSet): Toleration[] {
  const { tolerations = [], hostNetwork } = spec?.template.spec ?? {};
  const added = hostNetwork
    ? [...daemonTolerations, exists('node.kubernetes.io/network-unavailable', 'NoSchedule')]
    : daemonTolerations;
  const same = (a: Toleration, b: Toleration): boolean =>
    a.key === b.key && a.operator === b.operator && a.effect === b.effect && a.value === b.value;
  return [...tolerations, ...added.filter((one) => !tolerations.some((other) => same(one, other)))];
}

/** Where a pod is, or will be. */
export function nodeOf({ spec }: Pod): string | undefined {
  if (spec?.nodeName) return spec.nodeName;
  const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  for (const { matchFields = [] } of terms) {
    const field = matchFields.find(({ key, operator }) => key === 'metadata.name' && operator === 'In');
    if (field) return field.values?.[0];
  }
  return undefined;
}

interface Placement {
  run: boolean;
  /** A pod that is there may stay. */
  stay: boolean;
}

export function placementOn(set: DaemonSet, node: Stored<Node>): Placement {
  const spec = set.spec?.template.spec;
  const name = node.metadata.name;
  if (spec?.nodeName && spec.nodeName !== name) return { run: false, stay: false };
  if (spec && !matchesNodeSelection({ spec }, { name, labels: node.metadata.labels ?? {} }))
    return { run: false, stay: false };
  const tolerations = tolerationsOf(set);
  const taints = (node.spec?.taints ?? []).filter((taint: Taint) => !tolerates(tolerations, taint));
  const stay = !taints.some(({ effect }) => effect === 'NoExecute');
  return { stay, run: stay && !taints.some(({ effect }) => effect === 'NoSchedule') };
}

export interface DaemonSetInput {
  set: Stored<DaemonSet>;
  nodes: Stored<Node>[];
  pods: Stored<Pod>[];
  isGoing: (pod: Stored<Pod>) => boolean;
  /** The hash of the set's own template. */
  hash: string;
  collisions: number;
  now: number;
}

export interface DaemonSetPlan {
  /** Names of nodes. */
  create: string[];
  remove: Stored<Pod>[];
  /** Of pods that ended by themselves: they go after a back-off. */
  ended: Stored<Pod>[];
  status: DaemonSetStatus;
  again: number | undefined;
}

interface OnNode {
  name: string;
  placement: Placement;
  /** The oldest first; those that stop too. */
  pods: Stored<Pod>[];
}

interface Survey {
  input: DaemonSetInput;
  places: OnNode[];
  plan: DaemonSetPlan;
  isAvailable(pod: Pod): boolean;
  desired: number;
}

function resolve(value: number | string | undefined, total: number): number {
  if (typeof value === 'number') return value;
  return Math.ceil((Number(/^(\d+)%$/.exec(value ?? '0%')?.[1] ?? 0) * total) / 100);
}

const byAge = (pods: Stored<Pod>[]): Stored<Pod>[] =>
  pods.toSorted((a, b) =>
    a.metadata.creationTimestamp === b.metadata.creationTimestamp
      ? Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion)
      : a.metadata.creationTimestamp < b.metadata.creationTimestamp
        ? -1
        : 1,
  );

export function planDaemonSet(input: DaemonSetInput): DaemonSetPlan {
  const { set, nodes, pods, now } = input;
  const minReady = (set.spec?.minReadySeconds ?? 0) * 1000;
  const groups = Map.groupBy(pods, (pod) => nodeOf(pod) ?? '');
  const places = nodes.map((node) => ({
    name: node.metadata.name,
    placement: placementOn(set, node),
    pods: byAge(groups.get(node.metadata.name) ?? []),
  }));
  const isAvailable = (pod: Pod): boolean => {
    const since = readySince(pod);
    return since !== undefined && (minReady === 0 || since + minReady <= now);
  };
  const waits = pods.map((pod) => (readySince(pod) ?? 0) + minReady - now).filter((wait) => wait > 0);
  const survey: Survey = {
    input,
    places,
    isAvailable,
    desired: places.filter(({ placement }) => placement.run).length,
    plan: {
      create: [],
      remove: [],
      ended: [],
      status: { currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 },
      again: minReady > 0 && waits.length > 0 ? Math.min(...waits) : undefined,
    },
  };
  if (set.metadata.deletionTimestamp === undefined) {
    for (const place of places) settlePlace(survey, place);
    // Waiting for a node that is no more.
    const names = new Set(places.map(({ name }) => name));
    for (const pod of pods) {
      const node = nodeOf(pod);
      if (!pod.spec?.nodeName && node !== undefined && !names.has(node) && !input.isGoing(pod)) {
        survey.plan.remove.push(pod);
      }
    }
    if (set.spec?.updateStrategy?.type !== 'OnDelete') roll(survey);
  }
  survey.plan.status = statusOf(survey);
  return survey.plan;
}

/** One pod where one should be, and none where not. */
function settlePlace({ input, plan }: Survey, { name, placement, pods }: OnNode): void {
  if (!placement.stay) {
    plan.remove.push(...pods.filter((pod) => !input.isGoing(pod)));
    return;
  }
  if (pods.length === 0) {
    if (placement.run) plan.create.push(name);
    return;
  }
  const whole = pods.filter((pod) => !input.isGoing(pod));
  plan.ended.push(...whole.filter(isFinished));
  const running = whole.filter((pod) => !isFinished(pod));
  // An update that surges has two at once: the oldest of each template stays.
  const isNew = (pod: Stored<Pod>): boolean => revisionOfPod(pod) === input.hash;
  const surges = resolve(input.set.spec?.updateStrategy?.rollingUpdate?.maxSurge, 100) > 0;
  if (surges) plan.remove.push(...running.filter(isNew).slice(1), ...running.filter((pod) => !isNew(pod)).slice(1));
  else plan.remove.push(...running.slice(1));
}

interface NodePods {
  name: string;
  oldPod: Stored<Pod> | undefined;
  newPod: Stored<Pod> | undefined;
}

/** From the pods of an old template to those of the new one. */
function roll(survey: Survey): void {
  const { input, places, plan, desired } = survey;
  const { maxSurge, maxUnavailable } = input.set.spec?.updateStrategy?.rollingUpdate ?? {};
  const surge = resolve(maxSurge, desired);
  const stopping = new Set(plan.remove);
  const shown = places
    .filter(({ placement }) => placement.run)
    .map(({ name, pods }): NodePods => {
      const whole = pods.filter((pod) => !input.isGoing(pod) && !isFinished(pod) && !stopping.has(pod));
      return {
        name,
        newPod: whole.find((pod) => revisionOfPod(pod) === input.hash),
        oldPod: whole.find((pod) => revisionOfPod(pod) !== input.hash),
      };
    });
  if (surge > 0) rollWithSurge(survey, shown, surge);
  else rollInPlace(survey, shown, Math.max(1, resolve(maxUnavailable ?? 1, desired)));
}

/** Old pods go, and new ones follow: at most so many nodes are without at once. */
function rollInPlace({ plan, isAvailable }: Survey, shown: NodePods[], maxUnavailable: number): void {
  const candidates: Stored<Pod>[] = [];
  let unavailable = 0;
  for (const { oldPod, newPod } of shown) {
    if (newPod) unavailable += isAvailable(newPod) ? 0 : 1;
    else if (oldPod && isAvailable(oldPod)) candidates.push(oldPod);
    else {
      unavailable++;
      // It serves nobody: nothing is lost by replacing it.
      if (oldPod) plan.remove.push(oldPod);
    }
  }
  plan.remove.push(...candidates.slice(0, Math.max(0, maxUnavailable - unavailable)));
}

/** New pods come beside the old ones, which go as soon as those are available. */
function rollWithSurge({ plan, isAvailable }: Survey, shown: NodePods[], maxSurge: number): void {
  const candidates: string[] = [];
  let surging = 0;
  for (const { name, oldPod, newPod } of shown) {
    if (!oldPod) continue;
    if (newPod) {
      if (isAvailable(newPod)) plan.remove.push(oldPod);
      else surging++;
    } else if (isAvailable(oldPod)) candidates.push(name);
    else plan.create.push(name);
  }
  plan.create.push(...candidates.slice(0, Math.max(0, maxSurge - surging)));
}

function statusOf({ input, places, isAvailable, desired }: Survey): DaemonSetStatus {
  const { set, hash, collisions } = input;
  let [current, misscheduled, ready, available, updated] = [0, 0, 0, 0, 0];
  for (const { placement, pods } of places) {
    const [oldest] = pods;
    if (!placement.run) {
      if (oldest) misscheduled++;
      continue;
    }
    if (!oldest) continue;
    current++;
    if (readySince(oldest) !== undefined) ready++;
    if (isAvailable(oldest)) available++;
    if (revisionOfPod(oldest) === hash) updated++;
  }
  return {
    currentNumberScheduled: current,
    numberMisscheduled: misscheduled,
    desiredNumberScheduled: desired,
    numberReady: ready,
    observedGeneration: set.metadata.generation ?? 0,
    ...(updated > 0 && { updatedNumberScheduled: updated }),
    ...(available > 0 && { numberAvailable: available }),
    ...(desired > available && { numberUnavailable: desired - available }),
    ...(collisions > 0 && { collisionCount: collisions }),
    ...(set.status?.conditions && { conditions: set.status.conditions }),
  };
}
