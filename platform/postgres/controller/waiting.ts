/** Why a database is not there yet, in the words that its users see. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { events } from '#cluster/kinds/resources.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { storageOf, TEMPLATE } from '../objects.ts';
import { NAMESPACE, type Plan } from '../postgres.ts';
import type { PostgresContext, Watches } from './context.ts';

/** Undefined: its pod is ready and runs what is wanted, on a volume of the wanted size. */
export async function whyWaiting(
  context: PostgresContext,
  watches: Watches,
  wanted: { database: string; plan: Plan; template: string },
): Promise<string | undefined> {
  const pod = watches.pods.get(`${wanted.database}-0`, NAMESPACE);
  if (pod === undefined) return 'waiting for its pod';
  if (pod.metadata.deletionTimestamp !== undefined) return 'its server stops';
  if (pod.metadata.annotations?.[TEMPLATE] !== wanted.template) return 'its server is about to start anew';
  if (!isReady(pod)) return (await trouble(context, pod)) ?? 'its server starts';
  const size = watches.claims.get(wanted.database, NAMESPACE)?.status?.capacity?.['storage'];
  return size === storageOf(wanted.plan) ? undefined : `its volume grows to ${wanted.plan.diskMb} MB`;
}

/** How often a server of what is wanted has ended by itself. */
export function crashesOf(watches: Watches, wanted: { database: string; template: string }): number {
  const pod = watches.pods.get(`${wanted.database}-0`, NAMESPACE);
  if (pod?.metadata.annotations?.[TEMPLATE] !== wanted.template) return 0;
  return pod.status?.containerStatuses?.[0]?.restartCount ?? 0;
}

export function isReady({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
}

async function trouble(context: PostgresContext, pod: Stored<Pod>): Promise<string | undefined> {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') return `no node takes it: ${scheduled.message ?? scheduled.reason ?? ''}`;
  const [container] = pod.status?.containerStatuses ?? [];
  const ended = container?.lastState?.terminated;
  if (ended) {
    const words = ended.message?.trim().split('\n').slice(-3).join('; ') ?? '';
    return `its server ended with status ${ended.exitCode} (${ended.reason ?? 'no reason'}) and starts again: ${words}`;
  }
  const { waiting } = container?.state ?? {};
  if (waiting?.message) return `${waiting.reason ?? 'waiting'}: ${waiting.message}`;
  if (container?.state?.running) return undefined;
  const { items } = await context.client.list(events, {
    namespace: NAMESPACE,
    fieldSelector: `involvedObject.uid=${pod.metadata.uid},type=Warning`,
  });
  return items.at(-1)?.message;
}
