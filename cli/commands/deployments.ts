/** Deployments that are under way, and revisions to go back to. */
import { confirm } from '../ask.ts';
import { requireApp, type SpaceContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { note, print, printJson, table } from '../output.ts';
import { deploy, waitDeployed } from '../push/push.ts';
import type { App, Deployment, Page, Revision } from '../resources.ts';
import { count } from '../sizes.ts';
import { app as showApp } from './apps.ts';

export interface RollbackFlags {
  version: string;
  strategy?: string;
  force?: boolean;
}

export async function revisions(context: SpaceContext, name: string, options: { json?: boolean }): Promise<void> {
  const { api } = context;
  const { guid } = await requireApp(context, name);
  const [all, deployed] = await Promise.all([
    api.all<Revision>(`/v3/apps/${guid}/revisions?order_by=-created_at`),
    api.all<Revision>(`/v3/apps/${guid}/revisions/deployed`),
  ]);
  const views = all.map((revision) => ({
    version: revision.version,
    deployed: deployed.some((one) => one.guid === revision.guid),
    description: revision.description,
    deployable: revision.deployable,
    guid: revision.guid,
    createdAt: revision.created_at,
  }));
  if (options.json) return printJson(views);
  const rows = views.map((view) => [
    `${view.version}${view.deployed ? ' (deployed)' : ''}`,
    view.description,
    String(view.deployable),
    view.createdAt,
  ]);
  print(table(rows, ['revision', 'description', 'deployable', 'created at']));
}

export async function rollback(context: SpaceContext, name: string, options: RollbackFlags): Promise<void> {
  const { version, strategy = 'rolling', force } = options;
  if (strategy !== 'rolling' && strategy !== 'canary')
    throw new CliError(`Cannot use ${JSON.stringify(strategy)} as --strategy.`, 'Use rolling or canary.');
  const app = await requireApp(context, name);
  const wanted = count(version, '--version');
  const [revision] = (await context.api.get<Page<Revision>>(`/v3/apps/${app.guid}/revisions?versions=${wanted}`))
    .resources;
  if (!revision) throw new CliError(`${name} has no revision ${wanted}.`, `See \`sampan revisions ${name}\`.`);
  if (!force) await confirm(`Really roll ${name} back to revision ${wanted}?`, 'Nothing was changed.');
  await deploy(context.api, app, { revision: { guid: revision.guid } }, strategy);
  await showApp(context, name, {});
}

export async function continueDeployment(
  context: SpaceContext,
  name: string,
  options: { wait: boolean },
): Promise<void> {
  const app = await requireApp(context, name);
  const { guid } = await activeDeployment(context, app);
  await context.api.post(`/v3/deployments/${guid}/actions/continue`);
  if (!options.wait) return note(`The deployment of ${name} goes on. See \`sampan app ${name}\`.`);
  await waitDeployed(context.api, app, guid);
  await showApp(context, name, {});
}

export async function cancelDeployment(context: SpaceContext, name: string): Promise<void> {
  const { guid } = await activeDeployment(context, await requireApp(context, name));
  await context.api.post(`/v3/deployments/${guid}/actions/cancel`);
  note(`The deployment of ${name} is taken back. See \`sampan app ${name}\`.`);
}

async function activeDeployment({ api }: SpaceContext, { guid, name }: App): Promise<Deployment> {
  const query = `app_guids=${guid}&status_values=ACTIVE&order_by=-created_at`;
  const [deployment] = (await api.get<Page<Deployment>>(`/v3/deployments?${query}`)).resources;
  if (deployment) return deployment;
  throw new CliError(`No deployment of ${name} is under way.`, `See \`sampan app ${name}\`.`);
}
