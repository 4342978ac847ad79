/** What bindings of apps and keys, and those of routes, have in common: how they are found, read, answered and undone. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { bindingKind, type ServiceBinding, type ServiceInstance } from '../../resources/service-types.ts';
import { isBound, isUnderWay } from '../../services/operations.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { CloudFoundryError, notFound, unprocessable } from '../errors.ts';
import { named } from '../includes.ts';
import { includedOf } from '../listing.ts';
import { unbindService } from '../operations/service-bindings.ts';
import { requested } from '../request-jobs.ts';
import { instancePresenter } from '../service-fields.ts';

export type Binding = Stored<ServiceBinding>;
export type Includes = Record<string, (items: Binding[]) => Json>;

/** As the API has them: the last part of their path, and of the names of their jobs. */
export interface BindingResource {
  path: 'service_credential_bindings' | 'service_route_bindings';
  /** In errors. */
  what: string;
  /** In summaries. */
  noun: string;
}

const isRoute = (binding: Binding): boolean => bindingKind(binding) === 'route';
const isOf = ({ path }: BindingResource, binding: Binding): boolean =>
  isRoute(binding) === (path === 'service_route_bindings');

export function visibleBindings(
  { records, access }: Context,
  resource: BindingResource,
  request: ApiRequest,
): Binding[] {
  return access.visible(request.identity, records.serviceBindings.all()).filter((binding) => isOf(resource, binding));
}

export function findBinding(
  { records, access }: Context,
  resource: BindingResource,
  request: ApiRequest,
  how: 'read' | 'write' | 'operate' | 'readSecrets',
): Binding {
  const binding = access[how](request.identity, records.serviceBindings, request.params.guid ?? '', resource.what);
  if (!isOf(resource, binding)) throw notFound(resource.what);
  return binding;
}

export function gettingEndpoint(
  context: Context,
  resource: BindingResource,
  { present, includes }: { present: (binding: Binding) => Json; includes: Includes },
): Endpoint {
  return {
    method: 'GET',
    path: `/v3/${resource.path}/:guid`,
    auth: 'user',
    summary: `Get a ${resource.noun}.`,
    handle: (request) => {
      const binding = findBinding(context, resource, request, 'read');
      const included = includedOf(request.query.get('include'), [binding], { includes });
      return ok({ ...present(binding), ...(included ? { included } : {}) });
    },
  };
}

export function parametersEndpoint(context: Context, resource: BindingResource): Endpoint {
  return {
    method: 'GET',
    path: `/v3/${resource.path}/:guid/parameters`,
    auth: 'user',
    summary: `Ask the broker for the parameters of a ${resource.noun}.`,
    handle: async (request) => {
      const binding = findBinding(context, resource, request, 'read');
      requireBound(binding);
      return ok(await context.services.bindingParameters(binding, request.identity.userId));
    },
  };
}

export function instanceIncludes(context: Context): Includes {
  const { serviceInstances } = context.records;
  const instances = (items: Binding[]) =>
    named(
      serviceInstances,
      items.map(({ spec }) => spec.instance),
    );
  return { service_instance: (items) => ({ service_instances: instances(items).map(instancePresenter(context)) }) };
}

const WORDS = { app: 'service binding', key: 'service key', route: 'route binding' };

export function requireBound(binding: Binding): void {
  if (isBound(binding)) return;
  const { request } = binding.spec;
  const what = request?.type === 'delete' ? 'Deletion' : 'Creation';
  const state = isUnderWay(binding) ? 'in progress' : (binding.status?.operation?.state ?? 'in progress');
  throw new CloudFoundryError('ResourceNotFound', `${what} of ${WORDS[bindingKind(binding)]} ${state}`);
}

/** Metadata alone, as long as it is not going. */
export function refuseWhileGoing(binding: Binding): void {
  if (binding.spec.request?.type === 'delete' && isUnderWay(binding)) {
    throw unprocessable(`The ${WORDS[bindingKind(binding)]} is being deleted`);
  }
}

export function refuseParameters(instance: Stored<ServiceInstance>, parameters: Json | undefined): void {
  if (!instance.spec.managed && Object.keys(parameters ?? {}).length > 0) {
    throw unprocessable('Binding parameters are not supported for user-provided service instances');
  }
}

/** Of one that was made: a job where a broker takes part. */
export function answer(
  context: Context,
  { path }: BindingResource,
  binding: Binding,
  present: (binding: Binding) => Json,
): Reply {
  const { request } = binding.spec;
  return request ? requested(context, path, binding.metadata.name, request) : created(present(binding));
}

export async function unbind(
  context: Context,
  { path }: BindingResource,
  { identity }: ApiRequest,
  binding: Binding,
): Promise<Reply> {
  const instance = context.records.serviceInstances.get(binding.spec.instance);
  if (instance && isUnderWay(instance)) {
    throw unprocessable('There is an operation in progress for the service instance.');
  }
  const wish = await unbindService(context, identity, binding);
  return wish ? requested(context, path, binding.metadata.name, wish) : { status: 204 };
}
