/** What every app command starts with: a logged-in API, and the organization and space that it works in. */
import { Api } from './api.ts';
import { CliError } from './errors.ts';
import type { App, Named, Page, Space } from './resources.ts';
import type { Target } from './target.ts';

export interface SpaceContext {
  api: Api;
  organization: Named;
  space: Named;
}

export const defaultOrganization = 'default';
export const defaultSpace = 'dev';

export async function withApi<T>(target: Target, work: (api: Api) => Promise<T>): Promise<T> {
  const api = new Api(target);
  try {
    return await work(api);
  } finally {
    api.close();
  }
}

export function inSpace<T>(target: Target, work: (context: SpaceContext) => Promise<T>): Promise<T> {
  return withApi(target, async (api) => work({ api, ...(await currentSpace(api)) }));
}

async function currentSpace(api: Api): Promise<{ organization: Named; space: Named }> {
  const organizationName = api.session.organization ?? defaultOrganization;
  const both = await spaceWithOrganization(api, organizationName, api.session.space ?? defaultSpace);
  if (both) return both;
  // Says which of the two is not there.
  const organization = await byName<Named>(api, `/v3/organizations?names=${encodeURIComponent(organizationName)}`);
  if (!organization)
    throw new CliError(
      `There is no organization ${JSON.stringify(organizationName)}, or you have no role in it.`,
      'Choose one with `sampan target -o NAME`.',
    );
  const spaceName = api.session.space ?? defaultSpace;
  const space = await byName<Named>(
    api,
    `/v3/spaces?names=${encodeURIComponent(spaceName)}&organization_guids=${organization.guid}`,
  );
  if (!space)
    throw new CliError(
      `There is no space ${JSON.stringify(spaceName)} in ${organizationName}, or you have no role in it.`,
      'Choose one with `sampan target -s NAME`.',
    );
  return { organization, space };
}

/** One question for both. Undefined where its answer is not whole: organizations may have many spaces of one name. */
async function spaceWithOrganization(
  api: Api,
  organizationName: string,
  spaceName: string,
): Promise<{ organization: Named; space: Named } | undefined> {
  const page = await api.get<Page<Space> & { included?: { organizations?: Named[] } }>(
    `/v3/spaces?names=${encodeURIComponent(spaceName)}&include=organization`,
  );
  const organization = page.included?.organizations?.find(({ name }) => name === organizationName);
  const space = page.resources.find(({ relationships }) => relationships.organization.data.guid === organization?.guid);
  return organization && space && { organization, space };
}

export async function findApp({ api, space }: SpaceContext, name: string): Promise<App | undefined> {
  return byName<App>(api, `/v3/apps?names=${encodeURIComponent(name)}&space_guids=${space.guid}`);
}

export async function requireApp(context: SpaceContext, name: string): Promise<App> {
  const app = await findApp(context, name);
  if (app) return app;
  throw new CliError(
    `There is no app ${JSON.stringify(name)} in the space ${context.space.name}.`,
    'See `sampan apps`.',
  );
}

/** The first of a list that can have only one. */
export async function byName<T extends Named>(api: Api, path: string): Promise<T | undefined> {
  return (await api.get<Page<T>>(path)).resources[0];
}
