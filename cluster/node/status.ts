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
import { allStatuses, type ContainerRecord, type ContainerRole, type RecordedExit } from './records.ts';
import { restartCountOf } from './labels.ts';

export interface StatusInput {
  pod: Pod;
  /** What the API has now. */
  current: PodStatus | undefined;
  records: readonly ContainerRecord[];
  phase: PodPhase;
  /** Ends the pod for a reason of the agent's: refused, past its deadline. Wins over `phase`. */
  verdict?: { reason: string; message: string };
  /** One of each family, as the host's. */
  podIps: readonly string[];
  hostIps: readonly string[];
  sandboxReady: boolean;
  /** Why containers wait; a container that only backs off is in `backingOff`. */
  waiting: ReadonlyMap<string, { reason: string; message?: string }>;
  backingOff: ReadonlyMap<string, { until: number; delay: number }>;
  /** Containers that give way to newer definitions of theirs: till those run they are shown as they were, as by a kubelet. */
  replacing: ReadonlySet<string>;
  started: (record: ContainerRecord) => boolean;
  ready: (record: ContainerRecord) => boolean;
  /** The last lines of containers that ended badly and ask for them. */
  terminationMessages: ReadonlyMap<string, string>;
  stopping: boolean;
  /** Nothing of it runs. */
  down: boolean;
  /** Why the node takes it away. */
  evicted?: string;
  now: number;
}

export function statusOf(input: StatusInput): PodStatus {
  const { pod, current, hostIps, podIps } = input;
  const statusesOf = (...roles: ContainerRole[]): ContainerStatus[] =>
    input.records.filter(({ role }) => roles.includes(role)).map((record) => containerStatus(input, record));
  const inits = statusesOf('init', 'sidecar');
  const mains = statusesOf('main');
  const ephemeral = statusesOf('ephemeral');
  const end = input.verdict ? 'Failed' : input.phase;
  // Whoever waits for its end takes its place: it has not ended while anything of it runs.
  const held = isOver(end) && !input.down && !isOver(current?.phase);
  const phase = held ? (current?.phase ?? 'Pending') : end;
  const verdict = held ? undefined : input.verdict;
  const reason = verdict?.reason ?? (phase === current?.phase ? current.reason : undefined);
  const message = verdict?.message ?? (phase === current?.phase ? current.message : undefined);
  // Of a pod that ends before any container was made there is nothing to tell but why: kubectl shows that.
  const unseen =
    isOver(phase) && allStatuses(current).length === 0 && input.records.every(({ id }) => id === undefined);
  return {
    phase,
    ...(reason !== undefined && { reason }),
    ...(message !== undefined && { message }),
    conditions: conditionsOf(input, end, mains),
    hostIP: hostIps[0] ?? '',
    hostIPs: hostIps.map((ip) => ({ ip })),
    ...(podIps[0] && { podIP: podIps[0], podIPs: podIps.map((ip) => ({ ip })) }),
    startTime: current?.startTime ?? formatTime(input.now),
    ...(inits.length > 0 && !unseen && { initContainerStatuses: inits }),
    ...(!unseen && { containerStatuses: mains }),
    ...(ephemeral.length > 0 && { ephemeralContainerStatuses: ephemeral }),
    qosClass: current?.qosClass ?? qosClassOf(pod),
  };
}

function isOver(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

function containerStatus(input: StatusInput, record: ContainerRecord): ContainerStatus {
  const before = statusBefore(input, record);
  if (before && isHeld(input, record)) return before;
  const ready = isReady(input, record);
  const lastState = lastStateOf(input, record);
  const container = record.container;
  const containerID = record.id ? containerIdOf(record.id) : before?.containerID;
  return {
    name: record.name,
    image: container?.image ?? record.definition.image ?? '',
    imageID: container ? imageIdOf(container.image, container.imageDigest) : (before?.imageID ?? ''),
    ...(containerID && { containerID }),
    ready,
    ...(record.role !== 'ephemeral' && { started: record.state === 'running' && input.started(record) }),
    restartCount: record.attempt,
    state: stateOf(input, record),
    ...(lastState && { lastState }),
  };
}

function statusBefore({ current }: StatusInput, record: ContainerRecord): ContainerStatus | undefined {
  return allStatuses(current).find(({ name }) => name === record.name);
}

function isHeld({ replacing, waiting, stopping }: StatusInput, { name, state }: ContainerRecord): boolean {
  return replacing.has(name) && state !== 'running' && !waiting.has(name) && !stopping;
}

/** While a pod is being deleted its probes say: services lead to it as long as nobody else is there (KEP-1669). */
function isReady(input: StatusInput, record: ContainerRecord): boolean {
  if (isHeld(input, record)) return statusBefore(input, record)?.ready ?? false;
  if (record.role === 'init') return initDone(record);
  // Nobody asks it whether it is ready.
  if (record.role === 'ephemeral') return false;
  const ended = input.stopping && input.pod.metadata.deletionTimestamp === undefined;
  return record.state === 'running' && !ended && input.started(record) && input.ready(record);
}

function willRestart(input: StatusInput, record: ContainerRecord): boolean {
  return !input.stopping && !isOver(input.phase) && restarts(input.pod, record);
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
  // Of any of its containers, and as long as that one is not there, as a kubelet says it.
  const initializes = (input.pod.spec?.initContainers ?? []).length > 0;
  return { waiting: { reason: initializes ? 'PodInitializing' : 'ContainerCreating' } };
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
  const before = statusBefore(input, record);
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
  const message = exit?.message ?? exit?.lastWords ?? (id === undefined ? undefined : lastLines(input, id));
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

/** As read from its log; an agent that was restarted meanwhile finds them in the API. */
function lastLines(input: StatusInput, id: string): string | undefined {
  const read = input.terminationMessages.get(id);
  if (read !== undefined) return read;
  const states = allStatuses(input.current).flatMap(({ state, lastState }) => [
    state?.terminated,
    lastState?.terminated,
  ]);
  return states.find((terminated) => terminated?.containerID === containerIdOf(id))?.message;
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
  const over = isOver(phase);
  const initialized =
    input.records.every((record) => {
      if (record.role === 'init') return initDone(record);
      return record.role !== 'sidecar' || (record.state === 'running' && input.started(record));
    }) || input.records.some((record) => record.role === 'main' && record.state !== 'none');
  const uninitialized = input.records.filter(
    (record) =>
      (record.role === 'init' && !initDone(record)) ||
      (record.role === 'sidecar' && !(record.state === 'running' && input.started(record))),
  );
  const unready = [
    ...input.records.filter((record) => record.role === 'sidecar' && !isReady(input, record)).map(({ name }) => name),
    ...mains.filter(({ ready }) => !ready).map(({ name }) => name),
  ];
  const gates = input.pod.spec?.readinessGates ?? [];
  const closed = gates.flatMap(({ conditionType }) => closedGate(current, conditionType));
  const unreadiness = (): Partial<PodCondition> =>
    phase === 'Succeeded'
      ? { reason: 'PodCompleted' }
      : phase === 'Failed'
        ? { reason: 'PodFailed' }
        : { reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` };
  const containersReady = unready.length === 0 && !over;
  const wanted: [string, boolean, Partial<PodCondition>][] = [
    ['PodReadyToStartContainers', input.sandboxReady && !over, {}],
    [
      'Initialized',
      initialized || phase === 'Succeeded',
      uninitialized.length > 0 && !initialized
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
            message: closed.join(', '),
          }
        : unreadiness(),
    ],
    ['ContainersReady', containersReady, unreadiness()],
  ];
  const conditions = wanted.map(([type, holds, why]) => condition(current, type, holds, why, input.now));
  if (input.evicted !== undefined) {
    const why = { reason: 'TerminationByKubelet', message: input.evicted };
    conditions.push({ ...condition(current, 'DisruptionTarget', true, {}, input.now), ...why });
  }
  if (!current.some(({ type }) => type === 'PodScheduled')) {
    conditions.push(condition(current, 'PodScheduled', true, {}, input.now));
  }
  return conditions;
}

/** What keeps a readiness gate closed, in upstream's words; nothing where it is open. */
function closedGate(current: readonly PodCondition[], gate: string): string[] {
  const found = current.find(({ type }) => type === gate);
  if (!found) return [`corresponding condition of pod readiness gate "${gate}" does not exist.`];
  if (found.status === 'True') return [];
  return [`the status of pod readiness gate "${gate}" is not "True", but ${found.status}`];
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
