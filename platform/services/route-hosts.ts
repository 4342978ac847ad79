/**
 * Hosts of routes of apps: what is there is reached through the router, whatever a name server says. On domains that are everybody's
 * alone: whoever brings a domain of their own must not be sent what is meant for a broker elsewhere that has such a name.
 */
import type { Records } from '../cloud-controller/records.ts';

export function routeHosts({ routes, domains }: Pick<Records, 'routes' | 'domains'>): (host: string) => boolean {
  return (host) => {
    const [first = '', ...rest] = host.toLowerCase().split('.');
    const parent = rest.join('.');
    const found = routes.all().find(({ spec }) => {
      if (spec.protocol !== 'http') return false;
      if (spec.host === '') return spec.domainName === host.toLowerCase();
      return spec.domainName === parent && (spec.host === '*' || spec.host === first);
    });
    const domain = found && domains.get(found.spec.domain);
    return domain !== undefined && domain.spec.organization === undefined;
  };
}
