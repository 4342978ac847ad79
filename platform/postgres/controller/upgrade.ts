/** The way back from an upgrade that fails: what a database ran before, it runs again. */
import { orUndefined } from '#cluster/client/api-errors.ts';
import { pods } from '#cluster/kinds/resources.ts';
import { TEMPLATE } from '../objects.ts';
import { NAMESPACE } from '../postgres.ts';
import { postgresDatabases } from '../resource.ts';
import type { Database, PostgresContext, Watches } from './context.ts';
import { writeStatus } from './status.ts';
import { crashesOf, isReady } from './waiting.ts';

/** A server that has ended so often with a new image does not come by waiting; its apps wait too. */
const MOST_CRASHES = 4;

/** It is being upgraded, and its new server dies again and again. */
export function isHopeless(watches: Watches, wanted: { database: Database; template: string }): boolean {
  const { metadata, status } = wanted.database;
  if (!status?.previous) return false;
  return crashesOf(watches, { database: metadata.name, template: wanted.template }) >= MOST_CRASHES;
}

/** The operation that upgraded it has failed, and it has not yet what it had before. */
export function isToGoBack({ metadata, spec, status }: Database): boolean {
  const { previous, operation } = status ?? {};
  const failed = operation?.state === 'failed' && operation.id === spec.operation.id;
  return failed && Boolean(previous) && metadata.deletionTimestamp === undefined;
}

/** Broken off anywhere, it is done again: what it goes back to is forgotten last. */
export async function goBack(context: PostgresContext, database: Database): Promise<void> {
  const { previous } = database.status ?? {};
  if (!previous) return;
  const { name, uid, resourceVersion } = database.metadata;
  if (database.spec.version !== previous.version) {
    // Whoever has asked for something else meanwhile is first.
    const body = { metadata: { uid, resourceVersion }, spec: { version: previous.version } };
    const stored = await context.client.patch(
      postgresDatabases,
      name,
      { type: 'merge', body },
      { namespace: NAMESPACE },
    );
    await context.databases.reached(stored.metadata.resourceVersion, context.signal);
  }
  await writeStatus(context, database, { ...previous, previous: null });
}

/** A pod that is not what is wanted, and not ready, would hold up the one after it: the controller of StatefulSets waits for it. */
export async function clearTheWay(
  context: PostgresContext,
  watches: Watches,
  wanted: { database: string; template: string },
): Promise<void> {
  const pod = watches.pods.get(`${wanted.database}-0`, NAMESPACE);
  if (pod === undefined || pod.metadata.deletionTimestamp !== undefined || isReady(pod)) return;
  if (pod.metadata.annotations?.[TEMPLATE] === wanted.template) return;
  const { name, uid } = pod.metadata;
  // Gone already, or another has its name.
  await orUndefined(context.client.delete(pods, name, { namespace: NAMESPACE, preconditions: { uid } }), 404, 409);
}
