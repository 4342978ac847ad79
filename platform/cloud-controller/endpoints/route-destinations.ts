/** Where routes lead: to which processes of which apps, at which of their ports, how they are spoken to, and with which share. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Route } from '../../resources/types.ts';
import { type ApiRequest, type Context, type Endpoint, ok } from '../api.ts';
import { notFound, unprocessable } from '../errors.ts';
import { splitList } from '../listing.ts';
import { mapRoute, type NewDestination, unmapRoute } from '../operations/routes.ts';
import { operateRoute, readRoute, requireSpace } from '../operations/route-sharing.ts';
import { protocolFor } from '../operations/tcp-routes.ts';
import { presentDestination, presentDestinations } from '../present/routes.ts';
import { isObject, Reader } from '../validate.ts';

/** What apps are told to listen on unless their image says otherwise. */
const DEFAULT_PORT = 8080;
const MOST = 100;

export function routeDestinationEndpoints(context: Context): Endpoint[] {
  const { records, urls } = context;
  const read = (request: ApiRequest) => readRoute(context, request);
  const write = (request: ApiRequest) => operateRoute(context, request);
  return [
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
          const replace = method === 'PATCH';
          const destinations = readDestinations(context, request, route, replace);
          const changed = await mapRoute(context, request.identity, route, destinations, { replace });
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
        const asked = reader.nullableString('protocol') ?? undefined;
        reader.done();
        const protocol = protocolFor(route, asked);
        const changed = await records.routes.modify(route.metadata.name, (current) => ({
          ...current,
          spec: {
            ...current.spec,
            destinations: current.spec.destinations.map((destination) =>
              destination.guid === guid ? { ...destination, protocol } : destination,
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
        const gone = route.spec.destinations.find((destination) => destination.guid === guid);
        if (!gone) {
          throw unprocessable(
            'Unable to unmap route from destination. Ensure the route has a destination with this guid.',
          );
        }
        if (gone.weight !== undefined) throw unprocessable('Weighted destinations cannot be deleted individually.');
        await unmapRoute(context, request.identity, route, (destination) => destination.guid === guid);
        return { status: 204 };
      },
    },
  ];
}

function readDestinations(
  context: Context,
  request: ApiRequest,
  route: Stored<Route>,
  replace: boolean,
): NewDestination[] {
  const reader = new Reader(request.body).only('destinations');
  const list: unknown = request.body.destinations;
  const least = replace ? 0 : 1;
  if (!Array.isArray(list) || list.length < least || list.length > MOST) {
    reader.fail(`Destinations must be an array containing between ${least} and ${MOST} destination objects.`);
  }
  reader.done();
  const destinations = (list as unknown[]).map((entry, position) =>
    readDestination(context, request, route, { entry, where: `Destinations[${position}]:`, replace }),
  );
  checkWeights(destinations);
  return destinations;
}

function readDestination(
  context: Context,
  request: ApiRequest,
  route: Stored<Route>,
  { entry, where, replace }: { entry: unknown; where: string; replace: boolean },
): NewDestination {
  const destination = isObject(entry) ? entry : {};
  const target = isObject(destination.app) ? destination.app : {};
  const process = isObject(target.process) ? target.process : {};
  const app = context.records.apps.get(typeof target.guid === 'string' ? target.guid : '');
  if (!app || !context.access.visible(request.identity, [app]).includes(app)) {
    throw unprocessable(
      `App(s) with guid(s) ${JSON.stringify(target.guid ?? null)} do not exist or you do not have access.`,
    );
  }
  requireSpace(context, route, app);
  const port = destination.port ?? undefined;
  if (port !== undefined && !isWhole(port, 1024, 65_535))
    throw unprocessable(`${where} port must be a positive integer between 1024 and 65535 inclusive.`);
  const protocol = destination.protocol ?? undefined;
  if (protocol !== undefined && !['http1', 'http2', 'tcp'].includes(String(protocol)))
    throw unprocessable(`${where} protocol must be 'http1', 'http2' or 'tcp'.`);
  const weight = destination.weight ?? undefined;
  if (weight !== undefined && !replace)
    throw unprocessable(`${where} weighted destinations can only be used when replacing all destinations.`);
  if (weight !== undefined && !isWhole(weight, 1, 100))
    throw unprocessable(`${where} weight must be a positive integer between 1 and 100.`);
  const type = process.type ?? 'web';
  if (typeof type !== 'string' || !/^[A-Za-z0-9_-]{1,255}$/.test(type))
    throw unprocessable(`${where} process type must be letters, digits, '-' and '_'.`);
  const own = app.spec.lifecycle.type !== 'docker' && port === DEFAULT_PORT;
  return {
    app,
    processType: type,
    protocol: protocolFor(route, protocol === undefined ? undefined : String(protocol)),
    ...(port === undefined || own ? {} : { port }),
    ...(weight === undefined ? {} : { weight }),
  };
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}

function checkWeights(destinations: readonly NewDestination[]): void {
  const weights = destinations.flatMap(({ weight }) => weight ?? []);
  if (weights.length === 0) return;
  if (weights.length < destinations.length)
    throw unprocessable('Destinations cannot contain both weighted and unweighted destinations.');
  if (weights.reduce((sum, weight) => sum + weight, 0) !== 100)
    throw unprocessable('Destinations must have weights that sum to 100.');
}
