/** Deletes apps, spaces and organizations: each step may be repeated, what others need goes last. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { namespaces } from '../../resources/kubernetes.ts';
import { type App, annotations, type Organization, type Space } from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { appHolder, appNameKey } from './app-create.ts';
import { record } from './app-lifecycle.ts';
import { deleteSpaceQuota } from './quota.ts';
import { unshareRoute } from './route-sharing.ts';
import { deleteRoute, unmapRoute } from './routes.ts';
import { removeBroker } from './service-brokers.ts';
import { unbindApp } from './service-bindings.ts';
import { deleteServiceInstanceWhole } from './service-instances.ts';

export async function deleteApp(context: Context, identity: Identity, app: Stored<App>): Promise<void> {
  const guid = app.metadata.name;
  await unbindApp(context, identity, app);
  for (const route of context.records.routes.ofApp(guid)) {
    await unmapRoute(context, identity, route, (destination) => destination.app === guid);
  }
  for (const connection of context.records.appConnections.all()) {
    if (connection.spec.destination === guid) await context.records.appConnections.delete(connection.metadata.name);
  }
  // Its processes, packages, droplets, ReplicaSets and Secrets name it as their owner and are collected.
  await context.records.apps.delete(guid);
  const space = context.records.spaceOf(app);
  await context.reservations.release(
    'appname',
    appNameKey(space?.metadata.name ?? '', app.spec.displayName),
    appHolder({ guid, namespace: app.metadata.namespace ?? '' }),
  );
  context.logs.forget(guid);
  context.metrics?.forget(guid);
  await record(context, identity, app, 'audit.app.delete-request', { request: { recursive: true } });
  // The registry's copy of its bits goes in the background: it is not what the caller waits for.
  context.staging.bits.remove(guid).catch((error: unknown) => {
    context.log('warn', 'The bits of a deleted app could not be removed', { app: guid, error });
  });
}

export async function deleteSpace(context: Context, identity: Identity, space: Stored<Space>): Promise<void> {
  const { namespace } = space.spec;
  await context.records.spaces.modify(space.metadata.name, (current) => markDeleting(current));
  for (const app of context.records.apps.inNamespace(namespace)) await deleteApp(context, identity, app);
  for (const route of context.records.routes.inNamespace(namespace)) await deleteRoute(context, identity, route);
  for (const route of context.records.routes.all()) {
    if (route.spec.sharedWith?.includes(space.metadata.name)) await unshareRoute(context, route, space);
  }
  for (const instance of context.records.serviceInstances.inNamespace(namespace)) {
    await deleteServiceInstanceWhole(context, identity, instance);
  }
  for (const broker of context.records.serviceBrokers.all()) {
    if (broker.spec.space === space.metadata.name) await removeBroker(context, identity, broker);
  }
  try {
    await context.client.delete(namespaces, namespace);
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 404) throw error;
  }
  for (const role of context.records.roles.all()) {
    if (role.spec.space === space.metadata.name) await context.records.roles.delete(role.metadata.name);
  }
  await context.records.spaces.delete(space.metadata.name);
  const holder = { resource: 'spaces', name: space.metadata.name };
  await context.reservations.release(
    'spacename',
    [space.spec.organization, space.spec.displayName.toLowerCase()],
    holder,
  );
  await context.reservations.release('namespace', [namespace], holder);
  await context.audit.record({
    type: 'audit.space.delete-request',
    actor: identity,
    target: { guid: space.metadata.name, type: 'space', name: space.spec.displayName },
    organization: space.spec.organization,
    data: { request: { recursive: true } },
  });
}

export async function deleteOrganization(
  context: Context,
  identity: Identity,
  organization: Stored<Organization>,
): Promise<void> {
  const guid = organization.metadata.name;
  await context.records.organizations.modify(guid, (current) => markDeleting(current));
  for (const space of context.records.spaces.all()) {
    if (space.spec.organization === guid) await deleteSpace(context, identity, space);
  }
  for (const role of context.records.roles.all()) {
    if (role.spec.organization === guid) await context.records.roles.delete(role.metadata.name);
  }
  for (const quota of context.records.spaceQuotas.all()) {
    if (quota.spec.organization === guid) await deleteSpaceQuota(context, quota);
  }
  await context.records.organizations.delete(guid);
  await context.reservations.release('orgname', [organization.spec.displayName.toLowerCase()], {
    resource: 'organizations',
    name: guid,
  });
  await context.audit.record({
    type: 'audit.organization.delete-request',
    actor: identity,
    target: { guid, type: 'organization', name: organization.spec.displayName },
    organization: guid,
    data: { request: { recursive: true } },
  });
}

function markDeleting<T extends { metadata: Stored<Space>['metadata'] | Space['metadata'] }>(object: T): T | undefined {
  if (object.metadata.annotations?.[annotations.deleting]) return undefined;
  return {
    ...object,
    metadata: {
      ...object.metadata,
      annotations: { ...object.metadata.annotations, [annotations.deleting]: 'true' },
    },
  };
}
