import { UnprocessableError } from '../errors.ts';
import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { emit, record } from '../operations/app-lifecycle.ts';
import {
  type Environment,
  mergedEnvironment,
  readEnvironment,
  readGroup,
  writeEnvironment,
} from '../operations/environment.ts';
import { vcapServices } from '../operations/services.ts';
import { vcapApplication } from '../operations/vcap.ts';
import { link } from '../present/base.ts';
import { environmentProblems, isObject } from '../validate.ts';
import { operateApp, readApp, readAppSecrets } from './apps.ts';

/** 64 KiB a variable would not fit Linux' limit of one string much longer; all of it is one object in the store. */
const MAX_BYTES = 512 * 1024;

export function appEnvironmentEndpoints(context: Context): Endpoint[] {
  const { urls, access, records } = context;
  const variables = (app: string, values: Record<string, string>): Json => ({
    var: values,
    links: {
      self: link(`${urls.api}/v3/apps/${app}/environment_variables`),
      app: link(`${urls.api}/v3/apps/${app}`),
    },
  });
  return [
    {
      method: 'GET',
      path: '/v3/apps/:guid/environment_variables',
      auth: 'user',
      summary: "Get the user's environment variables of an app.",
      handle: async (request) => {
        const app = readAppSecrets(context, request);
        requireVisible(context, request);
        const values = await readEnvironment(context.client, app.metadata.namespace ?? '', app.metadata.name);
        await record(context, request.identity, app, 'audit.app.environment_variables.show', {});
        return ok(variables(app.metadata.name, values));
      },
    },
    {
      method: 'PATCH',
      path: '/v3/apps/:guid/environment_variables',
      auth: 'user',
      summary: 'Set environment variables of an app, or remove those that are null; they count from the next start on.',
      handle: async (request) => {
        const app = operateApp(context, request);
        const old = await readEnvironment(context.client, app.metadata.namespace ?? '', app.metadata.name);
        const merged = changedEnvironment(old, request.body.var);
        await writeEnvironment(context, app, app.metadata.name, merged);
        await record(context, request.identity, app, 'audit.app.update', {
          request: { environment_variables: '[PRIVATE DATA HIDDEN]' },
        });
        emit(context, app, 'Updated', 'environment variables');
        return ok(variables(app.metadata.name, merged));
      },
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/env',
      auth: 'user',
      summary: 'Get all of the environment of an app, the platform’s part too.',
      handle: async (request) => {
        const app = readAppSecrets(context, request);
        requireVisible(context, request);
        const [services, staging, running, own] = await Promise.all([
          vcapServices(context, app),
          readGroup(context, 'staging'),
          readGroup(context, 'running'),
          readEnvironment(context.client, app.metadata.namespace ?? '', app.metadata.name),
        ]);
        await record(context, request.identity, app, 'audit.app.environment.show', {});
        return ok({
          staging_env_json: staging,
          running_env_json: running,
          environment_variables: own,
          system_env_json: { VCAP_SERVICES: services },
          application_env_json: { VCAP_APPLICATION: vcapApplication(context, app) },
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/apps/:guid/permissions',
      auth: 'user',
      summary: 'Say what the caller may read of an app.',
      handle: (request) => {
        const app = readApp(context, request);
        const space = records.spaceOf(app);
        return ok({
          read_basic_data: true,
          read_sensitive_data: space !== undefined && access.readsSecrets(request.identity, space),
        });
      },
    },
  ];
}

/** Both flags say whether a developer may read variables. */
function requireVisible({ flags }: Context, { identity }: ApiRequest): void {
  flags.require(identity, 'env_var_visibility');
  flags.require(identity, 'space_developer_env_var_visibility');
}

/** Applies what a request says to variables; 422 where it cannot be. */
export function changedEnvironment(old: Environment, change: unknown): Environment {
  if (!isObject(change)) throw new UnprocessableError(['Var must be an object']);
  const problems = environmentProblems(change);
  if (problems.length > 0) throw new UnprocessableError(problems);
  const merged = mergedEnvironment(old, change as Record<string, string | null>);
  if (Buffer.byteLength(JSON.stringify(merged)) > MAX_BYTES) {
    throw new UnprocessableError([`Environment variables are larger than ${MAX_BYTES / 1024} KiB together`]);
  }
  return merged;
}
