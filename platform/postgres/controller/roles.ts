/** Brings the server's roles to what bindings there are. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '#cluster/kinds/resources.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import { ApiError } from '#cluster/client/client.ts';
import { FINALIZER, READY } from '../bindings.ts';
import { secretText } from '../../resources/secrets.ts';
import { NAMESPACE } from '../postgres.ts';
import type { Session } from '../session.ts';
import { createBinding, dropBinding } from '../sql.ts';
import { bindingsOf, type PostgresContext, type Watches } from './context.ts';

export async function syncRoles(
  context: PostgresContext,
  watches: Watches,
  server: { database: string; session: Session; roles: readonly string[] },
): Promise<void> {
  const { database, session } = server;
  const bindings = bindingsOf(watches, database);
  const there = new Set(server.roles);
  for (const binding of bindings) {
    const role = secretText(binding, 'role');
    const known = there.delete(role);
    if (binding.metadata.deletionTimestamp !== undefined) {
      if (known) await dropBinding(session, role);
      await release(context, watches, binding);
    } else if (!known || binding.metadata.annotations?.[READY] === undefined) {
      await createBinding(session, role, secretText(binding, 'password'));
      await patch(context, watches, binding, { annotations: { [READY]: 'true' } });
    }
  }
  // Of bindings that are gone by another way.
  for (const role of there) await dropBinding(session, role);
}

/** There is no role of it any more. */
export async function release(context: PostgresContext, watches: Watches, binding: Stored<Secret>): Promise<void> {
  const finalizers = (binding.metadata.finalizers ?? []).filter((one) => one !== FINALIZER);
  if (finalizers.length === binding.metadata.finalizers?.length) return;
  await patch(context, watches, binding, { finalizers });
}

async function patch(
  context: PostgresContext,
  watches: Watches,
  { metadata: { name, uid } }: Stored<Secret>,
  metadata: Secret['metadata'],
): Promise<void> {
  try {
    const body = { metadata: { uid, ...metadata } };
    const stored = await context.client.patch(secrets, name, { type: 'merge', body }, { namespace: NAMESPACE });
    const waiting = AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]);
    await watches.bindings.reached(stored.metadata.resourceVersion, waiting);
  } catch (error) {
    if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}
