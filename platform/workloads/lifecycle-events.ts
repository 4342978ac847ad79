/** Tells what happens to instances: log lines of the CELL, audit events of crashes. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ContainerStateTerminated, Pod } from '#cluster/kinds/types/core.ts';
import { appStatus } from '../resources/instances.ts';
import { labels } from '../resources/types.ts';
import { recordInstanceEvent } from './instance-events.ts';
import { indexOf } from './instance-index.ts';
import { isReady } from './reading.ts';
import type { WorkloadContext } from './workloads.ts';

const TAIL_LINES = 5;
const TELL_MILLISECONDS = 24 * 3600 * 1000;

/** From one state of a pod to the next. Lines for people; what is missed while nobody looks is not made up later. */
export function tellChange(context: WorkloadContext, now: Stored<Pod> | undefined, old: Stored<Pod> | undefined): void {
  const pod = now ?? old;
  const app = pod?.metadata.labels?.[labels.app];
  if (!pod || app === undefined) return;
  const say = (message: string, type: 'OUT' | 'ERR' = 'OUT') =>
    context.logs.emit({
      sourceId: app,
      sourceType: 'CELL',
      instanceId: String(indexOf(pod) ?? 0),
      type,
      message,
    });
  const node = pod.spec?.nodeName ?? '';
  const instance = pod.metadata.uid;
  if (!now) {
    if (old?.spec?.nodeName) say(`Cell ${node} destroyed container for instance ${instance}`);
    return;
  }
  if (!old) return;
  if (node !== '' && !old.spec?.nodeName) say(`Cell ${node} creating container for instance ${instance}`);
  const running = (candidate: Pod) => appStatus(candidate)?.state?.running !== undefined;
  if (running(now) && !running(old)) say(`Cell ${node} successfully created container for instance ${instance}`);
  if (isReady(now) && !isReady(old)) say('Container became healthy');
  if (now.metadata.deletionTimestamp !== undefined && old.metadata.deletionTimestamp === undefined) {
    say(`Cell ${node} stopping instance ${instance}`);
  }
}

export interface Crash {
  /** Name of a sidecar; absent: the app's own container. */
  sidecar?: string;
  count: number;
  ended: ContainerStateTerminated;
}

/** The ends of containers that the pod shows, if they were no stops of ours. */
export function crashesOf(pod: Stored<Pod>): Crash[] {
  if (pod.metadata.deletionTimestamp !== undefined) return [];
  return (pod.status?.containerStatuses ?? []).flatMap((status) => {
    const { state, lastState, restartCount } = status;
    const ended = state?.terminated ?? (restartCount > 0 ? lastState?.terminated : undefined);
    if (!ended) return [];
    const count = state?.terminated ? restartCount + 1 : restartCount;
    return [{ ...(status.name === pod.spec?.containers[0]?.name ? {} : { sidecar: status.name }), count, ended }];
  });
}

export function describeEnd(ended: ContainerStateTerminated): { reason: string; description: string } {
  const signal = ended.signal ?? (ended.exitCode > 128 ? ended.exitCode - 128 : 0);
  if (ended.reason === 'OOMKilled') {
    return { reason: 'OOM', description: `Exited with status ${ended.exitCode} (out of memory)` };
  }
  const by = signal > 0 ? ` (signal ${signal})` : '';
  return { reason: 'CRASHED', description: `Exited with status ${ended.exitCode}${by}` };
}

/** Once for each container and count: the event's name says which, and a second one cannot be made. */
export async function recordCrashes(context: WorkloadContext, podUid: string, pod: Stored<Pod>): Promise<void> {
  for (const crash of crashesOf(pod)) await recordCrash(context, { podUid, pod, crash });
}

async function recordCrash(
  context: WorkloadContext,
  { podUid, pod, crash }: { podUid: string; pod: Stored<Pod>; crash: Crash },
): Promise<void> {
  // A pod shows its last end for as long as it lives: one of long ago was told, and its event may have been swept since.
  if (context.now() - Date.parse(crash.ended.finishedAt ?? '') > TELL_MILLISECONDS) return;
  const { reason, description: said } = describeEnd(crash.ended);
  const description = crash.sidecar === undefined ? said : `Sidecar ${crash.sidecar}: ${said}`;
  const app = await recordInstanceEvent(context, pod, {
    name: ['crash', podUid, crash.sidecar, crash.count].filter((part) => part !== undefined).join('-'),
    type: 'audit.app.process.crash',
    data: {
      exit_status: crash.ended.exitCode,
      exit_description: description,
      reason,
      crash_count: crash.count,
      crash_timestamp: crash.ended.finishedAt ?? null,
    },
  });
  if (!app) return;
  const tail = await lastLines(context, pod, crash.sidecar);
  context.logs.emit({
    sourceId: app.metadata.name,
    sourceType: 'CELL',
    instanceId: String(indexOf(pod) ?? 0),
    type: 'ERR',
    message: `Instance ${podUid} ${description.charAt(0).toLowerCase()}${description.slice(1)}${tail === '' ? '' : `; its last lines: ${tail}`}`,
  });
}

async function lastLines(context: WorkloadContext, pod: Stored<Pod>, sidecar: string | undefined): Promise<string> {
  const container = sidecar ?? pod.spec?.containers[0]?.name;
  try {
    const status = pod.status?.containerStatuses?.find(({ name }) => name === container);
    const running = status?.state?.running !== undefined;
    const log = await context.informers.client.podLog(
      { name: pod.metadata.name, namespace: pod.metadata.namespace ?? '' },
      {
        ...(container === undefined ? {} : { container }),
        tailLines: TAIL_LINES,
        previous: running,
        signal: AbortSignal.any([context.signal, AbortSignal.timeout(3_000)]),
      },
    );
    const chunks: Buffer[] = [];
    for await (const chunk of log) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks).toString().trim().split('\n').slice(-TAIL_LINES).join(' | ').slice(0, 1_000);
  } catch {
    return ''; // the lines are in the app's own log; here they are a convenience
  }
}
