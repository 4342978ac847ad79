/**
 * What is used of memory, by whom: processes of started apps, tasks and builds. Pure: what the objects say now, and which event
 * follows from it and from the last event of the same subject.
 */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { AppUsageEvent } from '../../resources/event-types.ts';
import type { App, Build, Process, Space, Task } from '../../resources/types.ts';

export type AppUsage = AppUsageEvent['spec'];

/** What an event tells besides what changed. */
interface Place {
  app: Stored<App>;
  space: Stored<Space>;
}

function placeOf({ app, space }: Place): Pick<AppUsage, 'app' | 'space' | 'organization'> {
  return {
    app: { guid: app.metadata.name, name: app.spec.displayName },
    space: { guid: space.metadata.name, name: space.spec.displayName },
    organization: space.spec.organization,
  };
}

export function ofProcess(process: Stored<Process>, place: Place, buildpack: string | undefined): AppUsage {
  const { instances, memoryMb, type } = process.spec;
  const { state } = place.app.spec;
  return {
    ...placeOf(place),
    subject: process.metadata.name,
    state,
    previousState: null,
    process: { guid: process.metadata.name, type },
    ...(buildpack === undefined ? {} : { buildpack }),
    instances,
    previousInstances: null,
    memoryMb,
    previousMemoryMb: null,
  };
}

export function ofTask(task: Stored<Task>, place: Place): AppUsage {
  const { displayName, memoryMb } = task.spec;
  const ended = ['SUCCEEDED', 'FAILED'].includes(task.status?.state ?? 'PENDING');
  return {
    ...placeOf(place),
    subject: task.metadata.name,
    state: ended ? 'TASK_STOPPED' : 'TASK_STARTED',
    previousState: null,
    task: { guid: task.metadata.name, name: displayName },
    instances: 1,
    previousInstances: 1,
    memoryMb,
    previousMemoryMb: memoryMb,
  };
}

export function ofBuild(build: Stored<Build>, place: Place): AppUsage {
  const { memoryMb } = build.spec;
  const staging = (build.status?.state ?? 'STAGING') === 'STAGING';
  return {
    ...placeOf(place),
    subject: build.metadata.name,
    state: staging ? 'STAGING_STARTED' : 'STAGING_STOPPED',
    previousState: null,
    instances: 1,
    previousInstances: 1,
    memoryMb,
    previousMemoryMb: memoryMb,
  };
}

const ENDS: Partial<Record<AppUsage['state'], AppUsage['state']>> = {
  STARTED: 'STOPPED',
  TASK_STARTED: 'TASK_STOPPED',
  STAGING_STARTED: 'STAGING_STOPPED',
};

/** Something is used from this event on, until another one says otherwise. */
export function isOpen({ state }: AppUsage): boolean {
  return ENDS[state] !== undefined;
}

/** The event that brings the record from `last` to `now`; undefined where they say the same. */
export function following(last: AppUsage | undefined, now: AppUsage): AppUsage | undefined {
  const before = last !== undefined && isOpen(last);
  const after = isOpen(now);
  const same = last?.instances === now.instances && last.memoryMb === now.memoryMb;
  if (before === after && (!after || same)) return undefined;
  const previousState = last?.state ?? (now.process ? 'STOPPED' : null);
  return {
    ...now,
    previousState,
    previousInstances: last?.instances ?? now.instances,
    previousMemoryMb: last?.memoryMb ?? now.memoryMb,
  };
}

/** When what the last event tells of is gone. */
export function closing(last: AppUsage | undefined): AppUsage | undefined {
  const state = last && ENDS[last.state];
  if (last === undefined || state === undefined) return undefined;
  return {
    ...last,
    state,
    previousState: last.state,
    previousInstances: last.instances,
    previousMemoryMb: last.memoryMb,
  };
}

/** Of a record that begins anew: what is used already was so before. */
export function seeded(now: AppUsage): AppUsage {
  return { ...now, previousState: now.state, previousInstances: now.instances, previousMemoryMb: now.memoryMb };
}
