/**
 * Environment variables: Secrets, one key each. Of an app (`env-<app guid>`), of its revisions (`env-<revision guid>`), of
 * all apps and all builds (`env-running`, `env-staging` in the system namespace), and what the last two said when a
 * revision was started (`env-running-<revision guid>`) or a build was made (`env-staging-<build guid>`). What a revision or task is told of
 * services is in `env-services-<guid>`: see `kept-services.ts`.
 */
import { orUndefined } from '#cluster/client/api-errors.ts';
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ObjectMeta } from '#cluster/kinds/types/meta.ts';
import { secrets } from '../../resources/kubernetes.ts';
import { type App, labels, systemNamespace } from '../../resources/types.ts';
import { putSecret, secretData, secretTexts } from '../../resources/secrets.ts';
import type { Context } from '../api.ts';
import { ownedBy } from '../records.ts';

export type Environment = Record<string, string>;

export function environmentName(guid: string): string {
  return `env-${guid}`;
}

/** Of an app, a revision or a group; empty when there is none. */
export async function readEnvironment(client: Client, namespace: string, guid: string): Promise<Environment> {
  return secretTexts(await orUndefined(client.get(secrets, environmentName(guid), namespace)));
}

/** Replaces it whole. */
export async function writeEnvironment(
  context: Pick<Context, 'client'>,
  app: Stored<App>,
  guid: string,
  environment: Environment,
): Promise<void> {
  await putEnvironment(context, guid, environment, {
    namespace: app.metadata.namespace ?? '',
    labels: { [labels.app]: app.metadata.name },
    ownerReferences: ownedBy(app),
  });
}

export type EnvironmentGroup = 'running' | 'staging';

export function readGroup(context: Pick<Context, 'client'>, group: EnvironmentGroup): Promise<Environment> {
  return readEnvironment(context.client, systemNamespace, group);
}

export async function writeGroup(
  context: Pick<Context, 'client'>,
  group: EnvironmentGroup,
  environment: Environment,
): Promise<void> {
  await putEnvironment(context, group, environment, { namespace: systemNamespace });
}

/** What a group says now is what the revision or build has, until it is started again. */
export async function keepGroup(
  context: Pick<Context, 'client'>,
  app: Stored<App>,
  group: EnvironmentGroup,
  guid: string,
): Promise<void> {
  const name = `${group}-${guid}`;
  const [now, kept] = await Promise.all([
    readGroup(context, group),
    readEnvironment(context.client, app.metadata.namespace ?? '', name),
  ]);
  if (!sameEnvironment(now, kept)) await writeEnvironment(context, app, name, now);
}

export function sameEnvironment(left: Environment, right: Environment): boolean {
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => left[key] === right[key]);
}

async function putEnvironment(
  context: Pick<Context, 'client'>,
  guid: string,
  environment: Environment,
  metadata: ObjectMeta,
): Promise<void> {
  const data = secretData(environment);
  await putSecret(context.client, { metadata: { ...metadata, name: environmentName(guid) }, type: 'Opaque', data });
}

/** Applies a change in which null removes. */
export function mergedEnvironment(old: Environment, change: Record<string, string | null>): Environment {
  const merged: Environment = {};
  for (const [name, value] of Object.entries({ ...old, ...change })) if (value !== null) merged[name] = value;
  return merged;
}
