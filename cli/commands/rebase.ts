/** Newer stacks below apps that are built already. */
import { type SpaceContext, requireApp } from '../context.ts';
import { CliError } from '../errors.ts';
import { note } from '../output.ts';
import { deploy } from '../push/push.ts';
import type { App, Droplet, Resource } from '../resources.ts';
import type { Api } from '../api.ts';

type Named = Resource & { name: string };

export async function updateStack({ api }: { api: Api }): Promise<void> {
  note('Making the stack anew of the packages that there are now; this takes a minute...');
  const [stack] = await api.all<Named>('/v3/stacks');
  if (stack === undefined) throw new CliError('There is no stack.', 'Ask an administrator of the platform.');
  await api.submit('POST', `/v3/stacks/${stack.guid}/actions/update`, undefined, { wait: true });
  note(`The stack ${stack.name} is made. Builds take it from now on; \`sampan rebase --all\` puts it below what runs.`);
}

export async function rebase(
  context: SpaceContext,
  name: string | undefined,
  { all }: { all?: boolean },
): Promise<void> {
  if ((name === undefined) === (all !== true))
    throw new CliError('Name one app, or all of them.', 'Use `sampan rebase APP` or `sampan rebase --all`.');
  if (name !== undefined) return await rebaseOne(context.api, await requireApp(context, name));
  const failed: string[] = [];
  for (const app of await context.api.all<App>(`/v3/apps?space_guids=${context.space.guid}`)) {
    try {
      await rebaseOne(context.api, app);
    } catch (error) {
      // One that cannot be is no reason to leave the others on what is old.
      failed.push(app.name);
      note(`${app.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  if (failed.length > 0)
    throw new CliError(
      `Not rebased: ${failed.join(', ')}.`,
      'Push or restage them: `sampan push APP`, `cf restage APP`.',
    );
}

/** The old version serves until the new one is healthy, and its droplet stays for a rollback. */
async function rebaseOne(api: Api, app: App): Promise<void> {
  const before = (
    await api.get<{ data: { guid: string } | null }>(`/v3/apps/${app.guid}/relationships/current_droplet`)
  ).data;
  const droplet = await api.post<Droplet>(`/v3/apps/${app.guid}/actions/rebase`);
  if (droplet.guid === before?.guid) {
    note(`${app.name} is on the newest stack.`);
    return;
  }
  note(`Rebasing ${app.name}...`);
  if (app.state === 'STARTED') await deploy(api, app, { droplet: { guid: droplet.guid } }, 'rolling');
  else await api.patch(`/v3/apps/${app.guid}/relationships/current_droplet`, { data: { guid: droplet.guid } });
  note(`${app.name} is on the newest stack now.`);
}
