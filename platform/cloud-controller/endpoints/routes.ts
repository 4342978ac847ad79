import type { Stored } from '#cluster/kinds/kind.ts';
import type { Route } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, type Json, ok, type Reply } from '../api.ts';
import { notAuthorized, unprocessable } from '../errors.ts';
import { named, spaceIncludes } from '../includes.ts';
import { includedOf, listReply } from '../listing.ts';
import { mergedOptions, readOptions, requireAllowed } from '../operations/route-options.ts';
import { createRoute, deleteRoute } from '../operations/routes.ts';
import { operateRoute, readRoute, visibleRoutes } from '../operations/route-sharing.ts';
import { bindingOfRoute } from '../operations/service-bindings.ts';
import { presentRoute, routeUrl } from '../present/routes.ts';
import { presented } from '../presented.ts';
import { tell } from '../operations/tell.ts';
import { presentDomain } from '../present/tenancy.ts';
import { mergeMetadata, Reader } from '../validate.ts';
import { readApp } from './apps.ts';
import { domainsFor } from './organizations.ts';
import { readsDomain } from './domains.ts';

export function routeEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const spaceOf = (route: Stored<Route>) => records.spaceOf(route)?.metadata.name ?? '';
  const present = (route: Stored<Route>) => presentRoute(urls, route, spaceOf(route));
  const bytes = presented(present);
  const domains = (items: Stored<Route>[]): Json => ({
    domains: named(
      records.domains,
      items.map((item) => item.spec.domain),
    ).map((item) => presentDomain(urls, item)),
  });
  const includes = { domain: domains, ...spaceIncludes<Route>(context) };
  const read = (request: ApiRequest) => readRoute(context, request);
  const write = (request: ApiRequest) => operateRoute(context, request);
  const list = (request: ApiRequest, items: Stored<Route>[]) =>
    listReply(context, request, {
      items,
      present: bytes,
      filters: {
        hosts: (item, values) => values.includes(item.spec.host),
        paths: (item, values) => values.includes(item.spec.path),
        ports: (item, values) => values.includes(String(item.spec.port ?? '')),
        domain_guids: (item, values) => values.includes(item.spec.domain),
        app_guids: (item, values) => item.spec.destinations.some((destination) => values.includes(destination.app)),
        space_guids: (item, values) =>
          [spaceOf(item), ...(item.spec.sharedWith ?? [])].some((one) => values.includes(one)),
        organization_guids: (item, values) => values.includes(records.spaceOf(item)?.spec.organization ?? ''),
        service_instance_guids: (item, values) => values.includes(bindingOfRoute(context, item)?.spec.instance ?? ''),
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
      handle: (request) => list(request, records.routes.all().filter(visibleRoutes(context, request.identity))),
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/routes',
      auth: 'user',
      summary: 'List the routes that lead to an app.',
      handle: (request) => list(request, records.routes.ofApp(readApp(context, request).metadata.name)),
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
      summary: "Change a route's options and metadata.",
      handle: async (request) => {
        const route = write(request);
        const reader = new Reader(request.body).only('metadata', 'options');
        const metadata = reader.metadata();
        const options = readOptions(reader, route.spec.options);
        reader.done();
        requireAllowed(context, options);
        const changed = await records.routes.modify(route.metadata.name, (current) => ({
          ...current,
          spec: {
            ...current.spec,
            ...(options === undefined ? {} : { options: mergedOptions(current.spec.options ?? {}, options) }),
            userMetadata: mergeMetadata(current.spec.userMetadata, metadata),
          },
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
  ];
}

async function postRoute(context: Context, request: ApiRequest): Promise<Reply> {
  const { records, access } = context;
  const reader = new Reader(request.body).only('host', 'path', 'port', 'relationships', 'metadata', 'options');
  const host = reader.nullableString('host')?.toLowerCase() ?? '';
  const path = reader.nullableString('path') ?? '';
  const port = reader.integer('port', { min: 1, max: 65_535 });
  const options = readOptions(reader);
  const spaceGuid = reader.relationship('space', { required: true });
  const domainGuid = reader.relationship('domain', { required: true });
  const metadata = reader.metadata();
  reader.done();
  requireAllowed(context, options);
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
    ...(port === undefined ? {} : { port }),
    ...(options === undefined ? {} : { options: mergedOptions({}, options) }),
    userMetadata: mergeMetadata(undefined, metadata),
  });
  return created(presentRoute(context.urls, route, space.metadata.name));
}
