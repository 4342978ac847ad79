/** One pod's turn: a node for it, or room for it, or why there is none. Synchronous but for what follows from it. */
import { assumeAndBind } from './bind.ts';
import { describeDiagnosis } from './describe.ts';
import { evictVictims } from './evict.ts';
import { beginFilters, type FilterCycle, isCycle } from './filter-cycle.ts';
import type { Diagnosis } from './find-nodes.ts';
import type { NodeInfo } from './node-info.ts';
import { planPreemption, type Preemption } from './preemption.ts';
import type { QueuedPod } from './pod-queue.ts';
import { reportFailure, withdrawNomination } from './report.ts';
import type { SchedulerState } from './state.ts';
import type { Victims } from './victims.ts';

export function schedulePod(state: SchedulerState, queued: QueuedPod): void {
  const { plugins, search, batches } = state;
  const { pod } = queued;
  const begun = beginFilters(plugins, pod, state);
  if (!isCycle(begun)) {
    const { plugin, rejection } = begun;
    turnAway(state, queued, { plugins: new Set([plugin]), rejections: new Map(), everywhere: rejection }, undefined);
    return;
  }
  const promised = nominatedNode(state, queued);
  if (promised !== undefined && (begun.only?.has(promised.name) ?? true) && begun.check(promised) === undefined) {
    assumeAndBind(state, queued, promised);
    return;
  }
  const alike = batches.next(begun);
  if (alike !== undefined) {
    assumeAndBind(state, queued, alike);
    return;
  }
  const known = batches.hopeless(begun);
  if (known !== undefined) {
    turnAway(state, queued, known, begun);
    return;
  }
  const { fitting, diagnosis } = search.find(begun);
  const chosen = batches.choose(begun, fitting);
  if (chosen !== undefined) assumeAndBind(state, queued, chosen);
  else {
    batches.foundNothing(begun, diagnosis);
    turnAway(state, queued, diagnosis, begun);
  }
}

function nominatedNode({ cluster, nominations }: SchedulerState, { pod }: QueuedPod): NodeInfo | undefined {
  const name = nominations.nodeOf(pod.uid);
  return name === undefined ? undefined : cluster.node(name);
}

function turnAway(
  state: SchedulerState,
  queued: QueuedPod,
  diagnosis: Diagnosis,
  cycle: FilterCycle | undefined,
): void {
  const { cluster, queue, nominations, budgets } = state;
  const { pod } = queued;
  const nodeCount = cluster.nodes().length;
  const message = describeDiagnosis(nodeCount, diagnosis);
  if (nodeCount === 0) {
    // Whichever node comes may do.
    queue.turnedAway(queued, new Set(state.plugins.map(({ name }) => name)));
    state.track(reportFailure(pod, { reason: 'Unschedulable', message }, state));
    return;
  }
  const nominated = nominatedNode(state, queued);
  const preemption = planPreemption(pod, { cluster, cycle, diagnosis, budgets: budgets.list(), nominated });
  if ('victims' in preemption) {
    nominations.set(pod, preemption.victims.node.name);
    state.track(makeRoom(state, queued, preemption.victims, { message, plugins: diagnosis.plugins }));
    return;
  }
  queue.turnedAway(queued, diagnosis.plugins);
  if (preemption.hopeless) nominations.delete(pod.uid);
  state.track(reportFailure(pod, { reason: 'Unschedulable', ...described(message, preemption) }, state));
}

function described(
  message: string,
  { message: why, hopeless }: Exclude<Preemption, { victims: Victims }>,
): { message: string; nominate?: undefined } {
  return { message: `${message} preemption: ${why}`, ...(hopeless && { nominate: undefined }) };
}

interface Why {
  message: string;
  plugins: ReadonlySet<string>;
}

/**
 * Its promise stands before anybody goes: who is less important does not take the room. Until all are told to go the pod is not
 * tried again, or it would send others away.
 */
async function makeRoom(
  state: SchedulerState,
  queued: QueuedPod,
  victims: Victims,
  { message, plugins }: Why,
): Promise<void> {
  const { nominations, client, queue, cluster } = state;
  const { pod } = queued;
  const node = victims.node.name;
  const lesser = [...nominations.on(node)].filter((other) => other.priority < pod.priority);
  for (const other of lesser) nominations.delete(other.uid);
  try {
    await reportFailure(pod, { reason: 'Unschedulable', message, nominate: node }, state);
    await Promise.all(lesser.map((other) => withdrawNomination(client, other)));
    await evictVictims(victims, pod, state);
  } catch (error) {
    nominations.delete(pod.uid);
    queue.failed(queued);
    throw error;
  }
  queue.turnedAway(queued, plugins);
  // Those that went at once are not heard of again.
  if (victims.pods.every(({ uid }) => cluster.pod(uid) === undefined)) queue.retry(queued);
}
