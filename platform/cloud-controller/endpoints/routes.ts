import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain, Route } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { spaceIncludes, unique } from '../includes.ts';
import { includedOf, listReply, splitList } from '../listing.ts';
import { createRoute, deleteRoute, mapRoute, type NewDestination, unmapRoute } from '../operations/routes.ts';
import { presentDestination, presentDestinations, presentRoute, routeUrl } from '../present/routes.ts';
import { tell } from '../operations/tell.ts';
import { presentDomain } from '../present/tenancy.ts';
import { isObject, mergeMetadata, Reader } from '../validate.ts';
import { readApp } from './apps.ts';
import { domainsFor } from './organizations.ts';
import { readsDomain } from './domains.ts';

export function routeEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const spaceOf = (route: Stored<Route>) => records.spaceOf(route)?.metadata.name ?? '';
  const present = (route: Stored<Route>) => presentRoute(urls, route, spaceOf(route));
  const domains = (items: Stored<Route>[]): Json => ({
    domains: unique<Domain>(items.map((item) => records.domains.get(item.spec.domain))).map((item) =>
      presentDomain(urls, item),
    ),
  });
  const includes = { domain: domains, ...spaceIncludes<Route>(context) };
  const read = (request: ApiRequest) =>
    access.read(request.identity, records.routes, request.params.guid ?? '', 'Route');
  const write = (request: ApiRequest) =>
    access.operate(request.identity, records.routes, request.params.guid ?? '', 'Route');
  const list = (request: ApiRequest, items: Stored<Route>[]) =>
    listReply(context, request, {
      items,
      present,
      filters: {
        hosts: (item, values) => values.includes(item.spec.host),
        paths: (item, values) => values.includes(item.spec.path),
        ports: (item, values) => values.includes(String(item.spec.port ?? '')),
        domain_guids: (item, values) => values.includes(item.spec.domain),
        app_guids: (item, values) => item.spec.destinations.some((destination) => values.includes(destination.app)),
        space_guids: (item, values) => values.includes(spaceOf(item)),
        organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
        service_instance_guids: () => false,
      },
      includes,
      userLabels: (item) => item.spec.userMetadata?.labels ?? {},
    });
  return [
    {
      method: 'GET',
      path: '/v3/routes',
      auth: 'user',
      summary: 'List routes.',
      handle: (request) => list(request, access.visible(request.identity, records.routes.all())),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/routes',
      auth: 'user',
      summary: 'List the routes that lead to an app.',
      handle: (request) => {
        const app = readApp(context, request);
        const items = records.routes
          .inNamespace(app.metadata.namespace ?? '')
          .filter((route) => route.spec.destinations.some((destination) => destination.app === app.metadata.name));
        return list(request, items);
      },
    },
    {
      method: 'POST',
      path: '/v3/routes',
      auth: 'user',
      summary: 'Create a route.',
      handle: (request) => postRoute(context, request),
    },
    {
      method: 'GET',
      path: '/v3/routes/:guid',
      auth: 'user',
      summary: 'Get a route.',
      handle: (request) => {
        const route = read(request);
        const included = includedOf(request.query.get('include'), [route], { includes });
        return ok({ ...present(route), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'PATCH',
      path: '/v3/routes/:guid',
      auth: 'user',
      summary: "Change a route's metadata.",
      handle: async (request) => {
        const route = write(request);
        const reader = new Reader(request.body).only('metadata', 'options');
        const metadata = reader.metadata();
        reader.done();
        const changed = await records.routes.modify(route.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, userMetadata: mergeMetadata(current.spec.userMetadata, metadata) },
        }));
        const name = routeUrl(changed);
        await tell(context, request, {
          type: 'audit.route.update',
          kind: 'route',
          object: { ...changed, spec: { displayName: name } },
          space: records.spaceOf(changed),
        });
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/routes/:guid',
      auth: 'user',
      summary: 'Delete a route.',
      handle: (request) => {
        const route = write(request);
        const job = context.jobs.start('route.delete', () => deleteRoute(context, request.identity, route), {
          target: route.metadata.name,
        });
        return accepted(context, job);
      },
    },
    {
      method: 'GET',
      path: '/v3/routes/:guid/destinations',
      auth: 'user',
      summary: 'List where a route leads.',
      handle: (request) => {
        const route = read(request);
        const named = (name: string, value: string) => {
          const given = request.query.get(name);
          return given === null || splitList(given).includes(value);
        };
        const destinations = route.spec.destinations.filter(
          ({ guid, app }) => named('guids', guid) && named('app_guids', app),
        );
        return ok(presentDestinations(urls, { ...route, spec: { ...route.spec, destinations } }));
      },
    },
    ...(['POST', 'PATCH'] as const).map(
      (method): Endpoint => ({
        method,
        path: '/v3/routes/:guid/destinations',
        auth: 'user',
        summary: method === 'POST' ? 'Let a route lead to more apps.' : 'Replace where a route leads.',
        handle: async (request) => {
          const route = write(request);
          const destinations = readDestinations(context, request, route);
          const changed = await mapRoute(context, request.identity, route, destinations, {
            replace: method === 'PATCH',
          });
          return ok(presentDestinations(urls, changed));
        },
      }),
    ),
    {
      method: 'PATCH',
      path: '/v3/routes/:guid/destinations/:destination',
      auth: 'user',
      summary: 'Change the protocol of a destination.',
      handle: async (request) => {
        const route = write(request);
        const guid = request.params.destination ?? '';
        if (!route.spec.destinations.some((destination) => destination.guid === guid)) throw notFound('Destination');
        const reader = new Reader(request.body).only('protocol');
        const protocol = reader.nullableString('protocol') ?? 'http1';
        if (protocol !== 'http1' && protocol !== 'http2')
          reader.fail("Destination protocol must be 'http1' or 'http2'");
        reader.done();
        const changed = await records.routes.modify(route.metadata.name, (current) => ({
          ...current,
          spec: {
            ...current.spec,
            destinations: current.spec.destinations.map((destination) =>
              destination.guid === guid
                ? { ...destination, protocol: protocol === 'http2' ? 'http2' : 'http1' }
                : destination,
            ),
          },
        }));
        const destination = changed.spec.destinations.find((item) => item.guid === guid);
        if (!destination) throw notFound('Destination');
        return ok(presentDestination(changed, destination));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/routes/:guid/destinations/:destination',
      auth: 'user',
      summary: 'Stop a route from leading to an app.',
      handle: async (request) => {
        const route = write(request);
        const guid = request.params.destination;
        if (!route.spec.destinations.some((destination) => destination.guid === guid)) {
          throw unprocessable(
            'Unable to unmap route from destination. Ensure the route has a destination with this guid.',
          );
        }
        await unmapRoute(context, request.identity, route, (destination) => destination.guid === guid);
        return { status: 204 };
      },
    },
  ];
}

async function postRoute(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const reader = new Reader(request.body).only('host', 'path', 'port', 'relationships', 'metadata', 'options');
  const host = reader.nullableString('host')?.toLowerCase() ?? '';
  const path = reader.nullableString('path') ?? '';
  if (reader.body.port !== undefined && reader.body.port !== null)
    reader.fail('Routes with protocol http do not support ports.');
  const spaceGuid = reader.relationship('space', { required: true });
  const domainGuid = reader.relationship('domain', { required: true });
  const metadata = reader.metadata();
  reader.done();
  const space = records.spaces.get(spaceGuid ?? '');
  if (!space || !access.readsSpace(request.identity, space)) {
    throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.');
  }
  if (!access.operatesSpace(request.identity, space)) throw notAuthorized();
  const domain = records.domains.get(domainGuid ?? '');
  if (!domain || !readsDomain(context, request, domain)) {
    throw unprocessable('Invalid domain. Ensure that the domain exists and you have access to it.');
  }
  if (!domainsFor(context, space.spec.organization).includes(domain)) {
    throw unprocessable(
      `Invalid domain. Domain '${domain.spec.displayName}' is not available in the organization of the space '${space.spec.displayName}'.`,
    );
  }
  const route = await createRoute(context, request.identity, {
    space,
    domain,
    host,
    path,
    userMetadata: mergeMetadata(undefined, metadata),
  });
  return created(presentRoute(context.urls, route, space.metadata.name));
}

function readDestinations(context: Context, request: ApiRequest, route: Stored<Route>): NewDestination[] {
  const reader = new Reader(request.body).only('destinations');
  const list = request.body.destinations;
  if (!Array.isArray(list)) reader.fail('Destinations must be an array containing 1 or more elements');
  reader.done();
  return (list as unknown[]).map((entry, position): NewDestination => {
    const destination = isObject(entry) ? entry : {};
    const target = isObject(destination.app) ? destination.app : {};
    const process = isObject(target.process) ? target.process : {};
    const app = context.records.apps.get(typeof target.guid === 'string' ? target.guid : '');
    if (!app || !context.access.visible(request.identity, [app]).includes(app)) {
      throw unprocessable(
        `App(s) with guid(s) ${JSON.stringify(target.guid ?? null)} do not exist or you do not have access.`,
      );
    }
    if (app.metadata.namespace !== route.metadata.namespace) {
      throw unprocessable('Routes cannot be mapped to destinations in different spaces.');
    }
    const { port, protocol, weight } = destination;
    if (
      port !== undefined &&
      port !== null &&
      !(typeof port === 'number' && Number.isInteger(port) && port >= 1024 && port <= 65535)
    ) {
      throw unprocessable(`Destinations[${position}]: port must be an integer between 1024 and 65535.`);
    }
    if (protocol !== undefined && protocol !== null && protocol !== 'http1' && protocol !== 'http2') {
      throw unprocessable(`Destinations[${position}]: protocol must be 'http1' or 'http2'.`);
    }
    if (weight !== undefined && weight !== null)
      throw unprocessable(`Destinations[${position}]: weighted destinations are not supported.`);
    const type = process.type ?? 'web';
    if (typeof type !== 'string' || !/^[A-Za-z0-9_-]{1,255}$/.test(type)) {
      throw unprocessable(`Destinations[${position}]: process type must be letters, digits, '-' and '_'.`);
    }
    return {
      app,
      processType: type,
      protocol: protocol === 'http2' ? 'http2' : 'http1',
      ...(typeof port === 'number' && port !== 8080 ? { port } : {}),
    };
  });
}
