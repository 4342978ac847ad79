/** Tells what happens to instances: log lines of the CELL, audit events of crashes. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ContainerStateTerminated, Pod } from '#cluster/kinds/types/core.ts';
import { auditEvents } from '../resources/event-types.ts';
import { appStatus } from '../resources/instances.ts';
import { type App, apps, labels } from '../resources/types.ts';
import { indexOf } from './instance-index.ts';
import { byGuid, isReady, spaceOfNamespace } from './reading.ts';
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
  const guid = pod.metadata.labels?.[labels.app];
  const app = byGuid<App>(context.informers, apps, guid);
  const space = spaceOfNamespace(context.informers, pod.metadata.namespace ?? '');
  if (!app || !space) return;
  // A pod shows its last end for as long as it lives: one of long ago was told, and its event may have been swept since.
  if (context.now() - Date.parse(crash.ended.finishedAt ?? '') > TELL_MILLISECONDS) return;
  const end = describeEnd(crash.ended);
  const { reason } = end;
  const description = crash.sidecar === undefined ? end.description : `Sidecar ${crash.sidecar}: ${end.description}`;
  const index = indexOf(pod) ?? 0;
  const type = pod.metadata.labels?.[labels.processType] ?? 'web';
  try {
    await context.informers.client.create(auditEvents, {
      metadata: {
        name: ['crash', podUid, crash.sidecar, crash.count].filter((part) => part !== undefined).join('-'),
        namespace: pod.metadata.namespace ?? '',
        labels: { [labels.app]: app.metadata.name },
      },
      spec: {
        type: 'audit.app.process.crash',
        actor: { guid: pod.metadata.labels?.[labels.process] ?? '', type: 'process', name: type },
        target: { guid: app.metadata.name, type: 'app', name: app.spec.displayName },
        space: space.metadata.name,
        organization: space.spec.organization,
        data: {
          instance: podUid,
          index,
          cell_id: pod.spec?.nodeName ?? '',
          exit_status: crash.ended.exitCode,
          exit_description: description,
          reason,
          crash_count: crash.count,
          crash_timestamp: crash.ended.finishedAt ?? null,
        },
        createdAt: new Date(context.now()).toISOString(),
      },
    });
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'AlreadyExists') return;
    throw error;
  }
  const tail = await lastLines(context, pod, crash.sidecar);
  context.logs.emit({
    sourceId: app.metadata.name,
    sourceType: 'CELL',
    instanceId: String(index),
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
