import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain, Organization } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, type Json, ok } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { nameLabel } from '../operations/app-create.ts';
import { deleteOrganization } from '../operations/deletions.ts';
import { grantRole } from '../operations/roles.ts';
import { spacesOf } from '../operations/quota.ts';
import { link } from '../present/base.ts';
import { presentDomain, presentOrganization } from '../present/tenancy.ts';
import { usageSummary } from '../present/usage.ts';
import { tell } from '../operations/tell.ts';
import { listUsers } from '../user-list.ts';
import { mergeMetadata, Reader } from '../validate.ts';

export function readOrganization(context: Context, request: ApiRequest, guid: string): Stored<Organization> {
  const organization = context.records.organizations.get(guid);
  if (!organization || !context.access.readsOrganization(request.identity, guid)) throw notFound('Organization');
  return organization;
}

/** Whose a private domain is, and with whom it is shared. */
export function ownersOf({ organization, sharedWith = [] }: Domain['spec']): string[] {
  return organization === undefined ? [] : [organization, ...sharedWith];
}

/** Those that an organization can use: the shared ones and its own. */
export function domainsFor(context: Context, organization: string): Stored<Domain>[] {
  return context.records.domains
    .all()
    .filter(({ spec }) => spec.organization === undefined || ownersOf(spec).includes(organization));
}

export async function createOrganization(
  context: Context,
  name: string,
  options: { metadata?: Json | undefined; suspended?: boolean } = {},
): Promise<Stored<Organization>> {
  const guid = randomUUID();
  const holder = { resource: 'organizations', name: guid };
  const key = [name.toLowerCase()];
  if (!(await context.reservations.take('orgname', key, holder))) {
    throw unprocessable(`Organization '${name}' already exists.`);
  }
  try {
    return await context.records.organizations.create({
      metadata: { name: guid, labels: nameLabel(name) },
      spec: {
        displayName: name,
        suspended: options.suspended ?? false,
        userMetadata: mergeMetadata(undefined, options.metadata),
      },
    });
  } catch (error) {
    await context.reservations.release('orgname', key, holder);
    throw error;
  }
}

export function organizationEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const present = (organization: Stored<Organization>) => presentOrganization(urls, organization);
  return [
    {
      method: 'GET',
      path: '/v3/organizations',
      auth: 'user',
      summary: 'List organizations.',
      handle: (request) =>
        listReply(context, request, {
          items: records.organizations
            .all()
            .filter((organization) => access.readsOrganization(request.identity, organization.metadata.name)),
          present,
          filters: { names: (item, values) => lower(values).includes(item.spec.displayName.toLowerCase()) },
          orders: { name: (item) => item.spec.displayName },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/organizations',
      auth: 'user',
      summary: 'Create an organization; users that are no administrators where the flag user_org_creation is on.',
      handle: async (request) => {
        if (!request.identity.admin && !context.flags.isOn('user_org_creation')) throw notAuthorized();
        const reader = new Reader(request.body).only('name', 'suspended', 'metadata');
        const name = reader.name('name', { required: true });
        const suspended = reader.boolean('suspended') ?? false;
        const metadata = reader.metadata();
        reader.done();
        if (suspended && !request.identity.admin) throw notAuthorized();
        const organization = await createOrganization(context, name ?? '', { metadata, suspended });
        if (!request.identity.admin) {
          // It is theirs.
          for (const type of ['organization_user', 'organization_manager']) {
            const { userId: user } = request.identity;
            await grantRole(context, { type, user, organization: organization.metadata.name });
          }
        }
        await context.audit.record({
          type: 'audit.organization.create',
          actor: request.identity,
          target: { guid: organization.metadata.name, type: 'organization', name: name ?? '' },
          organization: organization.metadata.name,
        });
        return created(present(organization));
      },
    },
    {
      method: 'GET',
      path: '/v3/organizations/:guid',
      auth: 'user',
      summary: 'Get an organization.',
      handle: (request) => ok(present(readOrganization(context, request, request.params.guid ?? ''))),
    },
    {
      method: 'PATCH',
      path: '/v3/organizations/:guid',
      auth: 'user',
      summary: 'Rename an organization, suspend it, or change its metadata.',
      handle: async (request) => {
        const guid = request.params.guid ?? '';
        const organization = readOrganization(context, request, guid);
        if (!access.managesOrganization(request.identity, guid)) throw notAuthorized();
        const reader = new Reader(request.body).only('name', 'suspended', 'metadata');
        const name = reader.name();
        const suspended = reader.boolean('suspended');
        const metadata = reader.metadata();
        reader.done();
        if (suspended !== undefined && !request.identity.admin) throw notAuthorized();
        const holder = { resource: 'organizations', name: guid };
        const old = organization.spec.displayName;
        const renamed = name !== undefined && name.toLowerCase() !== old.toLowerCase();
        if (renamed && !(await context.reservations.take('orgname', [name.toLowerCase()], holder))) {
          throw unprocessable(`Organization '${name}' already exists.`);
        }
        const changed = await records.organizations.modify(guid, (current) => ({
          ...current,
          spec: {
            ...current.spec,
            displayName: name ?? current.spec.displayName,
            suspended: suspended ?? current.spec.suspended,
            userMetadata: mergeMetadata(current.spec.userMetadata, metadata),
          },
        }));
        if (renamed) await context.reservations.release('orgname', [old.toLowerCase()], holder);
        const about = { kind: 'organization', object: changed, organization: guid };
        await tell(context, request, { type: 'audit.organization.update', ...about });
        return ok(present(changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/organizations/:guid',
      auth: 'admin',
      summary: 'Delete an organization with everything in it.',
      handle: (request) => {
        const organization = readOrganization(context, request, request.params.guid ?? '');
        const job = context.jobs.start(
          'organization.delete',
          () => deleteOrganization(context, request.identity, organization),
          { target: organization.metadata.name },
        );
        return accepted(context, job);
      },
    },
    {
      method: 'GET',
      path: '/v3/organizations/:guid/domains',
      auth: 'user',
      summary: 'List the domains that an organization can use.',
      handle: (request) => {
        const organization = readOrganization(context, request, request.params.guid ?? '');
        return listReply(context, request, {
          items: domainsFor(context, organization.metadata.name),
          present: (domain) => presentDomain(urls, domain),
          filters: {
            names: (item, values) => lower(values).includes(item.spec.displayName),
            organization_guids: (item, values) => values.includes(item.spec.organization ?? ''),
          },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/organizations/:guid/domains/default',
      auth: 'user',
      summary: 'Get the domain that routes are made on when none is named.',
      handle: (request) => {
        readOrganization(context, request, request.params.guid ?? '');
        const domain = records.domains.all().find((item) => item.spec.displayName === context.domain);
        if (!domain) throw notFound('Domain');
        return ok(presentDomain(urls, domain));
      },
    },
    {
      method: 'GET',
      path: '/v3/organizations/:guid/usage_summary',
      auth: 'user',
      summary: 'Get how much an organization uses.',
      handle: (request) => {
        const organization = readOrganization(context, request, request.params.guid ?? '').metadata.name;
        const spaces = spacesOf(context, organization);
        const domains = records.domains.all().filter((domain) => domain.spec.organization === organization);
        return ok({
          usage_summary: usageSummary(context, spaces, domains.length),
          links: {
            self: link(`${urls.api}/v3/organizations/${organization}/usage_summary`),
            organization: link(`${urls.api}/v3/organizations/${organization}`),
          },
        });
      },
    },
    {
      method: 'GET',
      path: '/v3/organizations/:guid/users',
      auth: 'user',
      summary: 'List the users with a role in an organization.',
      handle: (request) => {
        const organization = readOrganization(context, request, request.params.guid ?? '').metadata.name;
        const guids = new Set(
          records.roles
            .all()
            .filter((role) => role.spec.organization === organization)
            .map((role) => role.spec.user),
        );
        return listUsers(
          context,
          request,
          records.users.all().filter((user) => guids.has(user.metadata.name)),
        );
      },
    },
  ];
}

function lower(values: string[]): string[] {
  return values.map((value) => value.toLowerCase());
}
