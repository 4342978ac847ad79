/**
 * Hosts of routes of apps: what is there is reached through the router, whatever a name server says. Whose the domain is counts: on
 * one of their own somebody must not be sent what is meant for somebody elsewhere that has such a name.
 */
import type { Domain, Route } from './types.ts';

export interface KnownRoutes {
  routes(): Route[];
  domain(guid: string): Domain | undefined;
}

/** Is it the host of a route, on a domain that is everybody's or of this organization? */
export type IsRoute = (host: string, organization?: string) => boolean;

export function routeHosts(known: KnownRoutes): IsRoute {
  return (name, organization) => {
    const host = name.toLowerCase();
    const found = known.routes().find(({ spec }) => {
      if (spec.protocol !== 'http') return false;
      if (spec.host === '*') return host.endsWith(`.${spec.domainName}`) && host.length > spec.domainName.length + 1;
      return host === (spec.host === '' ? spec.domainName : `${spec.host}.${spec.domainName}`);
    });
    const domain = found && known.domain(found.spec.domain);
    if (domain === undefined) return false;
    return domain.spec.organization === undefined || domain.spec.organization === organization;
  };
}
