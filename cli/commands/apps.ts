/** Commands that show apps. */
import type { Api } from '../api.ts';
import { type SpaceContext, requireApp } from '../context.ts';
import { percent, print, printJson, size, table } from '../output.ts';
import { dropletOf } from '../push/push.ts';
import type { App, InstanceStats, Process, Route } from '../resources.ts';

interface AppView {
  name: string;
  guid: string;
  state: string;
  routes: string[];
  image: string | null;
  buildpacks: string[];
  stack: string | null;
  processes: ProcessView[];
}

interface ProcessView {
  type: string;
  wanted: number;
  memoryMb: number;
  diskMb: number;
  command: string | null;
  instances: InstanceView[];
}

interface InstanceView {
  index: number;
  state: string;
  ip: string | null;
  node: string | null;
  since: string | null;
  memory: number | null;
  cpu: number | null;
  disk: number | null;
  details: string | null;
}

export async function apps(context: SpaceContext, options: { json?: boolean }): Promise<void> {
  const { api, space } = context;
  const [list, processes, routes] = await Promise.all([
    api.all<App>(`/v3/apps?space_guids=${space.guid}&order_by=name`),
    api.all<Process & { relationships: { app: { data: { guid: string } } } }>(
      `/v3/processes?space_guids=${space.guid}`,
    ),
    api.all<Route>(`/v3/routes?space_guids=${space.guid}`),
  ]);
  const views = list.map((app) => ({
    name: app.name,
    guid: app.guid,
    state: app.state,
    processes: processes
      .filter((process) => process.relationships.app.data.guid === app.guid && process.instances > 0)
      .map((process) => `${process.type}:${process.instances}`),
    routes: routes
      .filter((route) => route.destinations.some((destination) => destination.app.guid === app.guid))
      .map((route) => route.url),
  }));
  if (options.json) return printJson(views);
  if (views.length === 0) return print('No apps yet. Push one: `sampan push NAME -p DIRECTORY`.');
  print(
    table(
      views.map((view) => [view.name, view.state.toLowerCase(), view.processes.join(', '), view.routes.join(', ')]),
      ['name', 'state', 'processes', 'routes'],
    ),
  );
}

export async function app(
  context: SpaceContext,
  name: string,
  options: { json?: boolean; guid?: boolean },
): Promise<void> {
  const found = await requireApp(context, name);
  if (options.guid) return print(found.guid);
  await showApp(context, found, options);
}

export async function showApp(context: SpaceContext, found: App, options: { json?: boolean }): Promise<void> {
  const view = await readApp(context.api, found);
  if (options.json) return printJson(view);
  print(appText(view));
}

export async function readApp(api: Api, found: App): Promise<AppView> {
  const [processes, routes, droplet] = await Promise.all([
    api.all<Process>(`/v3/apps/${found.guid}/processes`),
    api.all<Route>(`/v3/apps/${found.guid}/routes`),
    dropletOf(api, found),
  ]);
  const stats = await Promise.all(
    processes.map((process) => api.get<{ resources: InstanceStats[] }>(`/v3/processes/${process.guid}/stats`)),
  );
  return {
    name: found.name,
    guid: found.guid,
    state: found.state,
    routes: routes.map((route) => `${urlScheme(api)}://${route.url}${urlPort(api)}`),
    image: droplet?.image ?? null,
    buildpacks: (droplet?.buildpacks ?? []).map(
      (buildpack) => `${buildpack.name}${buildpack.version ? ` ${buildpack.version}` : ''}`,
    ),
    stack: droplet?.stack ?? null,
    processes: processes.map((process, at) => ({
      type: process.type,
      wanted: process.instances,
      memoryMb: process.memory_in_mb,
      diskMb: process.disk_in_mb,
      command: process.command,
      instances: (stats[at]?.resources ?? [])
        .filter((instance) => process.instances > 0 || instance.state !== 'DOWN')
        .map(instanceView),
    })),
  };
}

/** Routes are shown as they are opened from here: with the port where it is not the usual one. */
function urlScheme(_api: Api): string {
  return 'https';
}

function urlPort(api: Api): string {
  const { port } = new URL(api.target.api);
  return port && `:${port}`;
}

function instanceView(stats: InstanceStats): InstanceView {
  const since =
    stats.since ??
    (stats.uptime === undefined
      ? null
      : new Date(Date.now() - stats.uptime * 1000).toISOString().replace(/\.\d+Z/, 'Z'));
  return {
    index: stats.index,
    state: stats.state,
    ip: stats.instance_internal_ip ?? null,
    node: stats.node ?? stats.host ?? null,
    since,
    memory: stats.usage?.mem ?? null,
    cpu: stats.usage?.cpu ?? null,
    disk: stats.usage?.disk ?? null,
    details: stats.details ?? null,
  };
}

function appText(view: AppView): string {
  const head = [
    ['name:', view.name],
    ['state:', view.state.toLowerCase()],
    ['routes:', view.routes.join(', ')],
    ['stack:', view.stack ?? ''],
    ['buildpacks:', view.buildpacks.join(', ')],
    ['image:', view.image ?? ''],
  ];
  const processes = view.processes.map((process) => {
    const running = process.instances.filter((instance) => instance.state === 'RUNNING').length;
    const rows = process.instances.map((instance) => [
      `#${instance.index}`,
      instance.state.toLowerCase(),
      instance.since ?? '',
      percent(instance.cpu ?? undefined),
      `${size(instance.memory ?? undefined)} of ${process.memoryMb}M`,
      `${size(instance.disk ?? undefined)} of ${process.diskMb}M`,
      instance.ip ?? '',
      instance.details ?? '',
    ]);
    return `\ntype:        ${process.type}\ninstances:   ${running}/${process.instances.length}\nmemory:      ${process.memoryMb}M\n${
      rows.length > 0
        ? table(rows, ['', 'state', 'since', 'cpu', 'memory', 'disk', 'ip', 'details'])
        : `There are no running instances of this process.`
    }`;
  });
  return [...head.map(([label = '', value = '']) => `${label.padEnd(12)} ${value}`.trimEnd()), ...processes].join('\n');
}
