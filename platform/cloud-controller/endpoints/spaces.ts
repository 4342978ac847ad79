import type { Stored } from '#cluster/kinds/kind.ts';
import type { Space } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { organizationsOf } from '../includes.ts';
import { includedOf, listReply } from '../listing.ts';
import { deleteSpace } from '../operations/deletions.ts';
import { deleteRoute } from '../operations/routes.ts';
import { bindingOfRoute } from '../operations/service-bindings.ts';
import { createSpace } from '../operations/space-create.ts';
import { link } from '../present/base.ts';
import { presentOrganization, presentSpace } from '../present/tenancy.ts';
import { usageSummary } from '../present/usage.ts';
import { tell } from '../operations/tell.ts';
import { listUsers } from '../user-list.ts';
import { mergeMetadata, Reader } from '../validate.ts';

export function readSpace(context: Context, request: ApiRequest, guid: string): Stored<Space> {
  const space = context.records.spaces.get(guid);
  if (!space || !context.access.readsSpace(request.identity, space)) throw notFound('Space');
  return space;
}

export function writeSpace(context: Context, request: ApiRequest, guid: string): Stored<Space> {
  const space = readSpace(context, request, guid);
  if (!context.access.writesSpace(request.identity, space)) throw notAuthorized();
  return space;
}

export function spaceEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (space: Stored<Space>) => presentSpace(urls, space);
  const organizations = (items: Stored<Space>[]) => ({
    organizations: organizationsOf(context, items).map((item) => presentOrganization(urls, item)),
  });
  const includes = { organization: organizations, org: organizations };
  return [
    {
      method: 'GET',
      path: '/v3/spaces',
      auth: 'user',
      summary: 'List spaces.',
      handle: (request) =>
        listReply(context, request, {
          items: records.spaces.all().filter((space) => access.readsSpace(request.identity, space)),
          present,
          filters: {
            names: (item, values) =>
              values.some((value) => value.toLowerCase() === item.spec.displayName.toLowerCase()),
            organization_guids: (item, values) => values.includes(item.spec.organization),
          },
          orders: { name: (item) => item.spec.displayName },
          includes,
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/spaces',
      auth: 'user',
      summary: 'Create a space and its namespace.',
      handle: async (request) => {
        const reader = new Reader(request.body).only('name', 'relationships', 'metadata');
        const name = reader.name('name', { required: true });
        const organizationGuid = reader.relationship('organization', { required: true });
        const metadata = reader.metadata();
        reader.done();
        const organization = records.organizations.get(organizationGuid ?? '');
        if (!organization || !access.readsOrganization(request.identity, organization.metadata.name)) {
          throw unprocessable('Invalid organization. Ensure the organization exists and you have access to it.');
        }
        if (!access.managesOrganization(request.identity, organization.metadata.name)) throw notAuthorized();
        const space = await createSpace(context, {
          organization,
          name: name ?? '',
          userMetadata: mergeMetadata(undefined, metadata),
        });
        await context.audit.record({
          type: 'audit.space.create',
          actor: request.identity,
          target: { guid: space.metadata.name, type: 'space', name: space.spec.displayName },
          space,
        });
        return created(present(space));
      },
    },
    {
      method: 'GET',
      path: '/v3/spaces/:guid',
      auth: 'user',
      summary: 'Get a space.',
      handle: (request) => {
        const space = readSpace(context, request, request.params.guid ?? '');
        const included = includedOf(request.query.get('include'), [space], { includes });
        return ok({ ...present(space), ...(included ? { included } : {}) });
      },
    },
    {
      method: 'PATCH',
      path: '/v3/spaces/:guid',
      auth: 'user',
      summary: 'Rename a space or change its metadata; its namespace keeps its name.',
      handle: async (request) => {
        const space = readSpace(context, request, request.params.guid ?? '');
        if (!access.managesSpace(request.identity, space)) throw notAuthorized();
        const reader = new Reader(request.body).only('name', 'metadata');
        const name = reader.name();
        const metadata = reader.metadata();
        reader.done();
        const holder = { resource: 'spaces', name: space.metadata.name };
        const old = space.spec.displayName;
        const renamed = name !== undefined && name.toLowerCase() !== old.toLowerCase();
        const key = (text: string) => [space.spec.organization, text.toLowerCase()];
        if (renamed && !(await context.reservations.take('spacename', key(name), holder))) {
          throw unprocessable('Name must be unique per organization');
        }
        const changed = await records.spaces.modify(space.metadata.name, (current) => ({
          ...current,
          spec: {
            ...current.spec,
            displayName: name ?? current.spec.displayName,
            userMetadata: mergeMetadata(current.spec.userMetadata, metadata),
          },
        }));
        if (renamed) await context.reservations.release('spacename', key(old), holder);
        const about = { kind: 'space', object: changed, space: changed };
        await tell(context, request, { type: 'audit.space.update', ...about });
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/spaces/:guid',
      auth: 'user',
      summary: 'Delete a space with everything in it.',
      handle: (request) => {
        const space = readSpace(context, request, request.params.guid ?? '');
        if (!access.managesOrganization(request.identity, space.spec.organization)) throw notAuthorized();
        const job = context.jobs.start('space.delete', () => deleteSpace(context, request.identity, space), {
          target: space.metadata.name,
        });
        return accepted(context, job);
      },
    },
    {
      method: 'DELETE',
      path: '/v3/spaces/:guid/routes',
      auth: 'user',
      summary: 'Delete the routes of a space that lead nowhere and are bound to no service (`unmapped=true`).',
      handle: (request) => {
        const space = readSpace(context, request, request.params.guid ?? '');
        if (!access.operatesSpace(request.identity, space)) throw notAuthorized();
        if (request.query.get('unmapped') !== 'true')
          throw unprocessable(
            "Mass delete not supported for mapped routes. Use 'unmapped=true' parameter to delete all unmapped routes.",
          );
        const job = context.jobs.start('space.delete_unmapped_routes', async () => {
          for (const route of records.routes.inNamespace(space.spec.namespace)) {
            if (route.spec.destinations.length > 0 || bindingOfRoute(context, route)) continue;
            await deleteRoute(context, request.identity, route);
          }
        });
        return accepted(context, job);
      },
    },
    {
      method: 'GET',
      path: '/v3/spaces/:guid/usage_summary',
      auth: 'user',
      summary: 'Get how much a space uses.',
      handle: (request) => {
        const space = readSpace(context, request, request.params.guid ?? '');
        const self = `${urls.api}/v3/spaces/${space.metadata.name}`;
        return ok({
          usage_summary: usageSummary(context, [space]),
          links: { self: link(`${self}/usage_summary`), space: link(self) },
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/spaces/:guid/users',
      auth: 'user',
      summary: 'List the users with a role in a space.',
      handle: (request) => {
        const space = readSpace(context, request, request.params.guid ?? '').metadata.name;
        const all = records.roles.all().filter((role) => role.spec.space === space);
        const guids = new Set(all.map((role) => role.spec.user));
        return listUsers(
          context,
          request,
          records.users.all().filter((user) => guids.has(user.metadata.name)),
        );
      },
    },
  ];
}
