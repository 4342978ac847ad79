import { randomUUID } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain } from '../../resources/types.ts';
import { type ApiRequest, accepted, type Context, created, type Endpoint, ok } from '../api.ts';
import { notAuthorized, notFound, unprocessable } from '../errors.ts';
import { listReply } from '../listing.ts';
import { changeMetadata } from '../operations/metadata.ts';
import { requireDomain } from '../operations/quota.ts';
import { deleteRoute, findRoute } from '../operations/routes.ts';
import { routerGroups } from '../operations/tcp-routes.ts';
import { presentDomain } from '../present/tenancy.ts';
import { isObject, mergeMetadata, readGuids, Reader } from '../validate.ts';
import { ownersOf } from './organizations.ts';

const NAME = /^(?=.{3,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function readsDomain(context: Context, request: ApiRequest, domain: Stored<Domain>): boolean {
  const owners = ownersOf(domain.spec);
  return owners.length === 0 || owners.some((guid) => context.access.readsOrganization(request.identity, guid));
}

/** The one that the path names. */
export function readableDomain(context: Context, request: ApiRequest): Stored<Domain> {
  const domain = context.records.domains.get(request.params.guid ?? '');
  if (!domain || !readsDomain(context, request, domain)) throw notFound('Domain');
  return domain;
}

export function writableDomain(context: Context, request: ApiRequest): Stored<Domain> {
  const domain = readableDomain(context, request);
  const { organization } = domain.spec;
  const allowed =
    request.identity.admin ||
    (organization !== undefined && context.access.managesOrganization(request.identity, organization));
  if (!allowed) throw notAuthorized();
  return domain;
}

export function domainEndpoints(context: Context): Endpoint[] {
  const { records, access, urls } = context;
  const read = (request: ApiRequest) => readableDomain(context, request);
  const write = (request: ApiRequest) => writableDomain(context, request);
  return [
    {
      method: 'GET',
      path: '/v3/domains',
      auth: 'user',
      summary: 'List domains.',
      handle: (request) =>
        listReply(context, request, {
          items: records.domains.all().filter((domain) => readsDomain(context, request, domain)),
          present: (domain) => presentDomain(urls, domain),
          filters: {
            names: (item, values) => values.some((value) => value.toLowerCase() === item.spec.displayName),
            organization_guids: (item, values) => ownersOf(item.spec).some((guid) => values.includes(guid)),
          },
          orders: { name: (item) => item.spec.displayName },
          userLabels: (item) => item.spec.userMetadata?.labels ?? {},
        }),
    },
    {
      method: 'POST',
      path: '/v3/domains',
      auth: 'user',
      summary: 'Create a domain, shared or of one organization.',
      handle: async (request) => {
        const reader = new Reader(request.body).only('name', 'internal', 'router_group', 'relationships', 'metadata');
        const name = reader.name('name', { required: true })?.toLowerCase();
        const internal = reader.boolean('internal');
        if (name !== undefined && !NAME.test(name)) {
          reader.fail(
            `Name ${JSON.stringify(name.slice(0, 80))} does not comply with RFC 1035 standards; give at least two labels, as in example.com`,
          );
        }
        if (internal && name !== undefined && !name.endsWith('.internal'))
          reader.fail('Internal domains must end with ".internal"');
        const organization = reader.relationship('organization');
        if (internal && organization !== undefined)
          reader.fail('Internal domains cannot be associated with an organization.');
        const routerGroup = readRouterGroup(reader);
        if (routerGroup !== undefined && internal)
          reader.fail('Internal domains cannot be associated to a router group.');
        if (routerGroup !== undefined && organization !== undefined)
          reader.fail('Domains scoped to an organization cannot be associated to a router group.');
        const metadata = reader.metadata();
        reader.done();
        if (organization === undefined) {
          if (!request.identity.admin) throw notAuthorized();
        } else if (
          !records.organizations.get(organization) ||
          !access.readsOrganization(request.identity, organization)
        ) {
          throw unprocessable('Organization with guid does not exist or you do not have access to it.');
        } else if (!access.managesOrganization(request.identity, organization)) throw notAuthorized();
        context.flags.require(request.identity, 'private_domain_creation');
        if (routerGroup !== undefined && !routerGroups(context).some(({ guid }) => guid === routerGroup))
          throw unprocessable(`Router group with guid '${routerGroup.slice(0, 80)}' not found.`);
        const facts = { name: name ?? '', organization, metadata, internal, routerGroup };
        checkOverlap(context, facts);
        const owner = records.organizations.get(organization ?? '');
        if (owner) requireDomain(context, owner);
        return created(presentDomain(urls, await createDomain(context, facts)));
      },
    },
    {
      method: 'GET',
      path: '/v3/domains/:guid',
      auth: 'user',
      summary: 'Get a domain.',
      handle: (request) => ok(presentDomain(urls, read(request))),
    },
    {
      method: 'PATCH',
      path: '/v3/domains/:guid',
      auth: 'user',
      summary: "Change a domain's metadata.",
      handle: async (request) => {
        const domain = write(request);
        const changed = await changeMetadata(records.domains, domain, request.body);
        return ok(presentDomain(urls, changed));
      },
    },
    {
      method: 'DELETE',
      path: '/v3/domains/:guid',
      auth: 'user',
      summary: 'Delete a domain and the routes on it.',
      handle: (request) => {
        const domain = write(request);
        if (domain.spec.displayName === context.domain) {
          throw unprocessable(`The domain '${context.domain}' is the platform's own and cannot be deleted.`);
        }
        const work = async () => {
          for (const route of records.routes.all()) {
            if (route.spec.domain === domain.metadata.name) await deleteRoute(context, request.identity, route);
          }
          await records.domains.delete(domain.metadata.name);
          await context.reservations.release('domain', [domain.spec.displayName], {
            resource: 'domains',
            name: domain.metadata.name,
          });
        };
        return accepted(context, context.jobs.start('domain.delete', work, { target: domain.metadata.name }));
      },
    },
    {
      method: 'POST',
      path: '/v3/domains/:guid/relationships/shared_organizations',
      auth: 'user',
      summary: 'Share a private domain with organizations that the caller manages too.',
      handle: async (request) => {
        const domain = write(request);
        if (domain.spec.organization === undefined) {
          throw unprocessable(
            'Domains can not be shared with other organizations unless they are scoped to an organization.',
          );
        }
        const reader = new Reader(request.body).only('data');
        const guids = readGuids(reader, reader.body);
        reader.done();
        for (const guid of guids) {
          if (!records.organizations.get(guid) || !access.readsOrganization(request.identity, guid)) {
            throw unprocessable(
              `Organization with guid '${guid.slice(0, 60)}' does not exist, or you do not have access to it.`,
            );
          }
          if (!access.managesOrganization(request.identity, guid)) throw notAuthorized();
        }
        const changed = await records.domains.modify(domain.metadata.name, ({ spec, ...current }) => {
          const others = [...(spec.sharedWith ?? []), ...guids].filter((guid) => guid !== spec.organization);
          return { ...current, spec: { ...spec, sharedWith: [...new Set(others)] } };
        });
        return ok({ data: (changed.spec.sharedWith ?? []).map((guid) => ({ guid })) });
      },
    },
    {
      method: 'DELETE',
      path: '/v3/domains/:guid/relationships/shared_organizations/:organization',
      auth: 'user',
      summary: 'Stop sharing a private domain with an organization that has no routes on it.',
      handle: async (request) => {
        const domain = read(request);
        const { organization = '' } = request.params;
        const manages = [domain.spec.organization ?? '', organization].some((guid) =>
          access.managesOrganization(request.identity, guid),
        );
        if (!manages) throw notAuthorized();
        if (!domain.spec.sharedWith?.includes(organization)) {
          throw unprocessable(
            `Unable to unshare domain from organization with name '${organization.slice(0, 60)}'. Ensure the domain is shared to this organization.`,
          );
        }
        const used = records.routes
          .all()
          .some(
            (route) =>
              route.spec.domain === domain.metadata.name && records.spaceOf(route)?.spec.organization === organization,
          );
        if (used) {
          throw unprocessable(
            'This domain has associated routes in this organization. Delete the routes before unsharing.',
          );
        }
        await records.domains.modify(domain.metadata.name, ({ spec, ...current }) => ({
          ...current,
          spec: { ...spec, sharedWith: (spec.sharedWith ?? []).filter((guid) => guid !== organization) },
        }));
        return { status: 204 };
      },
    },
    {
      method: 'GET',
      path: '/v3/domains/:guid/route_reservations',
      auth: 'user',
      summary: 'Say whether a route exists, whoever has it.',
      handle: (request) => {
        const route = findRoute(context, {
          domain: read(request).metadata.name,
          host: request.query.get('host') ?? '',
          path: request.query.get('path') ?? '',
          ...(request.query.has('port') && { port: Number(request.query.get('port')) }),
        });
        return ok({ matching_route: route !== undefined });
      },
    },
  ];
}

function readRouterGroup(reader: Reader): string | undefined {
  const { router_group: group } = reader.body;
  if (group === undefined || group === null) return undefined;
  if (isObject(group) && typeof group.guid === 'string') return group.guid;
  reader.fail('Router group guid must be a string');
  return undefined;
}

/** A domain within another one of somebody else would take its hosts. One for TCP has none. */
function checkOverlap(context: Context, { name, routerGroup }: NewDomain): void {
  for (const domain of context.records.domains.all()) {
    const other = domain.spec.displayName;
    if (other === name) throw unprocessable(`The domain name "${name}" is already in use`);
    if (routerGroup !== undefined || domain.spec.routerGroup !== undefined) continue;
    if (other.endsWith(`.${name}`) || name.endsWith(`.${other}`)) {
      throw unprocessable(`The domain name "${name}" cannot be created because "${other}" is already reserved`);
    }
  }
}

export interface NewDomain {
  name: string;
  organization?: string | undefined;
  metadata?: Parameters<typeof mergeMetadata>[1];
  internal?: boolean | undefined;
  routerGroup?: string | undefined;
}

export async function createDomain(
  context: Context,
  { name, organization, metadata, internal = false, routerGroup }: NewDomain,
): Promise<Stored<Domain>> {
  const guid = randomUUID();
  const holder = { resource: 'domains', name: guid };
  if (!(await context.reservations.take('domain', [name], holder))) {
    throw unprocessable(`The domain name "${name}" is already in use`);
  }
  try {
    return await context.records.domains.create({
      metadata: { name: guid },
      spec: {
        displayName: name,
        internal,
        ...(organization === undefined ? {} : { organization }),
        ...(routerGroup === undefined ? {} : { routerGroup }),
        userMetadata: mergeMetadata(undefined, metadata),
      },
    });
  } catch (error) {
    await context.reservations.release('domain', [name], holder);
    throw error;
  }
}
