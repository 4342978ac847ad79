/**
 * The pod's state machine: what should be done next, given what is there. Pure, and asked again after every change; it
 * remembers nothing. `worker.ts` carries the actions out, one at a time for each container.
 *
 * Run: sandbox, then init containers in order (a sidecar only has to be started), then all containers together; what
 * ended is started again by restart policy and back-off. Ephemeral containers start whenever there is a sandbox, and once.
 * Stop: containers together, then sidecars from last to first.
 */
import type { Pod } from '../kinds/types/core.ts';
import { type BackoffPolicy, nextRestart } from './backoff.ts';
import { specHashLabel } from './labels.ts';
import { type ContainerRecord, specHash } from './records.ts';

export interface PlanInput {
  pod: Pod;
  records: readonly ContainerRecord[];
  sandbox: 'absent' | 'busy' | 'ready';
  /** Containers with an action under way. */
  busy: ReadonlySet<string>;
  /** Those of them that give way to newer definitions of theirs: they have not ended. */
  replacing: ReadonlySet<string>;
  /** Not to be started before this time, after a failed attempt (image pull, configuration). */
  holds: ReadonlyMap<string, number>;
  /** Has it passed its startup probe, or has none? Asked of running containers. */
  started: (record: ContainerRecord) => boolean;
  /** Running containers that a probe or a hook condemned, with the reason. */
  condemned: ReadonlyMap<string, string>;
  backoff: BackoffPolicy;
  mode: 'run' | 'stop';
  now: number;
}

export type PodAction =
  | { do: 'create-sandbox' }
  | { do: 'start'; name: string; attempt: number; crashes: number }
  /** Made before, and not started: the agent was killed between the two. */
  | { do: 'resume'; name: string; id: string }
  | { do: 'stop'; name: string; id: string; message: string }
  /** Its definition changed: stopped, and started anew at once, whatever the restart policy says. */
  | { do: 'replace'; name: string; id: string; message: string; attempt: number; crashes: number };

export interface PodPlan {
  actions: PodAction[];
  /** In back-off: until when, and the whole delay. */
  backingOff: Map<string, { until: number; delay: number }>;
  /** Ask again at this time, if nothing else happens. */
  wakeAt?: number;
  /** Nothing runs, and nothing is under way. */
  down: boolean;
  phase: PodPhase;
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

export function planPod(input: PlanInput): PodPlan {
  const phase = phaseOf(input.pod, input.records, input.replacing);
  const plan: PodPlan = { actions: [], backingOff: new Map(), down: isDown(input), phase };
  if (input.mode === 'stop' || phase === 'Succeeded' || phase === 'Failed') {
    planStop(input, plan);
    return plan;
  }
  if (input.sandbox !== 'ready') {
    if (input.sandbox === 'absent') plan.actions.push({ do: 'create-sandbox' });
    return plan;
  }
  for (const record of input.records) if (record.role === 'ephemeral') planContainer(input, record, plan);
  if (planInitialization(input, plan)) {
    for (const record of input.records) if (record.role === 'main') planContainer(input, record, plan);
  }
  return plan;
}

function isDown(input: PlanInput): boolean {
  return input.busy.size === 0 && input.sandbox !== 'busy' && input.records.every(({ state }) => state !== 'running');
}

function planStop(input: PlanInput, plan: PodPlan): void {
  const running = (record: ContainerRecord): boolean => record.state === 'running' || input.busy.has(record.name);
  const stop = (record: ContainerRecord): void => {
    if (record.state !== 'running' || input.busy.has(record.name) || record.id === undefined) return;
    plan.actions.push({ do: 'stop', name: record.name, id: record.id, message: `Stopping container ${record.name}` });
  };
  const first = input.records.filter(({ role }) => role === 'main' || role === 'ephemeral');
  if (first.some(running)) {
    for (const record of first) stop(record);
    return;
  }
  const last = input.records.findLast(running);
  if (last) stop(last);
}

/** Returns whether the pod is initialized. */
function planInitialization(input: PlanInput, plan: PodPlan): boolean {
  const mainsBegan = input.records.some((record) => record.role === 'main' && record.container !== undefined);
  for (const record of input.records) {
    if (record.role === 'main' || record.role === 'ephemeral') continue;
    if (record.role === 'sidecar') {
      planContainer(input, record, plan);
      if (!mainsBegan && !(record.state === 'running' && input.started(record))) return false;
      continue;
    }
    if (mainsBegan || initDone(record)) continue;
    planContainer(input, record, plan);
    return false;
  }
  return true;
}

export function initDone(record: ContainerRecord): boolean {
  return record.state === 'exited' && record.exit?.code === 0;
}

/** An end in the future is a clock that was set back: nobody waits for that time to come again. */
const clockSkew = 5000;

function planContainer(input: PlanInput, record: ContainerRecord, plan: PodPlan): void {
  if (input.busy.has(record.name)) return;
  const { name } = record;
  switch (record.state) {
    case 'none':
      start(input, plan, { do: 'start', name, attempt: record.attempt, crashes: 0 });
      return;
    case 'created':
      if (record.id !== undefined) plan.actions.push({ do: 'resume', name, id: record.id });
      return;
    case 'running':
      planRunning(input, record, plan);
      return;
    case 'exited': {
      if (!restarts(input.pod, record)) return;
      const endedAt = record.exit?.at ?? 0;
      const restart = nextRestart(input.backoff, { crashes: record.crashes, startedAt: record.startedAt, endedAt });
      if (restart.at > input.now && endedAt <= input.now + clockSkew) {
        plan.backingOff.set(name, { until: restart.at, delay: restart.delay });
        wake(plan, restart.at);
        return;
      }
      start(input, plan, { do: 'start', name, attempt: record.attempt + 1, crashes: restart.crashes });
    }
  }
}

function planRunning(input: PlanInput, record: ContainerRecord, plan: PodPlan): void {
  const { name, id } = record;
  if (id === undefined) return;
  const condemned = input.condemned.get(name);
  const hash = record.container?.labels[specHashLabel];
  if (condemned !== undefined) plan.actions.push({ do: 'stop', name, id, message: condemned });
  else if (hash !== undefined && hash !== specHash(record.definition)) {
    const message = `Container ${name} definition changed, will be restarted`;
    plan.actions.push({ do: 'replace', name, id, message, attempt: record.attempt + 1, crashes: 0 });
  }
}

function start(input: PlanInput, plan: PodPlan, action: PodAction & { do: 'start' }): void {
  const hold = input.holds.get(action.name) ?? 0;
  if (hold > input.now) wake(plan, hold);
  else plan.actions.push(action);
}

function wake(plan: PodPlan, at: number): void {
  plan.wakeAt = Math.min(plan.wakeAt ?? Number.POSITIVE_INFINITY, at);
}

/** Will a container that ended be started again, in a pod that goes on? */
export function restarts(pod: Pod, record: ContainerRecord): boolean {
  if (record.role === 'sidecar') return true;
  if (record.role === 'ephemeral') return false;
  const policy = pod.spec?.restartPolicy ?? 'Always';
  if (record.role === 'init' && record.exit?.code === 0) return false;
  // An init container only ever has to succeed once, so `Always` means `OnFailure` for it.
  if (policy === 'Always') return true;
  return policy === 'OnFailure' && record.exit?.code !== 0;
}

/** https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase */
function phaseOf(pod: Pod, records: readonly ContainerRecord[], replacing: ReadonlySet<string>): PodPhase {
  const mains = records.filter(({ role }) => role === 'main');
  const began = mains.some(({ state }) => state !== 'none');
  for (const record of records) {
    if (record.role !== 'init' || began || record.state !== 'exited' || initDone(record)) continue;
    if (!restarts(pod, record)) return 'Failed';
  }
  if (mains.some(({ state, previous }) => state === 'none' || (state === 'created' && !previous))) return 'Pending';
  const runs = ({ name, state }: ContainerRecord): boolean =>
    state === 'running' || state === 'created' || replacing.has(name);
  if (mains.some((record) => runs(record) || restarts(pod, record))) return 'Running';
  return mains.every(({ exit }) => exit?.code === 0) ? 'Succeeded' : 'Failed';
}
