/** What is said of a database, and of the operation that was asked for. */
import { isDeepStrictEqual } from 'node:util';
import { ApiError } from '#cluster/client/client.ts';
import { NAMESPACE } from '../postgres.ts';
import { postgresDatabases } from '../resource.ts';
import type { Database, PostgresContext } from './context.ts';

type Status = NonNullable<Database['status']>;

/** Merged into what is there; nothing is written where it is so already. The own copy has it when it resolves. */
export async function writeStatus(
  context: PostgresContext,
  database: Database,
  change: Partial<Status>,
): Promise<void> {
  const { name, uid } = database.metadata;
  const known = context.databases.get(name, NAMESPACE)?.status ?? {};
  if (isDeepStrictEqual({ ...known, ...change }, known)) return;
  try {
    const stored = await context.client.patch(
      postgresDatabases,
      name,
      { type: 'merge', body: { metadata: { uid }, status: change } },
      { namespace: NAMESPACE, subresource: 'status' },
    );
    const waiting = AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]);
    await context.databases.reached(stored.metadata.resourceVersion, waiting);
  } catch (error) {
    // It was deleted, or another has its name: nobody is left to be told.
    if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
  }
}

/** Of the operation in `spec`. */
export function isUnderWay({ spec, status }: Database): boolean {
  return status?.operation?.id !== spec.operation.id || status.operation.state === 'in progress';
}

export async function tell(
  context: PostgresContext,
  database: Database,
  state: NonNullable<Status['operation']>['state'],
  description: string,
): Promise<void> {
  const { id, kind } = database.spec.operation;
  if (state === 'failed') {
    const { name } = database.metadata;
    context.log('warn', 'An operation on a PostgreSQL database failed', { database: name, kind, description });
  }
  await writeStatus(context, database, { operation: { id, state, description } });
}
