/** A pod's status from what is there. Pure; conditions that are as before keep their transition time. */
import type {
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  Pod,
  PodCondition,
  PodStatus,
} from '../kinds/types/core.ts';
import type { PodPhase } from './plan.ts';
import { initDone, restarts } from './plan.ts';
import { qosClassOf } from './qos.ts';
import type { ContainerRecord, RecordedExit } from './records.ts';
import { restartCountOf } from './labels.ts';

export interface StatusInput {
  pod: Pod;
  /** What the API has now. */
  current: PodStatus | undefined;
  records: readonly ContainerRecord[];
  phase: PodPhase;
  /** Ends the pod for a reason of the agent's: refused, past its deadline. Wins over `phase`. */
  verdict?: { reason: string; message: string };
  podIp: string | undefined;
  hostIp: string;
  sandboxReady: boolean;
  /** Why containers wait; a container that only backs off is in `backingOff`. */
  waiting: ReadonlyMap<string, { reason: string; message?: string }>;
  backingOff: ReadonlyMap<string, { until: number; delay: number }>;
  started: (record: ContainerRecord) => boolean;
  ready: (record: ContainerRecord) => boolean;
  /** The last lines of containers that ended badly and ask for them. */
  terminationMessages: ReadonlyMap<string, string>;
  stopping: boolean;
  now: number;
}

export function statusOf(input: StatusInput): PodStatus {
  const { pod, current, hostIp, podIp } = input;
  const inits = input.records.filter(({ role }) => role !== 'main').map((record) => containerStatus(input, record));
  const mains = input.records.filter(({ role }) => role === 'main').map((record) => containerStatus(input, record));
  const phase = input.verdict ? 'Failed' : input.phase;
  const reason = input.verdict?.reason ?? (phase === current?.phase ? current.reason : undefined);
  const message = input.verdict?.message ?? (phase === current?.phase ? current.message : undefined);
  return {
    phase,
    ...(reason !== undefined && { reason }),
    ...(message !== undefined && { message }),
    conditions: conditionsOf(input, phase, mains),
    hostIP: hostIp,
    hostIPs: [{ ip: hostIp }],
    ...(podIp && { podIP: podIp, podIPs: [{ ip: podIp }] }),
    startTime: current?.startTime ?? formatTime(input.now),
    ...(inits.length > 0 && { initContainerStatuses: inits }),
    containerStatuses: mains,
    qosClass: current?.qosClass ?? qosClassOf(pod),
  };
}

function containerStatus(input: StatusInput, record: ContainerRecord): ContainerStatus {
  const ready = isReady(input, record);
  const lastState = lastStateOf(input, record);
  const known = [...(input.current?.containerStatuses ?? []), ...(input.current?.initContainerStatuses ?? [])];
  const before = known.find(({ name }) => name === record.name);
  const container = record.container;
  const containerID = record.id ? containerIdOf(record.id) : before?.containerID;
  return {
    name: record.name,
    image: record.definition.image ?? '',
    imageID: container ? imageIdOf(container.image, container.imageDigest) : (before?.imageID ?? ''),
    ...(containerID && { containerID }),
    ready,
    started: record.state === 'running' && input.started(record),
    restartCount: record.attempt,
    state: stateOf(input, record),
    ...(lastState && { lastState }),
  };
}

/** While a pod is being deleted its probes say: services lead to it as long as nobody else is there (KEP-1669). */
function isReady(input: StatusInput, record: ContainerRecord): boolean {
  if (record.role === 'init') return initDone(record);
  const ended = input.stopping && input.pod.metadata.deletionTimestamp === undefined;
  return record.state === 'running' && !ended && input.started(record) && input.ready(record);
}

function willRestart(input: StatusInput, record: ContainerRecord): boolean {
  const over = input.stopping || input.phase === 'Succeeded' || input.phase === 'Failed';
  return !over && restarts(input.pod, record);
}

function stateOf(input: StatusInput, record: ContainerRecord): ContainerState {
  if (record.state === 'running') return { running: { startedAt: formatTime(record.startedAt ?? input.now) } };
  const backoff = input.backingOff.get(record.name);
  if (backoff) {
    const { name, namespace, uid } = input.pod.metadata;
    const pause = `back-off ${formatDelay(backoff.delay)} restarting failed`;
    const message = `${pause} container=${record.name} pod=${name}_${namespace}(${uid})`;
    return { waiting: { reason: 'CrashLoopBackOff', message } };
  }
  const waiting = input.waiting.get(record.name);
  if (waiting && (record.state !== 'exited' || willRestart(input, record))) return { waiting };
  if (record.state === 'exited') return { terminated: terminatedOf(input, record.exit, record.startedAt, record.id) };
  const initializing = record.role === 'main' && input.records.some((one) => one.role === 'init' && !initDone(one));
  return { waiting: { reason: initializing ? 'PodInitializing' : 'ContainerCreating' } };
}

function lastStateOf(input: StatusInput, record: ContainerRecord): ContainerState | undefined {
  if (record.state === 'exited' && stateOf(input, record).waiting) {
    return { terminated: terminatedOf(input, record.exit, record.startedAt, record.id) };
  }
  const { previous } = record;
  if (previous?.exit && restartCountOf(previous) < record.attempt) {
    return { terminated: terminatedOf(input, previous.exit, previous.startedAt, previous.id) };
  }
  // Older runs are not kept in the engine, and the API remembers them.
  const known = [...(input.current?.containerStatuses ?? []), ...(input.current?.initContainerStatuses ?? [])];
  const before = known.find(({ name }) => name === record.name);
  if (!before) return undefined;
  if (before.restartCount === record.attempt) return before.lastState;
  return before.state?.terminated ? { terminated: before.state.terminated } : before.lastState;
}

function terminatedOf(
  input: StatusInput,
  exit: RecordedExit | undefined,
  startedAt: number | undefined,
  id: string | undefined,
): ContainerStateTerminated {
  const code = exit?.code ?? 0;
  const message = exit?.message ?? (id === undefined ? undefined : input.terminationMessages.get(id));
  const lost = 'The container could not be located; it ended while nobody looked';
  return {
    exitCode: code,
    reason: reasonOf(exit, startedAt),
    ...(exit?.signal !== undefined && { signal: exit.signal }),
    ...(exit?.lost ? { message: lost } : message !== undefined && { message }),
    ...(startedAt !== undefined && { startedAt: formatTime(startedAt) }),
    ...(exit && exit.at > 0 && { finishedAt: formatTime(exit.at) }),
    ...(id !== undefined && { containerID: containerIdOf(id) }),
  };
}

function reasonOf(exit: RecordedExit | undefined, startedAt: number | undefined): string {
  if (exit?.lost) return 'ContainerStatusUnknown';
  // A child may have been killed, and the container have gone on to a good end.
  if (exit?.oomKilled && exit.code !== 0) return 'OOMKilled';
  if (exit?.message !== undefined && startedAt === undefined) return 'StartError';
  return (exit?.code ?? 0) === 0 ? 'Completed' : 'Error';
}

function conditionsOf(input: StatusInput, phase: string, mains: ContainerStatus[]): PodCondition[] {
  const current = input.current?.conditions ?? [];
  const over = phase === 'Succeeded' || phase === 'Failed';
  const initialized =
    input.records.every((record) => {
      if (record.role === 'init') return initDone(record);
      return record.role === 'main' || (record.state === 'running' && input.started(record));
    }) || input.records.some((record) => record.role === 'main' && record.state !== 'none');
  const uninitialized = input.records.filter((record) => record.role === 'init' && !initDone(record));
  const unready = [
    ...input.records.filter((record) => record.role === 'sidecar' && !isReady(input, record)).map(({ name }) => name),
    ...mains.filter(({ ready }) => !ready).map(({ name }) => name),
  ];
  const gates = input.pod.spec?.readinessGates ?? [];
  const closed = gates.filter(
    ({ conditionType }) => current.find(({ type }) => type === conditionType)?.status !== 'True',
  );
  const unreadiness = (): Partial<PodCondition> =>
    phase === 'Succeeded'
      ? { reason: 'PodCompleted' }
      : phase === 'Failed' && over
        ? { reason: 'PodFailed' }
        : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` };
  const containersReady = unready.length === 0 && !over;
  const wanted: [string, boolean, Partial<PodCondition>][] = [
    ['PodReadyToStartContainers', input.sandboxReady && !over, {}],
    [
      'Initialized',
      initialized || phase === 'Succeeded',
      uninitialized.length > 0
        ? {
            reason: 'ContainersNotInitialized',
            message: `containers with incomplete status: [${uninitialized.map(({ name }) => name).join(' ')}]`,
          }
        : {},
    ],
    [
      'Ready',
      containersReady && closed.length === 0,
      containersReady
        ? {
            reason: 'ReadinessGatesNotReady',
            message: closed
              .map(({ conditionType }) => `the status of pod readiness gate "${conditionType}" is not "True"`)
              .join(', '),
          }
        : unreadiness(),
    ],
    ['ContainersReady', containersReady, unreadiness()],
  ];
  const conditions = wanted.map(([type, holds, why]) => condition(current, type, holds, why, input.now));
  if (!current.some(({ type }) => type === 'PodScheduled')) {
    conditions.push(condition(current, 'PodScheduled', true, {}, input.now));
  }
  return conditions;
}

function condition(
  current: readonly PodCondition[],
  type: string,
  holds: boolean,
  why: Partial<PodCondition>,
  now: number,
): PodCondition {
  const status = holds ? 'True' : 'False';
  const before = current.find((candidate) => candidate.type === type);
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : undefined;
  return {
    type,
    status,
    lastTransitionTime: lastTransitionTime ?? formatTime(now),
    ...(!holds && why.reason !== undefined && { reason: why.reason }),
    ...(!holds && why.message !== undefined && { message: why.message }),
  };
}

export const containerIdScheme = 'sampan://';

export function containerIdOf(id: string): string {
  return `${containerIdScheme}${id}`;
}

function imageIdOf(reference: string, digest: string): string {
  if (reference.includes('@')) return reference;
  return `${reference.replace(/:[^/:]+$/, '')}@${digest}`;
}

/** Kubernetes' times have whole seconds. */
export function formatTime(time: number): string {
  return new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** As Go prints durations: `10s`, `2m40s`. */
export function formatDelay(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds % 60}s`;
}
