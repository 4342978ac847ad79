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
  const [list, apps] = await Promise.all([
    api.all<Route>(`/v3/routes?space_guids=${space.guid}`),
    api.all<App>(`/v3/apps?space_guids=${space.guid}`),
  ]);
  const nameOf = new Map(apps.map((app) => [app.guid, app.name]));
  const views = list.map((route) => ({
    guid: route.guid,
    url: route.url,
    protocol: route.protocol,
    apps: [
      ...new Set(route.destinations.map((destination) => nameOf.get(destination.app.guid) ?? destination.app.guid)),
    ],
  }));
  if (options.json) return printJson(views);
  print(
    table(
      views.map((view) => [view.url, view.protocol, view.apps.join(', ')]),
      ['route', 'protocol', 'apps'],
    ),
  );
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
    (route) => route.host === (flags.hostname ?? '') && route.path === (flags.path ? withSlash(flags.path) : ''),
  );
}

function withSlash(path: string): string {
  return path.startsWith('/') ? path : `/${path}`;
}
