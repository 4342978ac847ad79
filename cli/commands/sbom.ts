/** The bill of materials of what an app runs. */
import { type SpaceContext, requireApp } from '../context.ts';
import { CliError } from '../errors.ts';
import { printJson } from '../output.ts';
import { dropletOf } from '../push/push.ts';

export async function sbom(context: SpaceContext, name: string): Promise<void> {
  const app = await requireApp(context, name);
  const droplet = await dropletOf(context.api, app);
  if (!droplet) throw new CliError(`The app ${name} has no droplet.`, `Push it: \`sampan push ${name}\`.`);
  printJson(await context.api.get<unknown>(`/v3/droplets/${droplet.guid}/sbom`));
}
