/** Route bindings: which routes go through which services. What a binding says is what the router does. */
import { type ApiRequest, type Context, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { named } from '../includes.ts';
import { listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { bindRoute, tellOfRoute } from '../operations/service-bindings.ts';
import { readParameters } from '../operations/service-content.ts';
import { presentRoute } from '../present/routes.ts';
import { presentRouteBinding } from '../present/services.ts';
import { seesInstance } from '../service-access.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import {
  answer,
  type Binding,
  type BindingResource,
  findBinding,
  gettingEndpoint,
  type Includes,
  instanceIncludes,
  parametersEndpoint,
  refuseParameters,
  refuseWhileGoing,
  unbind,
  visibleBindings,
} from './bindings.ts';

const RESOURCE: BindingResource = {
  path: 'service_route_bindings',
  what: 'Service route binding',
  noun: 'route binding',
};

export function serviceRouteBindingEndpoints(context: Context): Endpoint[] {
  const { records } = context;
  const present = presenter(context);
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
          items: visibleBindings(context, RESOURCE, request),
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
    gettingEndpoint(context, RESOURCE, { present, includes }),
    parametersEndpoint(context, RESOURCE),
    {
      method: 'PATCH',
      path: '/v3/service_route_bindings/:guid',
      auth: 'user',
      summary: "Change a route binding's metadata.",
      handle: async (request) => {
        const binding = findBinding(context, RESOURCE, request, 'operate');
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
      handle: (request) => unbind(context, RESOURCE, request, findBinding(context, RESOURCE, request, 'operate')),
    },
  ];
}

function presenter({ records, urls }: Context): (binding: Binding) => Json {
  return (binding) => presentRouteBinding(urls, binding, records.serviceInstances.get(binding.spec.instance));
}

function routeBindingIncludes(context: Context): Includes {
  const { records, urls } = context;
  return {
    route: (items) => ({
      routes: named(
        records.routes,
        items.map(({ spec }) => spec.route ?? ''),
      ).map((route) => presentRoute(urls, route, records.spaceOf(route)?.metadata.name ?? '')),
    }),
    ...instanceIncludes(context),
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
  refuseParameters(instance, parameters);
  const binding = await bindRoute(context, identity, { route, instance }, { parameters, userMetadata });
  return answer(context, RESOURCE, binding, presenter(context));
}
