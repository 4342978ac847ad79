/** Commands that change an app as a whole. */
import { confirm } from '../ask.ts';
import { type SpaceContext, findApp, requireApp } from '../context.ts';
import { CliError } from '../errors.ts';
import { note } from '../output.ts';
import { deploy, dropletOf, waitRunning } from '../push/push.ts';
import type { Process, Route } from '../resources.ts';
import { count, megabytes } from '../sizes.ts';
import { app as showApp } from './apps.ts';

export async function start(context: SpaceContext, name: string): Promise<void> {
  const app = await requireApp(context, name);
  if (app.state === 'STARTED') note(`App ${name} is already started.`);
  else await context.api.post(`/v3/apps/${app.guid}/actions/start`);
  await waitRunning(context.api, app);
  await showApp(context, name, {});
}

export async function stop(context: SpaceContext, name: string): Promise<void> {
  const app = await requireApp(context, name);
  await context.api.post(`/v3/apps/${app.guid}/actions/stop`);
  note(`App ${name} is stopped.`);
}

export async function restart(context: SpaceContext, name: string, options: { strategy?: string }): Promise<void> {
  const app = await requireApp(context, name);
  if (options.strategy === 'rolling' || options.strategy === 'canary') {
    const droplet = await dropletOf(context.api, app);
    await deploy(context.api, app, droplet ? { droplet: { guid: droplet.guid } } : {}, options.strategy);
  } else if (options.strategy !== undefined && options.strategy !== 'null') {
    throw new CliError(`Cannot use ${JSON.stringify(options.strategy)} as --strategy.`, 'Use rolling or canary.');
  } else {
    await context.api.post(`/v3/apps/${app.guid}/actions/restart`);
    await waitRunning(context.api, app);
  }
  await showApp(context, name, {});
}

export interface ScaleOptions {
  instances?: string;
  memory?: string;
  disk?: string;
  process?: string;
}

export async function scale(context: SpaceContext, name: string, options: ScaleOptions): Promise<void> {
  const { api } = context;
  const app = await requireApp(context, name);
  const type = options.process ?? 'web';
  const change = {
    ...(options.instances === undefined ? {} : { instances: count(options.instances, '-i') }),
    ...(options.memory === undefined ? {} : { memory_in_mb: megabytes(options.memory, '-m') }),
    ...(options.disk === undefined ? {} : { disk_in_mb: megabytes(options.disk, '-k') }),
  };
  if (Object.keys(change).length === 0) return showApp(context, name, {});
  await api.post<Process>(`/v3/apps/${app.guid}/processes/${encodeURIComponent(type)}/actions/scale`, change);
  const resized = 'memory_in_mb' in change || 'disk_in_mb' in change;
  if (app.state === 'STARTED') {
    // New limits need new instances; they come one after another, and requests go on.
    const droplet = resized ? await dropletOf(api, app) : undefined;
    if (droplet) await deploy(api, app, { droplet: { guid: droplet.guid } }, 'rolling');
    else if (change.instances !== 0) await waitRunning(api, app);
  }
  await showApp(context, name, {});
}

export async function remove(
  context: SpaceContext,
  name: string,
  options: { force?: boolean; routes?: boolean },
): Promise<void> {
  const { api } = context;
  const app = await findApp(context, name);
  if (!app) return note(`App ${name} does not exist.`);
  if (!options.force) await confirm(`Really delete the app ${name}?`, 'Nothing was deleted.');
  if (options.routes) {
    for (const route of await api.all<Route>(`/v3/apps/${app.guid}/routes`))
      await api.delete(`/v3/routes/${route.guid}`);
  }
  await api.delete(`/v3/apps/${app.guid}`);
  note(`App ${name} is deleted.`);
}
