/** Environment variables of an app (`env-<app guid>`) and of its revisions (`env-<revision guid>`): Secrets, one key each. */
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { type App, labels } from '../../resources/types.ts';
import type { Context } from '../api.ts';
import { ownedBy } from '../records.ts';

export type Environment = Record<string, string>;

export function environmentName(guid: string): string {
  return `env-${guid}`;
}

/** Of an app or a revision; empty when there is none. */
export async function readEnvironment(client: Client, namespace: string, guid: string): Promise<Environment> {
  try {
    const secret = await client.get(secrets, environmentName(guid), namespace);
    return Object.fromEntries(
      Object.entries(secret.data ?? {}).map(([name, value]) => [name, Buffer.from(value, 'base64').toString()]),
    );
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return {};
    throw error;
  }
}

/** Replaces it whole. */
export async function writeEnvironment(
  context: Pick<Context, 'client'>,
  app: Stored<App>,
  guid: string,
  environment: Environment,
): Promise<void> {
  const namespace = app.metadata.namespace ?? '';
  const name = environmentName(guid);
  const data = Object.fromEntries(
    Object.entries(environment).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  );
  const object = {
    metadata: {
      name,
      namespace,
      labels: { [labels.app]: app.metadata.name },
      ownerReferences: ownedBy(app),
    },
    type: 'Opaque',
    data,
  };
  try {
    await context.client.create(secrets, object);
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
    await context.client.update(secrets, object);
  }
}

/** Applies a change in which null removes. */
export function mergedEnvironment(old: Environment, change: Record<string, string | null>): Environment {
  const merged: Environment = {};
  for (const [name, value] of Object.entries({ ...old, ...change })) if (value !== null) merged[name] = value;
  return merged;
}
