/** Organizations, spaces, domains, users and roles in Cloud Foundry's JSON. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain, Organization, Role, Space, User } from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import { quotaOf } from '../operations/quota.ts';
import { base, link, metadata, toOne } from './base.ts';

export function presentOrganization(urls: Urls, organization: Stored<Organization>): Json {
  const self = `${urls.api}/v3/organizations/${organization.metadata.name}`;
  const quota = quotaOf(organization);
  return {
    ...base(organization),
    name: organization.spec.displayName,
    suspended: organization.spec.suspended,
    relationships: { quota: toOne(quota) },
    metadata: metadata(organization),
    links: {
      self: link(self),
      domains: link(`${self}/domains`),
      default_domain: link(`${self}/domains/default`),
      quota: link(`${urls.api}/v3/organization_quotas/${quota}`),
    },
  };
}

export function presentSpace(urls: Urls, space: Stored<Space>): Json {
  const self = `${urls.api}/v3/spaces/${space.metadata.name}`;
  const { quota } = space.spec;
  return {
    ...base(space),
    name: space.spec.displayName,
    relationships: { organization: toOne(space.spec.organization), quota: toOne(quota) },
    metadata: metadata(space),
    links: {
      self: link(self),
      organization: link(`${urls.api}/v3/organizations/${space.spec.organization}`),
      ...(quota === undefined ? {} : { quota: link(`${urls.api}/v3/space_quotas/${quota}`) }),
      features: link(`${self}/features`),
      apply_manifest: link(`${self}/actions/apply_manifest`, 'POST'),
    },
  };
}

export function presentDomain(urls: Urls, domain: Stored<Domain>): Json {
  const self = `${urls.api}/v3/domains/${domain.metadata.name}`;
  const { organization, routerGroup, sharedWith = [] } = domain.spec;
  return {
    ...base(domain),
    name: domain.spec.displayName,
    internal: domain.spec.internal,
    router_group: routerGroup === undefined ? null : { guid: routerGroup },
    supported_protocols: [routerGroup === undefined ? 'http' : 'tcp'],
    relationships: {
      organization: toOne(organization),
      shared_organizations: { data: sharedWith.map((guid) => ({ guid })) },
    },
    metadata: metadata(domain),
    links: {
      self: link(self),
      ...(organization === undefined ? {} : { organization: link(`${urls.api}/v3/organizations/${organization}`) }),
      ...(routerGroup === undefined
        ? {}
        : { router_group: link(`${urls.api}/routing/v1/router_groups/${routerGroup}`) }),
      route_reservations: link(`${self}/route_reservations`),
    },
  };
}

export function presentUser(urls: Urls, user: Stored<User>): Json {
  return {
    ...base(user),
    username: user.spec.username,
    presentation_name: user.spec.username,
    origin: user.spec.origin,
    metadata: metadata(user),
    links: { self: link(`${urls.api}/v3/users/${user.metadata.name}`) },
  };
}

export function presentRole(urls: Urls, role: Stored<Role>): Json {
  const { user, organization, space } = role.spec;
  return {
    ...base(role),
    type: role.spec.type,
    relationships: { user: toOne(user), organization: toOne(organization), space: toOne(space) },
    links: {
      self: link(`${urls.api}/v3/roles/${role.metadata.name}`),
      user: link(`${urls.api}/v3/users/${user}`),
      ...(organization === undefined ? {} : { organization: link(`${urls.api}/v3/organizations/${organization}`) }),
      ...(space === undefined ? {} : { space: link(`${urls.api}/v3/spaces/${space}`) }),
    },
  };
}
