/** Binds apps and routes to service instances, and makes keys: at once where the instance runs elsewhere, else by a request. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type App, labels, type Route, type UserMetadata } from '../../resources/types.ts';
import { bindingKind, type ServiceBinding, type ServiceInstance } from '../../resources/service-types.ts';
import { chainOf, instanceIds, planGuid } from '../../services/context.ts';
import { isUnderWay } from '../../services/operations.ts';
import { noteOrphan } from '../../services/orphans.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context, Json } from '../api.ts';
import { CloudFoundryError, unprocessable } from '../errors.ts';
import { ownedBy } from '../records.ts';
import { spacesOfInstance } from '../service-access.ts';
import { record } from './app-lifecycle.ts';
import { requireKey, underQuota } from './quota.ts';
import { newRequest, putRequest, whenEnded } from './requests.ts';
import { serially } from './serially.ts';
import { isCreateFailed } from './service-instances.ts';

type Binding = Stored<ServiceBinding>;
type Instance = Stored<ServiceInstance>;

export interface NewBinding {
  displayName?: string | undefined;
  parameters?: Json | undefined;
  userMetadata: UserMetadata;
  /** There may be one to the same app and instance already: the newest counts. Else an app has one for each instance. */
  isOneOfSeveral?: boolean;
}

/** While credentials are changed, the old ones and the new. */
const MOST_OF_ONE = 5;

export async function bindService(
  context: Context,
  identity: Identity,
  { app, instance }: { app: Stored<App>; instance: Instance },
  wanted: NewBinding,
): Promise<Binding> {
  const { displayName } = wanted;
  if (!spacesOfInstance(context, instance).some(({ spec }) => spec.namespace === app.metadata.namespace)) {
    throw unprocessable('The service instance and the app are in different spaces');
  }
  requireBindable(context, instance, 'Service plan does not allow bindings');
  const binding = await serially(`bindings ${app.metadata.name}`, async () => {
    const all = context.records.serviceBindings.ofApp(app.metadata.name);
    const ofInstance = all.filter(({ spec }) => spec.instance === instance.metadata.name);
    requireRoomFor(
      ofInstance.filter((one) => !isCreateFailed(one)),
      wanted,
    );
    if (
      displayName !== undefined &&
      all.some(({ spec }) => spec.displayName === displayName && spec.instance !== instance.metadata.name)
    ) {
      throw unprocessable(
        `The binding name is invalid. Binding names must be unique for a given service instance and app. The app already has a binding with name '${displayName}'.`,
      );
    }
    for (const one of ofInstance.filter(isCreateFailed)) await forgetFailed(context, instance, one);
    return create(context, identity, instance, wanted, { app });
  });
  if (!instance.spec.managed) await record(context, identity, app, 'audit.service_binding.create', guidsOf(binding));
  return binding;
}

/** @param before  those that there are for the same app and instance */
function requireRoomFor(before: readonly Binding[], { isOneOfSeveral = false }: NewBinding): void {
  const [first] = before;
  if (isOneOfSeveral && before.length >= MOST_OF_ONE) {
    throw unprocessable(
      `The app has too many bindings to this service instance (limit: ${MOST_OF_ONE}). Consider deleting existing/orphaned bindings.`,
    );
  }
  if (isOneOfSeveral || !first) return;
  const isGoing = first.spec.request?.type === 'delete';
  throw unprocessable(
    isGoing
      ? 'The binding is getting deleted or its deletion failed'
      : 'The app is already bound to the service instance',
  );
}

export async function createKey(
  context: Context,
  identity: Identity,
  instance: Instance,
  wanted: NewBinding & { displayName: string },
): Promise<Binding> {
  const space = context.records.spaceOf(instance);
  if (!space || !instance.spec.managed) {
    throw unprocessable(
      "Service credential bindings of type 'key' are not supported for user-provided service instances.",
    );
  }
  requireBindable(context, instance, 'Service plan does not allow bindings.');
  const { displayName } = wanted;
  return underQuota(space, async () => {
    const before = context.records.serviceBindings
      .inNamespace(space.spec.namespace)
      .find(
        (binding) =>
          bindingKind(binding) === 'key' &&
          binding.spec.instance === instance.metadata.name &&
          binding.spec.displayName === displayName,
      );
    if (before && !isCreateFailed(before)) {
      const isGoing = before.spec.request?.type === 'delete';
      throw unprocessable(
        `The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with ${isGoing ? `the name '${displayName}' that is getting deleted or its deletion failed` : `name '${displayName}'`}.`,
      );
    }
    requireKey(context, space);
    if (before) await forgetFailed(context, instance, before);
    return create(context, identity, instance, wanted);
  });
}

/** One for each route. Its requests go through the service as soon as it is said where that is. */
export async function bindRoute(
  context: Context,
  identity: Identity,
  { route, instance }: { route: Stored<Route>; instance: Instance },
  wanted: NewBinding,
): Promise<Binding> {
  requireRoutable(context, route, instance);
  const binding = await serially(`binding of ${route.metadata.name}`, async () => {
    const before = bindingOfRoute(context, route);
    if (before && !isCreateFailed(before)) {
      if (before.spec.instance !== instance.metadata.name) {
        throw unprocessable('A route may only be bound to a single service instance');
      }
      const words = 'The route and service instance are already bound.';
      throw new CloudFoundryError('ServiceInstanceAlreadyBoundToSameRoute', words);
    }
    requireBindable(context, instance, 'This service instance does not support binding');
    const last = before && context.records.serviceInstances.get(before.spec.instance);
    if (before) await forgetFailed(context, last ?? instance, before);
    return create(context, identity, instance, wanted, { route });
  });
  if (!instance.spec.managed) await tellOfRoute(context, identity, binding, 'create');
  return binding;
}

function requireRoutable(context: Context, route: Stored<Route>, instance: Instance): void {
  const { managed, routeServiceUrl } = instance.spec;
  const isService = managed
    ? chainOf(context, planGuid(instance))?.offering.spec.requires.includes('route_forwarding')
    : routeServiceUrl;
  if (!isService) throw unprocessable('This service instance does not support route binding');
  if (context.records.domains.get(route.spec.domain)?.spec.internal) {
    throw unprocessable('Route services cannot be bound to internal routes');
  }
  if (route.spec.protocol !== 'http') throw unprocessable('Route services cannot be bound to TCP routes');
  if (route.metadata.namespace !== instance.metadata.namespace) {
    throw unprocessable('The service instance and the route are in different spaces');
  }
}

export function bindingOfRoute({ records }: Pick<Context, 'records'>, route: Stored<Route>): Binding | undefined {
  return records.serviceBindings
    .inNamespace(route.metadata.namespace ?? '')
    .find(({ spec }) => spec.route === route.metadata.name);
}

/** Resolves when it is bound to nothing. @throws CloudFoundryError  why it is still */
export function unbindRoute(context: Context, identity: Identity, route: Stored<Route>): Promise<void> {
  const binding = bindingOfRoute(context, route);
  return unbindAll(context, identity, binding ? [binding] : []);
}

function requireBindable(context: Context, instance: Instance, message: string): void {
  if (!instance.spec.managed) return;
  const chain = chainOf(context, planGuid(instance));
  if (!(chain?.plan.spec.bindable ?? chain?.offering.spec.bindable)) throw unprocessable(message);
  if (isCreateFailed(instance)) {
    throw unprocessable(`The service instance could not be found: ${instance.metadata.name}`);
  }
  if (isUnderWay(instance)) throw unprocessable('There is an operation in progress for the service instance.');
}

/** Nobody was given anything of it. What the broker may have made goes by itself, under a guid that is not used again. */
async function forgetFailed(context: Context, instance: Instance, binding: Binding): Promise<void> {
  const chain = chainOf(context, planGuid(instance));
  const { request } = binding.spec;
  if (chain && request) {
    const ids = { ...instanceIds(instance.metadata.name, chain), binding: binding.metadata.name };
    await noteOrphan(context, request, { broker: chain.broker.metadata.name, ...ids, reason: 'bound anew' });
  }
  await context.records.serviceBindings.delete(binding.metadata.name);
}

async function create(
  context: Context,
  identity: Identity,
  instance: Instance,
  { displayName, parameters, userMetadata }: NewBinding,
  { app, route }: { app?: Stored<App>; route?: Stored<Route> } = {},
): Promise<Binding> {
  const request = instance.spec.managed ? await newRequest(context, identity, 'create', parameters) : undefined;
  return context.records.serviceBindings.create({
    metadata: {
      name: randomUUID(),
      namespace: (app ?? instance).metadata.namespace ?? '',
      labels: { [labels.service]: instance.metadata.name, ...(app ? { [labels.app]: app.metadata.name } : {}) },
      ...(app ? { ownerReferences: ownedBy(app) } : {}),
    },
    spec: {
      ...(app ? { app: app.metadata.name } : {}),
      ...(route ? { route: route.metadata.name } : {}),
      instance: instance.metadata.name,
      ...(displayName === undefined ? {} : { displayName }),
      userMetadata,
      ...(request ? { request } : {}),
    },
  });
}

/** Undefined: it is gone. */
export async function unbindService(
  context: Context,
  identity: Identity,
  binding: Binding,
): Promise<Awaited<ReturnType<typeof newRequest>> | undefined> {
  const instance = context.records.serviceInstances.get(binding.spec.instance);
  if (binding.spec.request && instance) {
    const request = await newRequest(context, identity, 'delete');
    await putRequest(context.records.serviceBindings, binding.metadata.name, request, (current) => {
      const { operation } = current.status ?? {};
      const isCreating = current.spec.request?.type === 'create' && operation?.phase === 'accepted';
      if (isUnderWay(current) && !isCreating) {
        const what = bindingKind(binding) === 'route' ? 'service route binding' : 'service binding';
        throw unprocessable(`There is an operation in progress for the ${what}.`);
      }
    });
    return request;
  }
  await context.records.serviceBindings.delete(binding.metadata.name);
  if (bindingKind(binding) === 'route') await tellOfRoute(context, identity, binding, 'delete');
  const app = context.records.apps.get(binding.spec.app ?? '');
  if (app) await record(context, identity, app, 'audit.service_binding.delete', guidsOf(binding));
  return undefined;
}

/** Those of services that run elsewhere go with their app. Resolves when the others are gone. @throws CloudFoundryError  why not */
export function unbindApp(context: Context, identity: Identity, app: Stored<App>): Promise<void> {
  const bindings = context.records.serviceBindings.ofApp(app.metadata.name);
  return unbindAll(
    context,
    identity,
    bindings.filter(({ spec }) => spec.request),
  );
}

/** Resolves when all are gone. @throws CloudFoundryError  why not */
export async function unbindAll(context: Context, identity: Identity, bindings: Binding[]): Promise<void> {
  const { signal } = context.jobs;
  await Promise.all(
    bindings.map(async (binding) => {
      const { request: known } = binding.spec;
      const isGoing = known?.type === 'delete' && isUnderWay(binding);
      const request = isGoing ? known : await unbindService(context, identity, binding);
      if (!request) return;
      const failure = await whenEnded(context.records.serviceBindings, binding.metadata.name, {
        request: request.id,
        signal,
      });
      if (failure !== undefined) throw unprocessable(failure);
    }),
  );
}

export async function tellOfRoute(
  context: Context,
  actor: Identity,
  binding: Binding,
  what: 'create' | 'update' | 'delete',
): Promise<void> {
  const space = context.records.spaceOf(binding);
  await context.audit.record({
    type: `audit.service_route_binding.${what}`,
    actor,
    target: { guid: binding.metadata.name, type: 'service_route_binding', name: '' },
    ...(space ? { space } : {}),
    data: { route_guid: binding.spec.route, service_instance_guid: binding.spec.instance },
  });
}

function guidsOf(binding: Binding): Record<string, unknown> {
  return { service_binding_guid: binding.metadata.name, service_instance_guid: binding.spec.instance };
}
