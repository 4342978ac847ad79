/** Makes, maps, unmaps and deletes routes. */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import {
  type App,
  type Destination,
  type Domain,
  labels,
  type Route,
  type Space,
  type UserMetadata,
} from '../../resources/types.ts';
import type { Identity } from '../../uaa/uaa.ts';
import type { Context } from '../api.ts';
import { UnprocessableError, unprocessable } from '../errors.ts';
import { routeUrl } from '../present/routes.ts';
import type { Holder } from '../reservations.ts';
import { emit, record } from './app-lifecycle.ts';
import { requireRoute, underQuota } from './quota.ts';
import { serially } from './serially.ts';
import { unbindRoute } from './service-bindings.ts';
import { freePort, isTcp, tcpProblem, unavailable } from './tcp-routes.ts';

export interface NewRoute {
  space: Stored<Space>;
  domain: Stored<Domain>;
  host: string;
  path: string;
  /** Of a TCP route; absent: any free one. */
  port?: number;
  options?: Route['spec']['options'];
  userMetadata?: UserMetadata;
}

interface RouteKey {
  domain: string;
  host: string;
  path: string;
  port?: number | undefined;
}

/** Ports are the router's: of two TCP domains only one has it. */
function routeKey({ domain, host, path, port }: RouteKey): string[] {
  return port === undefined ? [domain, host, path] : ['tcp', String(port)];
}

function routeHolder(route: { guid: string; namespace: string }): Holder {
  return { resource: 'routes', namespace: route.namespace, name: route.guid };
}

/** Why a host, path or port cannot be, in words for people. */
export function routeProblem(
  context: Context,
  route: Pick<NewRoute, 'domain' | 'host' | 'path' | 'port'>,
): string | undefined {
  const { domain, host, path } = route;
  if (isTcp(domain)) return tcpProblem(context, route);
  if (route.port !== undefined) return "Routes with protocol 'http' do not support ports.";
  if (host === '' && domain.spec.displayName === context.domain) {
    return 'Missing host. Routes in shared domains must have a host defined.';
  }
  const label = /^(?:\*|[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)$/;
  if (host !== '' && !label.test(host)) {
    return `Host ${JSON.stringify(host.slice(0, 80))} must be "*", or labels of at most 63 letters, digits and '-' that begin and end with a letter or digit.`;
  }
  if (`${host}.${domain.spec.displayName}`.length > 253)
    return 'Host combined with domain name must be at most 253 characters.';
  if (domain.spec.displayName === context.domain && (context.reservedHosts.includes(host) || host === '*')) {
    return `The host '${host}' on the domain '${context.domain}' is reserved for the platform.`;
  }
  if (domain.spec.internal) {
    if (host === '') return 'Hostname cannot be empty for internal domains.';
    if (host.includes('*')) return 'Wildcard hosts are not supported for internal domains.';
    if (path !== '') return 'Paths are not supported for internal domains.';
  }
  if (path === '') return undefined;
  if (!path.startsWith('/')) return "Path must begin with '/'";
  if (path === '/') return "Path cannot be a single '/'";
  if (path.length > 128) return 'Path must be at most 128 characters';
  if (!/^(?:\/[A-Za-z0-9._~!$&()*+,;=:@-]+)+$/.test(path)) {
    return `Path ${JSON.stringify(path.slice(0, 80))} must be segments of letters, digits and . _ ~ - without an empty one, '?', '#', '%' or quotation marks`;
  }
  if (path.split('/').some((segment) => segment === '.' || segment === '..'))
    return "Path cannot have '.' or '..' segments";
  return undefined;
}

export function findRoute(context: Context, key: RouteKey): Stored<Route> | undefined {
  return context.records.routes
    .all()
    .find(
      (route) =>
        route.spec.domain === key.domain &&
        route.spec.host === key.host &&
        route.spec.path === key.path &&
        route.spec.port === key.port &&
        !route.metadata.deletionTimestamp,
    );
}

export async function createRoute(context: Context, identity: Identity, input: NewRoute): Promise<Stored<Route>> {
  const { space, host } = input;
  const problem = routeProblem(context, input);
  if (problem !== undefined) throw unprocessable(problem);
  context.flags.require(identity, 'route_creation');
  const route = await underQuota(space, () => {
    requireRoute(context, space, { port: isTcp(input.domain) });
    return isTcp(input.domain) ? makeTcpRoute(context, input) : makeRoute(context, input);
  });
  await context.audit.record({
    type: 'audit.route.create',
    actor: identity,
    target: { guid: route.metadata.name, type: 'route', name: host },
    space,
    data: { request: { url: routeUrl(route) } },
  });
  return route;
}

async function makeTcpRoute(context: Context, input: NewRoute): Promise<Stored<Route>> {
  const taken = new Set<number>();
  for (;;) {
    const port = input.port ?? freePort(context, taken);
    try {
      return await makeRoute(context, { ...input, port });
    } catch (error) {
      if (input.port !== undefined || !(error instanceof RouteTaken)) throw error;
      taken.add(port);
    }
  }
}

class RouteTaken extends UnprocessableError {}

function takenMessage(context: Context, { domain, host, path, port }: NewRoute): string {
  const name = domain.spec.displayName;
  if (port !== undefined) {
    const own = findRoute(context, { domain: domain.metadata.name, host, path, port });
    return own ? `Route already exists with port '${port}' for domain '${name}'.` : unavailable(port);
  }
  const where = path === '' ? '' : ` and path '${path}'`;
  return host === ''
    ? `Route already exists for domain '${name}'${where}.`
    : `Route already exists with host '${host}'${where} for domain '${name}'.`;
}

async function makeRoute(context: Context, input: NewRoute): Promise<Stored<Route>> {
  const { space, domain, host, path, port, options, userMetadata } = input;
  const guid = randomUUID();
  const { namespace } = space.spec;
  const key = { domain: domain.metadata.name, host, path, port };
  const holder = routeHolder({ guid, namespace });
  if (!(await context.reservations.take('route', routeKey(key), holder))) {
    throw new RouteTaken([takenMessage(context, input)]);
  }
  try {
    return await context.records.routes.create({
      metadata: { name: guid, namespace, labels: { [labels.space]: space.metadata.name } },
      spec: {
        domain: domain.metadata.name,
        domainName: domain.spec.displayName,
        host,
        path,
        protocol: port === undefined ? 'http' : 'tcp',
        destinations: [],
        ...(port === undefined ? {} : { port }),
        ...(options === undefined ? {} : { options }),
        ...(userMetadata ? { userMetadata } : {}),
      },
    });
  } catch (error) {
    await context.reservations.release('route', routeKey(key), holder);
    throw error;
  }
}

export interface NewDestination {
  app: Stored<App>;
  processType: string;
  port?: number;
  protocol: Destination['protocol'];
  /** All of a route have one, or none. */
  weight?: number;
}

const DUPLICATES = 'Destinations cannot contain duplicate entries';
const WEIGHTED = 'Destinations cannot be inserted when there are weighted destinations already configured.';

/** Adds what is not there yet; `replace` removes all others, and alone may give weights. */
export async function mapRoute(
  context: Context,
  identity: Identity,
  route: Stored<Route>,
  added: NewDestination[],
  options: { replace?: boolean } = {},
): Promise<Stored<Route>> {
  const same = (destination: Destination, wanted: NewDestination) =>
    destination.app === wanted.app.metadata.name &&
    destination.processType === wanted.processType &&
    destination.port === wanted.port;
  const changed = await context.records.routes.modify(route.metadata.name, (current) => {
    const old = current.spec.destinations;
    if (!options.replace && old.some(({ weight }) => weight !== undefined)) throw unprocessable(WEIGHTED);
    const known = added.map((wanted) => old.find((destination) => same(destination, wanted)));
    const wanted = added.map((one, index) => ({ guid: known[index]?.guid ?? randomUUID(), ...destinationOf(one) }));
    const keys = wanted.map(({ app, processType, port }) => `${app} ${processType} ${port}`);
    if (new Set(keys).size < keys.length) throw unprocessable(DUPLICATES);
    const kept = options.replace ? [] : old.filter((destination) => !known.includes(destination));
    const destinations = [...kept, ...wanted];
    if (destinations.length > 100) throw unprocessable('Routes can be mapped to at most 100 destinations.');
    return { ...current, spec: { ...current.spec, destinations } };
  });
  for (const { app, processType } of added) {
    await record(context, identity, app, 'audit.app.map-route', {
      route_guid: route.metadata.name,
      route: routeUrl(route),
      process_type: processType,
    });
    emit(context, app, 'Updated', `mapped route ${routeUrl(route)}`);
  }
  return changed;
}

function destinationOf({ app, processType, port, protocol, weight }: NewDestination): Omit<Destination, 'guid'> {
  return {
    app: app.metadata.name,
    processType,
    protocol,
    ...(port === undefined ? {} : { port }),
    ...(weight === undefined ? {} : { weight }),
  };
}

/** Removes the destinations for which `gone` is true. */
export async function unmapRoute(
  context: Context,
  identity: Identity,
  route: Stored<Route>,
  gone: (destination: Destination) => boolean,
): Promise<Stored<Route>> {
  const removed = route.spec.destinations.filter(gone);
  const changed = await context.records.routes.modify(route.metadata.name, (current) => {
    const destinations = current.spec.destinations.filter((destination) => !gone(destination));
    return destinations.length === current.spec.destinations.length
      ? undefined
      : { ...current, spec: { ...current.spec, destinations } };
  });
  for (const destination of removed) {
    const app = context.records.apps.get(destination.app);
    if (!app) continue;
    await record(context, identity, app, 'audit.app.unmap-route', {
      route_guid: route.metadata.name,
      route: routeUrl(route),
      process_type: destination.processType,
    });
  }
  return changed;
}

/** With its binding to a service, where it has one: what cannot be unbound stays. */
export async function deleteRoute(context: Context, identity: Identity, route: Stored<Route>): Promise<void> {
  const space = context.records.spaceOf(route);
  await unbindRoute(context, identity, route);
  // One that is on its way to another space is deleted there.
  await serially(`route ${route.metadata.name}`, () => context.records.routes.delete(route.metadata.name));
  await context.reservations.release(
    'route',
    routeKey(route.spec),
    routeHolder({ guid: route.metadata.name, namespace: route.metadata.namespace ?? '' }),
  );
  await context.audit.record({
    type: 'audit.route.delete-request',
    actor: identity,
    target: { guid: route.metadata.name, type: 'route', name: route.spec.host },
    ...(space ? { space } : {}),
    data: { request: { recursive: true } },
  });
}

/** A host of any text: what is left of it as one DNS label. */
export function hostOf(text: string): string {
  const slug = text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '');
  return slug === '' ? 'app' : slug;
}
