/**
 * Quotas of organizations (the administrator's) and of spaces (their organization's managers'). Which quota applies is
 * written on the organization or space, so that there is one at most.
 */
import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Organization, OrganizationQuota, Space, SpaceQuota } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { DEFAULT_QUOTA, deleteSpaceQuota, quotaOf, setSpaceQuota, UNLIMITED } from '../operations/quota.ts';
import { tell } from '../operations/tell.ts';
import { link } from '../present/base.ts';
import { presentOrganizationQuota, presentSpaceQuota, readLimits, sectionsOf, toMany } from '../present/quotas.ts';
import { readGuids, Reader } from '../validate.ts';

export function quotaEndpoints(context: Context): Endpoint[] {
  return [...organizationQuotaEndpoints(context), ...spaceQuotaEndpoints(context)];
}

export async function ensureDefaultQuota(context: Context): Promise<void> {
  if (context.records.organizationQuotas.get(DEFAULT_QUOTA)) return;
  await context.records.organizationQuotas.create({
    metadata: { name: DEFAULT_QUOTA },
    spec: { displayName: 'default', limits: UNLIMITED },
  });
}

function organizationQuotaEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const organizationsOf = (quota: Stored<OrganizationQuota>) =>
    records.organizations.all().filter((organization) => quotaOf(organization) === quota.metadata.name);
  const visible = (request: ApiRequest, quota: Stored<OrganizationQuota>) =>
    guids(organizationsOf(quota).filter(({ metadata }) => access.readsOrganization(request.identity, metadata.name)));
  const present = (request: ApiRequest, quota: Stored<OrganizationQuota>) =>
    presentOrganizationQuota(urls, quota, visible(request, quota));
  const reads = (request: ApiRequest, quota: Stored<OrganizationQuota>) =>
    request.identity.reads !== 'own' || visible(request, quota).length > 0;
  const read = (request: ApiRequest): Stored<OrganizationQuota> => {
    const quota = records.organizationQuotas.get(request.params.guid ?? '');
    if (!quota || !reads(request, quota)) throw notFound('Organization quota');
    return quota;
  };
  const told = (request: ApiRequest, what: string, object: Stored<OrganizationQuota>) =>
    tell(context, request, { type: `audit.organization_quota.${what}`, kind: 'organization_quota', object });
  const apply = async (quota: string, organizations: Stored<Organization>[]) => {
    for (const { metadata } of organizations) {
      await records.organizations.modify(metadata.name, (current) => ({
        ...current,
        spec: { ...current.spec, quota },
      }));
    }
  };
  const named = (all: string[]): Stored<Organization>[] =>
    found(all, (guid) => records.organizations.get(guid), 'Organizations');
  return [
    {
      method: 'GET',
      path: '/v3/organization_quotas',
      auth: 'user',
      summary: 'List organization quotas.',
      handle: (request) =>
        listReply(context, request, {
          items: records.organizationQuotas.all().filter((quota) => reads(request, quota)),
          present: (quota) => present(request, quota),
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            organization_guids: (item, values) => visible(request, item).some((guid) => values.includes(guid)),
          },
          orders: { name: (item) => item.spec.displayName },
        }),
    },
    {
      method: 'POST',
      path: '/v3/organization_quotas',
      auth: 'admin',
      summary: 'Create an organization quota, and apply it to organizations.',
      handle: async (request) => {
        const reader = new Reader(request.body).only('name', 'relationships', ...sectionsOf('organization'));
        const displayName = reader.name('name', { required: true }) ?? '';
        const limits = readLimits(reader, 'organization', { ...UNLIMITED, paidServices: false });
        const organizations = named(readGuids(reader, reader.object('relationships')?.body['organizations']));
        reader.done();
        const guid = randomUUID();
        await takeName(context, 'organization', [displayName], { resource: 'organizationquotas', name: guid });
        const quota = await records.organizationQuotas.create({
          metadata: { name: guid },
          spec: { displayName, limits },
        });
        await apply(guid, organizations);
        await told(request, 'create', quota);
        return created(present(request, quota));
      },
    },
    {
      method: 'GET',
      path: '/v3/organization_quotas/:guid',
      auth: 'user',
      summary: 'Get an organization quota.',
      handle: (request) => ok(present(request, read(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/organization_quotas/:guid',
      auth: 'admin',
      summary: 'Rename an organization quota or change its limits; what is above them already stays.',
      handle: async (request) => {
        const quota = read(request);
        const reader = new Reader(request.body).only('name', ...sectionsOf('organization'));
        const name = reader.name();
        const limits = readLimits(reader, 'organization', quota.spec.limits);
        reader.done();
        await rename(context, 'organization', quota, { resource: 'organizationquotas', scope: [], name });
        const changed = await records.organizationQuotas.modify(quota.metadata.name, (current) => ({
          ...current,
          spec: { displayName: name ?? current.spec.displayName, limits },
        }));
        await told(request, 'update', changed);
        return ok(present(request, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/organization_quotas/:guid',
      auth: 'admin',
      summary: 'Delete an organization quota that is applied to none.',
      handle: (request) => {
        const quota = read(request);
        const { name } = quota.metadata;
        if (name === DEFAULT_QUOTA)
          throw unprocessable('The default quota cannot be deleted; change its limits instead.');
        if (organizationsOf(quota).length > 0) {
          throw unprocessable(
            'This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.',
          );
        }
        const work = async () => {
          await records.organizationQuotas.delete(name);
          const holder = { resource: 'organizationquotas', name };
          await context.reservations.release('organizationquota', [quota.spec.displayName], holder);
          await told(request, 'delete', quota);
        };
        return accepted(context, context.jobs.start('organization_quota.delete', work, { target: name }));
      },
    },
    {
      method: 'POST',
      path: '/v3/organization_quotas/:guid/relationships/organizations',
      auth: 'admin',
      summary: 'Apply an organization quota to organizations.',
      handle: async (request) => {
        const quota = read(request);
        const reader = new Reader(request.body).only('data');
        const organizations = named(readGuids(reader, reader.body));
        reader.done();
        await apply(quota.metadata.name, organizations);
        await told(request, 'apply', quota);
        return ok({
          ...toMany(visible(request, quota)),
          links: { self: link(`${urls.api}${request.path}`) },
        });
      },
    },
  ];
}

function spaceQuotaEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const spacesOf = (quota: Stored<SpaceQuota>) =>
    records.spaces.all().filter((space) => space.spec.quota === quota.metadata.name);
  const visible = (request: ApiRequest, quota: Stored<SpaceQuota>) =>
    guids(spacesOf(quota).filter((space) => access.readsSpace(request.identity, space)));
  const present = (request: ApiRequest, quota: Stored<SpaceQuota>) =>
    presentSpaceQuota(urls, quota, visible(request, quota));
  const reads = (request: ApiRequest, quota: Stored<SpaceQuota>) =>
    request.identity.reads !== 'own' ||
    access.isManagerOf(request.identity, quota.spec.organization) ||
    visible(request, quota).length > 0;
  const read = (request: ApiRequest): Stored<SpaceQuota> => {
    const quota = records.spaceQuotas.get(request.params.guid ?? '');
    if (!quota || !reads(request, quota)) throw notFound('Space quota');
    return quota;
  };
  const write = (request: ApiRequest): Stored<SpaceQuota> => {
    const quota = read(request);
    if (!access.managesOrganization(request.identity, quota.spec.organization)) throw notAuthorized();
    return quota;
  };
  const told = (request: ApiRequest, what: string, object: Stored<SpaceQuota>, data?: Record<string, unknown>) =>
    tell(context, request, {
      type: `audit.space_quota.${what}`,
      kind: 'space_quota',
      object,
      organization: object.spec.organization,
      ...(data === undefined ? {} : { data }),
    });
  /** Spaces of the quota's organization alone. */
  const named = (all: string[], organization: string): Stored<Space>[] =>
    found(
      all,
      (guid) => {
        const space = records.spaces.get(guid);
        return space?.spec.organization === organization ? space : undefined;
      },
      'Spaces',
    );
  return [
    {
      method: 'GET',
      path: '/v3/space_quotas',
      auth: 'user',
      summary: 'List space quotas.',
      handle: (request) =>
        listReply(context, request, {
          items: records.spaceQuotas.all().filter((quota) => reads(request, quota)),
          present: (quota) => present(request, quota),
          filters: {
            names: (item, values) => values.includes(item.spec.displayName),
            organization_guids: (item, values) => values.includes(item.spec.organization),
            space_guids: (item, values) => visible(request, item).some((guid) => values.includes(guid)),
          },
          orders: { name: (item) => item.spec.displayName },
        }),
    },
    {
      method: 'POST',
      path: '/v3/space_quotas',
      auth: 'user',
      summary: 'Create a space quota in an organization, and apply it to spaces.',
      handle: async (request) => {
        const reader = new Reader(request.body).only('name', 'relationships', ...sectionsOf('space'));
        const displayName = reader.name('name', { required: true }) ?? '';
        const organization = reader.relationship('organization', { required: true }) ?? '';
        const limits = readLimits(reader, 'space', { ...UNLIMITED, paidServices: false });
        const asked = readGuids(reader, reader.object('relationships')?.body['spaces']);
        reader.done();
        if (!records.organizations.get(organization) || !access.readsOrganization(request.identity, organization)) {
          throw unprocessable(
            `Organization with guid '${organization}' does not exist, or you do not have access to it.`,
          );
        }
        if (!access.managesOrganization(request.identity, organization)) throw notAuthorized();
        const spaces = named(asked, organization);
        const guid = randomUUID();
        await takeName(context, 'space', [organization, displayName], { resource: 'spacequotas', name: guid });
        const quota = await records.spaceQuotas.create({
          metadata: { name: guid },
          spec: { displayName, organization, limits },
        });
        for (const { metadata } of spaces) await setSpaceQuota(context, metadata.name, guid);
        await told(request, 'create', quota);
        return created(present(request, quota));
      },
    },
    {
      method: 'GET',
      path: '/v3/space_quotas/:guid',
      auth: 'user',
      summary: 'Get a space quota.',
      handle: (request) => ok(present(request, read(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/space_quotas/:guid',
      auth: 'user',
      summary: 'Rename a space quota or change its limits; what is above them already stays.',
      handle: async (request) => {
        const quota = write(request);
        const reader = new Reader(request.body).only('name', ...sectionsOf('space'));
        const name = reader.name();
        const limits = readLimits(reader, 'space', quota.spec.limits);
        reader.done();
        const scope = [quota.spec.organization];
        await rename(context, 'space', quota, { resource: 'spacequotas', scope, name });
        const changed = await records.spaceQuotas.modify(quota.metadata.name, (current) => ({
          ...current,
          spec: { ...current.spec, displayName: name ?? current.spec.displayName, limits },
        }));
        await told(request, 'update', changed);
        return ok(present(request, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/space_quotas/:guid',
      auth: 'user',
      summary: 'Delete a space quota; its spaces have none then.',
      handle: (request) => {
        const quota = write(request);
        const target = quota.metadata.name;
        const work = async () => {
          await deleteSpaceQuota(context, quota);
          await told(request, 'delete', quota);
        };
        return accepted(context, context.jobs.start('space_quota.delete', work, { target }));
      },
    },
    {
      method: 'POST',
      path: '/v3/space_quotas/:guid/relationships/spaces',
      auth: 'user',
      summary: 'Apply a space quota to spaces of its organization.',
      handle: async (request) => {
        const quota = write(request);
        const reader = new Reader(request.body).only('data');
        const asked = readGuids(reader, reader.body);
        reader.done();
        for (const { metadata } of named(asked, quota.spec.organization)) {
          await setSpaceQuota(context, metadata.name, quota.metadata.name);
        }
        await told(request, 'apply', quota);
        return ok({
          ...toMany(visible(request, quota)),
          links: { self: link(`${urls.api}${request.path}`) },
        });
      },
    },
    {
      method: 'DELETE',
      path: '/v3/space_quotas/:guid/relationships/spaces/:space',
      auth: 'user',
      summary: 'Take a space quota off a space.',
      handle: async (request) => {
        const quota = write(request);
        const space = records.spaces.get(request.params.space ?? '');
        if (space?.spec.quota !== quota.metadata.name) {
          throw unprocessable(
            `Unable to remove quota from space with guid '${request.params.space}'. Ensure the space quota is applied to this space.`,
          );
        }
        await setSpaceQuota(context, space.metadata.name, undefined);
        await told(request, 'remove', quota, { space_guid: space.metadata.name });
        return { status: 204 };
      },
    },
  ];
}

type Kind = 'organization' | 'space';

async function takeName(
  context: Context,
  kind: Kind,
  key: string[],
  holder: { resource: string; name: string },
): Promise<void> {
  if (await context.reservations.take(`${kind}quota`, key, holder)) return;
  const title = kind === 'organization' ? 'Organization Quota' : 'Space Quota';
  throw unprocessable(`${title} '${key.at(-1)}' already exists.`);
}

async function rename(
  context: Context,
  kind: Kind,
  quota: Stored<OrganizationQuota> | Stored<SpaceQuota>,
  to: { resource: string; scope: string[]; name: string | undefined },
): Promise<void> {
  const old = quota.spec.displayName;
  if (to.name === undefined || to.name === old) return;
  const holder = { resource: to.resource, name: quota.metadata.name };
  await takeName(context, kind, [...to.scope, to.name], holder);
  await context.reservations.release(`${kind}quota`, [...to.scope, old], holder);
}

function found<T>(asked: string[], get: (guid: string) => T | undefined, what: string): T[] {
  const missing = asked.filter((guid) => !get(guid));
  if (missing.length > 0) {
    const names = missing.map((guid) => `'${guid.slice(0, 60)}'`).join(', ');
    throw unprocessable(`${what} with guids [${names}] do not exist, or you do not have access to them.`);
  }
  return asked.flatMap((guid) => get(guid) ?? []);
}

function guids(objects: { metadata: { name: string } }[]): string[] {
  return objects.map(({ metadata }) => metadata.name);
}
