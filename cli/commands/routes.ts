/** Routes of the space. */
import { type SpaceContext, byName, requireApp } from '../context.ts';
import { CliError } from '../errors.ts';
import { note, print, printJson, table } from '../output.ts';
import type { App, Named, Route } from '../resources.ts';

export interface RouteFlags {
  hostname?: string;
  path?: string;
  port?: string;
  appProtocol?: string;
}

export async function routes(context: SpaceContext, options: { json?: boolean }): Promise<void> {
  const { api, space } = context;
  const [list, apps, { routes: uses }] = await Promise.all([
    api.all<Route>(`/v3/routes?space_guids=${space.guid}`),
    api.all<App>(`/v3/apps?space_guids=${space.guid}`),
    api.get<{ routes: RouteUse[] }>(`/v3/spaces/${space.guid}/route_use`),
  ]);
  const useOf = new Map(uses.map(({ guid, ...use }) => [guid, use]));
  const nameOf = new Map(apps.map((app) => [app.guid, app.name]));
  const views = list.map((route) => ({
    guid: route.guid,
    url: route.url,
    protocol: route.protocol,
    apps: [
      ...new Set(route.destinations.map((destination) => nameOf.get(destination.app.guid) ?? destination.app.guid)),
    ],
    lastMinute: useOf.get(route.guid),
  }));
  if (options.json) return printJson(views);
  print(
    table(
      views.map((view) => [view.url, view.protocol, view.apps.join(', '), ...useWords(view.lastMinute)]),
      ['route', 'protocol', 'apps', 'requests/s', 'errors', 'p50', 'p95', 'p99'],
    ),
  );
}

/** Of the last minute; durations in milliseconds. */
interface RouteUse {
  guid: string;
  requests_per_second: number;
  errors: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

function useWords(use: Omit<RouteUse, 'guid'> | undefined): string[] {
  if (use === undefined) return ['', '', '', '', ''];
  const milliseconds = (value: number | null): string => (value === null ? '' : `${value.toFixed(0)} ms`);
  const { requests_per_second: rate, errors, p50, p95, p99 } = use;
  return [rate.toFixed(rate < 10 ? 1 : 0), String(errors), ...[p50, p95, p99].map(milliseconds)];
}

export async function mapRoute(
  context: SpaceContext,
  appName: string,
  domainName: string,
  flags: RouteFlags,
): Promise<void> {
  const { api, space } = context;
  const app = await requireApp(context, appName);
  const domain = await requireDomain(context, domainName);
  const route =
    (await findRoute(context, domain, flags)) ??
    (await api.post<Route>('/v3/routes', {
      ...(flags.hostname === undefined ? {} : { host: flags.hostname }),
      ...(flags.path ? { path: withSlash(flags.path) } : {}),
      ...(flags.port === undefined ? {} : { port: Number(flags.port) }),
      relationships: { domain: { data: { guid: domain.guid } }, space: { data: { guid: space.guid } } },
    }));
  await api.post(`/v3/routes/${route.guid}/destinations`, {
    destinations: [{ app: { guid: app.guid }, ...(flags.appProtocol ? { protocol: flags.appProtocol } : {}) }],
  });
  note(`${route.url} leads to ${appName}.`);
}

export async function unmapRoute(
  context: SpaceContext,
  appName: string,
  domainName: string,
  flags: RouteFlags,
): Promise<void> {
  const app = await requireApp(context, appName);
  const domain = await requireDomain(context, domainName);
  const route = await findRoute(context, domain, flags);
  const destinations = route?.destinations.filter((destination) => destination.app.guid === app.guid) ?? [];
  if (!route || destinations.length === 0) return note(`That route does not lead to ${appName}.`);
  for (const destination of destinations)
    await context.api.delete(`/v3/routes/${route.guid}/destinations/${destination.guid}`);
  note(`${route.url} no longer leads to ${appName}.`);
}

async function requireDomain(context: SpaceContext, name: string): Promise<Named> {
  const domain = await byName<Named>(context.api, `/v3/domains?names=${encodeURIComponent(name)}`);
  if (domain) return domain;
  const known = await context.api.all<Named>('/v3/domains');
  throw new CliError(
    `There is no domain ${JSON.stringify(name)}.`,
    `Use one of ${known.map((each) => each.name).join(', ')}.`,
  );
}

async function findRoute({ api }: SpaceContext, domain: Named, flags: RouteFlags): Promise<Route | undefined> {
  const query = new URLSearchParams({
    domain_guids: domain.guid,
    hosts: flags.hostname ?? '',
    paths: flags.path ? withSlash(flags.path) : '',
  });
  return (await api.all<Route>(`/v3/routes?${query}`)).find(
    (route) =>
      route.host === (flags.hostname ?? '') &&
      route.path === (flags.path ? withSlash(flags.path) : '') &&
      String(route.port ?? '') === (flags.port ?? ''),
  );
}

function withSlash(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}
