/** Environment variables and events of an app. */
import { type SpaceContext, requireApp } from '../context.ts';
import { CliError } from '../errors.ts';
import { note, print, printJson, table } from '../output.ts';
import type { AuditEvent } from '../resources.ts';

interface Environment {
  environment_variables: Record<string, string>;
  system_env_json: Record<string, unknown>;
  application_env_json: Record<string, unknown>;
}

export async function env(context: SpaceContext, name: string, options: { json?: boolean }): Promise<void> {
  const app = await requireApp(context, name);
  const found = await context.api.get<Environment>(`/v3/apps/${app.guid}/env`);
  if (options.json) return printJson(found);
  const own = Object.entries(found.environment_variables);
  const given = { ...found.system_env_json, ...found.application_env_json };
  print(
    `System-provided:\n${Object.entries(given)
      .map(([key, value]) => `${key}: ${JSON.stringify(value, null, 2)}`)
      .join('\n')}`,
  );
  print(`\nUser-provided:\n${own.length > 0 ? own.map(([key, value]) => `${key}: ${value}`).join('\n') : 'none'}`);
}

export async function setEnv(context: SpaceContext, name: string, variable: string, value: string): Promise<void> {
  const app = await requireApp(context, name);
  await context.api.patch(`/v3/apps/${app.guid}/environment_variables`, { var: { [variable]: value } });
  note(`${variable} is set. It takes effect with \`sampan restart ${name} --strategy rolling\`.`);
}

export async function unsetEnv(context: SpaceContext, name: string, variable: string): Promise<void> {
  const app = await requireApp(context, name);
  const { var: variables } = await context.api.get<{ var: Record<string, string> }>(
    `/v3/apps/${app.guid}/environment_variables`,
  );
  if (!(variable in variables))
    throw new CliError(`${name} has no variable ${JSON.stringify(variable)}.`, `See \`sampan env ${name}\`.`);
  await context.api.patch(`/v3/apps/${app.guid}/environment_variables`, { var: { [variable]: null } });
  note(`${variable} is removed. It takes effect with \`sampan restart ${name} --strategy rolling\`.`);
}

export async function events(context: SpaceContext, name: string, options: { json?: boolean }): Promise<void> {
  const app = await requireApp(context, name);
  const list = await context.api.all<AuditEvent>(`/v3/audit_events?target_guids=${app.guid}&order_by=-created_at`);
  if (options.json) return printJson(list);
  print(
    table(
      list.map((event) => [event.created_at, event.type, event.actor.name, describe(event.data)]),
      ['time', 'event', 'actor', 'description'],
    ),
  );
}

function describe(data: Record<string, unknown>): string {
  return Object.entries((data.request as Record<string, unknown> | undefined) ?? data)
    .map(([key, value]) => `${key}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(', ');
}
