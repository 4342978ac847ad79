import { type ApiRequest, type Context, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, notFound } from '../errors.ts';
import { type Environment, type EnvironmentGroup, readGroup, writeGroup } from '../operations/environment.ts';
import { serially } from '../operations/serially.ts';
import { link } from '../present/base.ts';
import { changedEnvironment } from './app-environment.ts';

export function environmentGroupEndpoints(context: Context): Endpoint[] {
  const path = '/v3/environment_variable_groups/:name';
  const present = (name: EnvironmentGroup, variables: Environment): Json => ({
    name,
    var: variables,
    updated_at: null,
    links: { self: link(`${context.urls.api}/v3/environment_variable_groups/${name}`) },
  });
  return [
    {
      method: 'GET',
      path,
      auth: 'user',
      summary: 'Get the environment variables of all apps (`running`) or builds (`staging`).',
      handle: async (request) => {
        const name = group(request);
        return ok(present(name, await readGroup(context, name)));
      },
    },
    {
      method: 'PATCH',
      path,
      auth: 'user',
      summary:
        'Set environment variables of all apps or builds, or remove those that are null; they count from the next start or build on.',
      handle: async (request) => {
        const name = group(request);
        const changed = await serially(`environment group ${name}`, async () => {
          const merged = changedEnvironment(await readGroup(context, name), request.body.var);
          await writeGroup(context, name, merged);
          return merged;
        });
        return ok(present(name, changed));
      },
    },
  ];
}

/** Whoever asks for one that is none learns so, and only an administrator what is in one. */
function group(request: ApiRequest): EnvironmentGroup {
  const { name } = request.params;
  if (name !== 'running' && name !== 'staging') throw notFound('Environment variable group');
  const { admin, reads } = request.identity;
  if (!(request.method === 'GET' ? reads === 'all' : admin)) throw notAuthorized();
  return name;
}
