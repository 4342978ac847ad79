/** Audit events of what happens to instances of apps, each once: its name says which, and a second one cannot be made. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { auditEvents } from '../resources/event-types.ts';
import { type App, apps, labels } from '../resources/types.ts';
import { indexOf } from './instance-index.ts';
import { byGuid, isReady, spaceOfNamespace } from './reading.ts';
import type { WorkloadContext } from './workloads.ts';

export interface InstanceEvent {
  /** Of the event: the same happening has the same. */
  name: string;
  type: string;
  data: Record<string, unknown>;
}

/** Whose it was told of; undefined where it was told before, or of nobody. */
export async function recordInstanceEvent(
  context: WorkloadContext,
  pod: Stored<Pod>,
  event: InstanceEvent,
): Promise<Stored<App> | undefined> {
  const app = byGuid<App>(context.informers, apps, pod.metadata.labels?.[labels.app]);
  const namespace = pod.metadata.namespace ?? '';
  const space = spaceOfNamespace(context.informers, namespace);
  if (!app || !space) return undefined;
  const actor = pod.metadata.labels?.[labels.process] ?? '';
  try {
    await context.informers.client.create(auditEvents, {
      metadata: { name: event.name, namespace, labels: { [labels.app]: app.metadata.name } },
      spec: {
        type: event.type,
        actor: { guid: actor, type: 'process', name: pod.metadata.labels?.[labels.processType] ?? 'web' },
        target: { guid: app.metadata.name, type: 'app', name: app.spec.displayName },
        space: space.metadata.name,
        organization: space.spec.organization,
        data: {
          instance: pod.metadata.uid,
          index: indexOf(pod) ?? 0,
          cell_id: pod.spec?.nodeName ?? '',
          ...event.data,
        },
        createdAt: new Date(context.now()).toISOString(),
      },
    });
    return app;
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'AlreadyExists') return undefined;
    throw error;
  }
}

/** Whether an instance with a readiness check wants requests now and did not before, or the other way round. One that leaves says nothing. */
export function changesReadiness(now: Stored<Pod>, old: Stored<Pod> | undefined): boolean {
  if (!old || now.metadata.deletionTimestamp !== undefined) return false;
  return now.spec?.containers[0]?.readinessProbe !== undefined && isReady(now) !== isReady(old);
}

/** What is missed while nobody looks is not made up later. */
export async function recordReadiness(context: WorkloadContext, pod: Stored<Pod>): Promise<void> {
  const ready = isReady(pod);
  await recordInstanceEvent(context, pod, {
    name: `readiness-${pod.metadata.uid}-${pod.metadata.resourceVersion}`,
    type: `audit.app.process.${ready ? 'ready' : 'not-ready'}`,
    data: { ready },
  });
}
