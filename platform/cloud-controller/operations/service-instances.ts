/** Makes, binds and deletes user-provided service instances. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { nameGuid } from '#lib/name-guid.ts';
import {
  type App,
  labels,
  type ServiceBinding,
  type ServiceInstance,
  type Space,
  type UserMetadata,
} from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context, Json } from '../api.ts';
import { CloudFoundryError, unprocessable } from '../errors.ts';
import { ownedBy } from '../records.ts';
import { nameLabel } from './app-create.ts';
import { writeCredentials } from './services.ts';

export interface NewServiceInstance {
  space: Stored<Space>;
  spec: ServiceInstance['spec'];
  credentials: Json;
}

function holderOf(instance: { guid: string; namespace: string }) {
  return { resource: 'serviceinstances', namespace: instance.namespace, name: instance.guid };
}

/** Names are unique in a space without regard to case. */
async function takeName(
  context: Context,
  space: string,
  name: string,
  holder: ReturnType<typeof holderOf>,
): Promise<void> {
  if (await context.reservations.take('servicename', [space, name.toLowerCase()], holder)) return;
  throw unprocessable(`The service instance name is taken: ${name}.`);
}

export async function createServiceInstance(
  context: Context,
  identity: Identity,
  { space, spec, credentials }: NewServiceInstance,
): Promise<Stored<ServiceInstance>> {
  const guid = randomUUID();
  const { namespace } = space.spec;
  const holder = holderOf({ guid, namespace });
  await takeName(context, space.metadata.name, spec.displayName, holder);
  let instance: Stored<ServiceInstance>;
  try {
    instance = await context.records.serviceInstances.create({
      metadata: {
        name: guid,
        namespace,
        labels: { ...nameLabel(spec.displayName), [labels.space]: space.metadata.name },
      },
      spec,
    });
  } catch (error) {
    await context.reservations.release('servicename', [space.metadata.name, spec.displayName.toLowerCase()], holder);
    throw error;
  }
  await writeCredentials(context, instance, credentials);
  await tell(context, identity, instance, 'create');
  return instance;
}

export async function renameServiceInstance(
  context: Context,
  instance: Stored<ServiceInstance>,
  name: string | undefined,
): Promise<void> {
  const old = instance.spec.displayName.toLowerCase();
  if (name === undefined || name.toLowerCase() === old) return;
  const space = context.records.spaceOf(instance)?.metadata.name ?? '';
  const { namespace = '' } = instance.metadata;
  const holder = holderOf({ guid: instance.metadata.name, namespace });
  await takeName(context, space, name, holder);
  await context.reservations.release('servicename', [space, old], holder);
}

/** With its bindings; what runs keeps what it was told. */
export async function deleteServiceInstance(
  context: Context,
  identity: Identity,
  instance: Stored<ServiceInstance>,
): Promise<void> {
  const { name, namespace = '' } = instance.metadata;
  const space = context.records.spaceOf(instance);
  for (const binding of context.records.serviceBindings.inNamespace(namespace)) {
    if (binding.spec.instance === name) await context.records.serviceBindings.delete(binding.metadata.name);
  }
  await context.records.serviceInstances.delete(name);
  const key = [space?.metadata.name ?? '', instance.spec.displayName.toLowerCase()];
  await context.reservations.release('servicename', key, holderOf({ guid: name, namespace }));
  await tell(context, identity, instance, 'delete');
}

/** One for each app and instance: a second cannot be made. */
export async function bindService(
  context: Context,
  app: Stored<App>,
  instance: Stored<ServiceInstance>,
  options: { displayName?: string; userMetadata: UserMetadata },
): Promise<Stored<ServiceBinding>> {
  const guid = nameGuid(`${app.metadata.name}\n${instance.metadata.name}`);
  if (context.records.serviceBindings.get(guid)) {
    throw new CloudFoundryError('UnprocessableEntity', 'The app is already bound to the service instance');
  }
  return context.records.serviceBindings.create({
    metadata: {
      name: guid,
      namespace: app.metadata.namespace ?? '',
      labels: { [labels.app]: app.metadata.name, [labels.service]: instance.metadata.name },
      ownerReferences: ownedBy(app),
    },
    spec: { app: app.metadata.name, instance: instance.metadata.name, ...options },
  });
}

async function tell(context: Context, actor: Identity, instance: Stored<ServiceInstance>, what: string): Promise<void> {
  const space = context.records.spaceOf(instance);
  await context.audit.record({
    type: `audit.user_provided_service_instance.${what}`,
    actor,
    target: { guid: instance.metadata.name, type: 'user_provided_service_instance', name: instance.spec.displayName },
    ...(space ? { space } : {}),
    data: { request: { credentials: '[PRIVATE DATA HIDDEN]' } },
  });
}
