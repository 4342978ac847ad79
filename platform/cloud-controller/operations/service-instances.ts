/** Makes, changes, binds and deletes service instances: those that run elsewhere at once, a broker's by a request. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { writeCredentials } from '../../services/credentials.ts';
import { releaseInstanceName, takeInstanceName } from '../../services/names.ts';
import { isUnderWay } from '../../services/operations.ts';
import { noteOrphan } from '../../services/orphans.ts';
import { chainOf, instanceIds, planGuid } from '../../services/context.ts';
import { labels, type Space } from '../../resources/types.ts';
import { type BrokerRequest, type ServiceBinding, type ServiceInstance } from '../../resources/service-types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context, Json } from '../api.ts';
import { CloudFoundryError, unprocessable } from '../errors.ts';
import { nameLabel } from './app-create.ts';
import { newRequest, putRequest, whenEnded } from './requests.ts';
import { forgetInstance } from './service-purge.ts';

type Instance = Stored<ServiceInstance>;

export interface NewServiceInstance {
  space: Stored<Space>;
  spec: ServiceInstance['spec'];
  /** Of one that runs elsewhere. */
  credentials?: Json;
}

export async function createServiceInstance(
  context: Context,
  identity: Identity,
  { space, spec, credentials }: NewServiceInstance,
): Promise<Instance> {
  const guid = randomUUID();
  const { namespace } = space.spec;
  await takeName(context, space, spec.displayName, guid);
  let instance: Instance;
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
    const unmade = { metadata: { name: guid, namespace }, spec } as Instance;
    await releaseInstanceName(context, unmade, spec.displayName);
    throw error;
  }
  if (credentials) {
    await writeCredentials(context, { kind: 'ServiceInstance', object: instance }, credentials);
    await tell(context, identity, instance, 'create');
  }
  return instance;
}

/** A name of an instance that could not be created is free: what the broker may have made of it is deleted there. */
async function takeName(context: Context, space: Stored<Space>, name: string, guid: string): Promise<void> {
  const { namespace } = space.spec;
  const take = () => takeInstanceName(context, space.metadata.name, name, { guid, namespace });
  if (await take()) return;
  const holder = context.records.serviceInstances
    .inNamespace(namespace)
    .find(({ spec }) => spec.displayName.toLowerCase() === name.toLowerCase());
  if (holder && isCreateFailed(holder)) {
    const chain = chainOf(context, planGuid(holder));
    if (chain && holder.spec.request) {
      const ids = instanceIds(holder.metadata.name, chain);
      const spec = { broker: chain.broker.metadata.name, ...ids, reason: 'created anew' };
      await noteOrphan(context, holder.spec.request, spec);
    }
    await forgetInstance(context, holder);
    if (await take()) return;
  }
  throw unprocessable(`The service instance name is taken: ${name}.`);
}

export function isCreateFailed(object: ServiceInstance | ServiceBinding): boolean {
  const { operation } = object.status ?? {};
  return operation?.type === 'create' && operation.state === 'failed' && !isUnderWay(object);
}

/** Takes the new name; the old one is free when `spec` has the new one. */
export async function takeNewName(context: Context, instance: Instance, name: string | undefined): Promise<void> {
  if (name === undefined || name.toLowerCase() === instance.spec.displayName.toLowerCase()) return;
  const space = context.records.spaceOf(instance);
  if (space) await takeName(context, space, name, instance.metadata.name);
}

export async function changeServiceInstance(
  context: Context,
  instance: Instance,
  change: Partial<ServiceInstance['spec']>,
): Promise<Instance> {
  const old = instance.spec.displayName;
  await takeNewName(context, instance, change.displayName);
  const changed = await context.records.serviceInstances.modify(instance.metadata.name, (current) => ({
    ...current,
    spec: { ...current.spec, ...change },
  }));
  if (changed.spec.displayName.toLowerCase() !== old.toLowerCase()) await releaseInstanceName(context, instance, old);
  return changed;
}

/** What of an instance and its bindings lets no other operation begin. `cancels`: it may end a creation that the broker is at. */
export function refuseWhileUnderWay(context: Context, instance: Instance, { cancels }: { cancels: boolean }): void {
  const { operation } = instance.status ?? {};
  const { request } = instance.spec;
  const isCreating = request?.type === 'create' && operation?.request === request.id && operation.phase === 'accepted';
  if (isUnderWay(instance) && !(isCreating && cancels)) {
    throw new CloudFoundryError(
      'AsyncServiceInstanceOperationInProgress',
      `An operation for service instance ${instance.spec.displayName} is in progress.`,
    );
  }
  for (const binding of bindingsOfInstance(context, instance)) {
    if (!isUnderWay(binding)) continue;
    const app = context.records.apps.get(binding.spec.app ?? '')?.spec.displayName;
    throw new CloudFoundryError(
      'AsyncServiceBindingOperationInProgress',
      app === undefined
        ? `An operation for a service binding of service instance ${instance.spec.displayName} is in progress.`
        : `An operation for the service binding between app ${app} and service instance ${instance.spec.displayName} is in progress.`,
    );
  }
}

export function bindingsOfInstance({ records }: Context, { metadata }: Instance): Stored<ServiceBinding>[] {
  return records.serviceBindings.all().filter(({ spec }) => spec.instance === metadata.name);
}

/** With its bindings; what runs keeps what it was told. Undefined: it is gone; else it goes when the broker has agreed. */
export async function deleteServiceInstance(
  context: Context,
  identity: Identity,
  instance: Instance,
): Promise<BrokerRequest | undefined> {
  if (instance.spec.managed) {
    const request = await newRequest(context, identity, 'delete');
    await putRequest(context.records.serviceInstances, instance.metadata.name, request, (current) =>
      refuseWhileUnderWay(context, current as Instance, { cancels: true }),
    );
    return request;
  }
  await forgetInstance(context, instance);
  await tell(context, identity, instance, 'delete');
  return undefined;
}

/** Resolves when it is gone. @throws CloudFoundryError  why not */
export async function deleteServiceInstanceWhole(
  context: Context,
  identity: Identity,
  instance: Instance,
): Promise<void> {
  const { name } = instance.metadata;
  const { request: known } = instance.spec;
  const isGoing = known?.type === 'delete' && isUnderWay(instance);
  const request = isGoing ? known : await deleteServiceInstance(context, identity, instance);
  const failure =
    request &&
    (await whenEnded(context.records.serviceInstances, name, { request: request.id, signal: context.jobs.signal }));
  if (failure === undefined) return;
  throw unprocessable(
    `Deletion of service instance ${instance.spec.displayName} failed because one or more associated resources could not be deleted.\n\n${failure}`,
  );
}

async function tell(context: Context, actor: Identity, instance: Instance, what: string): Promise<void> {
  const space = context.records.spaceOf(instance);
  await context.audit.record({
    type: `audit.user_provided_service_instance.${what}`,
    actor,
    target: { guid: instance.metadata.name, type: 'user_provided_service_instance', name: instance.spec.displayName },
    ...(space ? { space } : {}),
    data: { request: { credentials: '[PRIVATE DATA HIDDEN]' } },
  });
}
