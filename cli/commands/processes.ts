import type { Api } from '../api.ts';
import { CliError } from '../errors.ts';
import type { App, Process } from '../resources.ts';

/** The app's process of this type; an error that names those that there are. */
export async function requireProcess(api: Api, app: App, type: string): Promise<Process> {
  const all = await api.all<Process>(`/v3/apps/${app.guid}/processes`);
  const found = all.find((process) => process.type === type);
  if (found) return found;
  const types = all.map((process) => process.type).join(', ');
  throw new CliError(`${app.name} has no process ${JSON.stringify(type)}.`, `It has: ${types || 'none'}.`);
}
