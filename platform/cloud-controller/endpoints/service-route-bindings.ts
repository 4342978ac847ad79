/** Route bindings: which routes go through which services. What a binding says is what the router does. */
import type { Stored } from '#cluster/kinds/kind.ts';
import { bindingKind, type ServiceBinding, type ServiceInstance } from '../../resources/service-types.ts';
import type { Route } from '../../resources/types.ts';
import { type ApiRequest, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { unique } from '../includes.ts';
import { includedOf, listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { bindRoute, tellOfRoute } from '../operations/service-bindings.ts';
import { readParameters } from '../operations/service-content.ts';
import { presentRoute } from '../present/routes.ts';
import { presentRouteBinding } from '../present/services.ts';
import { requested } from '../request-jobs.ts';
import { seesInstance } from '../service-access.ts';
import { instancePresenter } from '../service-fields.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { refuseWhileGoing, requireBound, unbind } from './service-bindings.ts';

type Binding = Stored<ServiceBinding>;
const KIND = 'service_route_bindings';
const WHAT = 'Service route binding';

export function serviceRouteBindingEndpoints(context: Context): Endpoint[] {
  const { records, access } = context;
  const present = presenter(context);
  const find = (request: ApiRequest, how: 'read' | 'operate') => {
    const binding = access[how](request.identity, records.serviceBindings, request.params.guid ?? '', WHAT);
    if (bindingKind(binding) !== 'route') throw notFound(WHAT);
    return binding;
  };
  const instanceOf = ({ spec }: Binding) => records.serviceInstances.get(spec.instance);
  const includes = routeBindingIncludes(context);
  return [
    {
      method: 'GET',
      path: '/v3/service_route_bindings',
      auth: 'user',
      summary: 'List which routes go through which services.',
      handle: (request) =>
        listReply(context, request, {
          items: access
            .visible(request.identity, records.serviceBindings.all())
            .filter((binding) => bindingKind(binding) === 'route'),
          present,
          filters: {
            route_guids: ({ spec }, values) => values.includes(spec.route ?? ''),
            service_instance_guids: ({ spec }, values) => values.includes(spec.instance),
            service_instance_names: (item, values) => values.includes(instanceOf(item)?.spec.displayName ?? ''),
          },
          includes,
          userLabels: ({ spec }) => spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/service_route_bindings',
      auth: 'user',
      summary: 'Lead the requests of a route through a service: a job where a broker says where that is.',
      handle: (request) => create(context, request),
    },
    {
      method: 'GET',
      path: '/v3/service_route_bindings/:guid',
      auth: 'user',
      summary: 'Get a route binding.',
      handle: (request) => {
        const binding = find(request, 'read');
        const included = includedOf(request.query.get('include'), [binding], { includes });
        return ok({ ...present(binding), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'GET',
      path: '/v3/service_route_bindings/:guid/parameters',
      auth: 'user',
      summary: 'Ask the broker for the parameters of a route binding.',
      handle: async (request) => {
        const binding = find(request, 'read');
        requireBound(binding);
        return ok(await context.services.bindingParameters(binding, request.identity.userId));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/service_route_bindings/:guid',
      auth: 'user',
      summary: "Change a route binding's metadata.",
      handle: async (request) => {
        const binding = find(request, 'operate');
        refuseWhileGoing(binding);
        const changed = await changeMetadata(records.serviceBindings, binding, request.body);
        await tellOfRoute(context, request.identity, changed, 'update');
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/service_route_bindings/:guid',
      auth: 'user',
      summary: 'Lead the requests of a route to its apps again: a job where a broker takes part.',
      handle: (request) => unbind(context, request, find(request, 'operate'), KIND),
    },
  ];
}

function presenter({ records, urls }: Context): (binding: Binding) => Json {
  return (binding) => presentRouteBinding(urls, binding, records.serviceInstances.get(binding.spec.instance));
}

function routeBindingIncludes(context: Context): Record<string, (items: Binding[]) => Json> {
  const { records, urls } = context;
  return {
    route: (items) => ({
      routes: unique<Route>(items.map(({ spec }) => records.routes.get(spec.route ?? ''))).map((route) =>
        presentRoute(urls, route, records.spaceOf(route)?.metadata.name ?? ''),
      ),
    }),
    service_instance: (items) => ({
      service_instances: unique<ServiceInstance>(
        items.map(({ spec }) => records.serviceInstances.get(spec.instance)),
      ).map(instancePresenter(context)),
    }),
  };
}

async function create(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const { identity } = request;
  const reader = new Reader(request.body).only('relationships', 'parameters', 'metadata');
  const routeGuid = reader.relationship('route', { required: true }) ?? '';
  const instanceGuid = reader.relationship('service_instance', { required: true }) ?? '';
  const parameters = readParameters(reader);
  const userMetadata = mergeMetadata(undefined, reader.metadata());
  reader.done();
  const instance = records.serviceInstances.get(instanceGuid);
  if (!instance || !seesInstance(context, identity, instance)) {
    throw unprocessable(`The service instance could not be found: ${instanceGuid.slice(0, 60)}`);
  }
  const route = records.routes.get(routeGuid);
  const space = route && records.spaceOf(route);
  if (!route || !space || route.metadata.deletionTimestamp || !access.readsSpace(identity, space)) {
    throw unprocessable(`The route could not be found: ${routeGuid.slice(0, 60)}`);
  }
  const own = records.spaceOf(instance);
  if (!own || !access.operatesSpace(identity, own)) throw notAuthorized();
  if (!instance.spec.managed && Object.keys(parameters ?? {}).length > 0) {
    throw unprocessable('Binding parameters are not supported for user-provided service instances');
  }
  const binding = await bindRoute(context, identity, { route, instance }, { parameters, userMetadata });
  const { request: wish } = binding.spec;
  if (wish) return requested(context, KIND, binding.metadata.name, wish);
  return created(presenter(context)(binding));
}
