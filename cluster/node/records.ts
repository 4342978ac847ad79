/**
 * What is known of each container that a pod's spec names: from the engine where it is there, else from the status that
 * was written to the API before the sandbox was lost (a reboot takes sandboxes, the API remembers).
 */
import { createHash } from 'node:crypto';
import type { Container } from '#engine/engine.ts';
import type { Container as ContainerDefinition, ContainerStatus, Pod, PodStatus } from '../kinds/types/core.ts';
import { containerNameLabel, crashesOf, restartCountOf } from './labels.ts';

/** `ephemeral`: added to a pod that runs, for a look at it; nothing of the pod depends on it. */
export type ContainerRole = 'init' | 'sidecar' | 'main' | 'ephemeral';

export interface RecordedExit {
  code: number;
  signal?: number;
  oomKilled: boolean;
  /** Milliseconds since the epoch. */
  at: number;
  message?: string;
  lastWords?: string;
  /** It ran when it was last seen, and is not there any more. */
  lost?: true;
}

export interface ContainerRecord {
  name: string;
  role: ContainerRole;
  definition: ContainerDefinition;
  state: 'none' | 'created' | 'running' | 'exited';
  /** Restart count of the newest run; of the coming one where the state is `none`. */
  attempt: number;
  crashes: number;
  id?: string;
  startedAt?: number;
  exit?: RecordedExit;
  /** The newest container in the engine, and the one before it. */
  container?: Container;
  previous?: Container;
}

/** `containers` are those of the pod's sandbox. */
export function recordsOf(pod: Pod, containers: readonly Container[], sandboxPresent: boolean): ContainerRecord[] {
  const spec = pod.spec;
  const records: ContainerRecord[] = [];
  const add = (definition: ContainerDefinition, role: ContainerRole, statuses: ContainerStatus[] | undefined): void => {
    const runs = containers
      .filter((container) => container.labels[containerNameLabel] === definition.name)
      .sort((a, b) => restartCountOf(b) - restartCountOf(a) || b.createdAt - a.createdAt);
    const status = statuses?.find((candidate) => candidate.name === definition.name);
    records.push(
      runs[0] ? fromEngine(definition, role, runs[0], runs[1]) : fromStatus(definition, role, status, sandboxPresent),
    );
  };
  for (const definition of spec?.initContainers ?? []) {
    const role = definition.restartPolicy === 'Always' ? 'sidecar' : 'init';
    add(definition, role, pod.status?.initContainerStatuses);
  }
  for (const definition of spec?.containers ?? []) add(definition, 'main', pod.status?.containerStatuses);
  for (const definition of spec?.ephemeralContainers ?? [])
    add(definition, 'ephemeral', pod.status?.ephemeralContainerStatuses);
  return records;
}

function fromEngine(
  definition: ContainerDefinition,
  role: ContainerRole,
  container: Container,
  previous: Container | undefined,
): ContainerRecord {
  return {
    name: definition.name,
    role,
    definition,
    state: container.state,
    attempt: restartCountOf(container),
    crashes: crashesOf(container),
    id: container.id,
    ...(container.startedAt !== undefined && { startedAt: container.startedAt }),
    ...(container.exit && { exit: container.exit }),
    container,
    ...(previous && { previous }),
  };
}

function fromStatus(
  definition: ContainerDefinition,
  role: ContainerRole,
  status: ContainerStatus | undefined,
  sandboxPresent: boolean,
): ContainerRecord {
  const fresh = { name: definition.name, role, definition, crashes: 0 } as const;
  const ended = status?.state?.terminated ?? (status?.state?.waiting ? status.lastState?.terminated : undefined);
  const running = status?.state?.running;
  if (!status || (!ended && !running)) return { ...fresh, state: 'none', attempt: status?.restartCount ?? 0 };
  // A new sandbox needs its initialization again, whatever happened in the old one.
  if (role === 'init' || (role === 'sidecar' && !sandboxPresent)) {
    // Where it waits, the count was raised already.
    return { ...fresh, state: 'none', attempt: status.restartCount + (status.state?.waiting ? 0 : 1) };
  }
  const startedAt = parseTime(ended?.startedAt ?? running?.startedAt);
  const exit: RecordedExit = ended
    ? { code: ended.exitCode, oomKilled: ended.reason === 'OOMKilled', at: parseTime(ended.finishedAt) ?? 0 }
    : { code: 137, oomKilled: false, at: 0, lost: true };
  return {
    ...fresh,
    state: 'exited',
    attempt: status.restartCount,
    exit,
    ...(startedAt !== undefined && { startedAt }),
  };
}

/** Of every container of the pod, whatever its role. */
export function allStatuses(status: PodStatus | undefined): ContainerStatus[] {
  const { containerStatuses = [], initContainerStatuses = [], ephemeralContainerStatuses = [] } = status ?? {};
  return [...containerStatuses, ...initContainerStatuses, ...ephemeralContainerStatuses];
}

/** Of every container of the pod, whatever its role. */
export function allDefinitions({ spec }: Pod): ContainerDefinition[] {
  return [...(spec?.initContainers ?? []), ...(spec?.containers ?? []), ...(spec?.ephemeralContainers ?? [])];
}

function parseTime(text: string | undefined): number | undefined {
  const time = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}

/** Changes when the container must be made anew. What can change in place is not part of it. */
export function specHash(definition: ContainerDefinition): string {
  const { resources: _resources, resizePolicy: _resizePolicy, ...rest } = definition;
  return createHash('sha256').update(canonical(rest)).digest('hex').slice(0, 16);
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`;
}
