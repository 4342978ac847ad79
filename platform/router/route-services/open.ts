/** Follows the bindings of routes: see `route-services.ts`. */
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Informers } from '../../resources/informers.ts';
import { routeHosts } from '../../resources/route-hosts.ts';
import { routeServiceUrlOf, serviceBindings, serviceInstances } from '../../resources/service-types.ts';
import { domains, routes, spaces } from '../../resources/types.ts';
import type { RouteService } from '../model.ts';
import { Addresses, type AddressesOptions } from './addresses.ts';
import type { RouteServices, RouteServicesNow } from './route-services.ts';
import { serviceUrl } from './service-url.ts';
import { SignatureKeys } from './signature-keys.ts';

const PATIENCE_MILLISECONDS = 5_000;

export interface OpenRouteServicesOptions extends AddressesOptions {
  informers: Informers;
  /** Ours, where routes are served by TLS. */
  router: { address: string; port: number };
}

export function openRouteServices(options: OpenRouteServicesOptions): RouteServices {
  const { informers, onChange, router } = options;
  const bindings = informers.of(serviceBindings);
  const instances = informers.of(serviceInstances);
  const allSpaces = informers.of(spaces);
  const allRoutes = informers.of(routes);
  const allDomains = informers.of(domains);
  const isRoute = routeHosts({ routes: () => allRoutes.list(), domain: (guid) => allDomains.get(guid) });
  const addresses = new Addresses(options);
  const keys = new SignatureKeys({ client: informers.client, ...options });
  const unsubscribe = [bindings.onChange(onChange), instances.onChange(onChange)];
  const instanceOf = (guid: string) => instances.byIndex('platform/guid', guid)[0];
  const organizationOf = (namespace: string | undefined) =>
    allSpaces.list().find(({ spec }) => spec.namespace === namespace)?.spec.organization;

  const read = (): RouteServicesNow => {
    const urls = new Map<string, string>();
    for (const binding of bindings.list()) {
      const { route, instance } = binding.spec;
      const url = route === undefined ? undefined : routeServiceUrlOf(binding, instanceOf(instance));
      if (route !== undefined && url !== undefined) urls.set(route, url);
    }
    const services = new Map<string, RouteService>();
    const serviceOf = (url: string, organization: string | undefined): RouteService => {
      const { hostname, port } = new URL(url);
      const host = hostname.replace(/^\[|\]$/g, '');
      const isHere = (Number(port) || 443) === router.port && isRoute(host, organization);
      const name = nameOf(url, isHere);
      let service = services.get(name);
      if (service === undefined) {
        service = { name, url, addresses: isHere ? [router.address] : addresses.of(host) };
        services.set(name, service);
      }
      return service;
    };
    return {
      of: ({ metadata }) => {
        const url = urls.get(metadata.name ?? '');
        if (url === undefined) return undefined;
        return serviceOf(serviceUrl(url) ?? UNUSABLE, organizationOf(metadata.namespace));
      },
      keys: urls.size === 0 ? [] : keys.current(),
    };
  };

  const settle = async (): Promise<void> => {
    await Promise.all([bindings, instances, allSpaces, allRoutes, allDomains].map(({ synced }) => synced));
    const now = read();
    for (const route of allRoutes.list()) now.of(route);
    const late = delay(PATIENCE_MILLISECONDS, undefined, { ref: false });
    await Promise.race([late, Promise.all([addresses.settled(), keys.settled()])]);
  };

  const synced = settle();
  // Told to who waits for it, if anybody.
  synced.catch(() => undefined);

  return {
    read,
    synced,
    close() {
      for (const end of unsubscribe) end();
      addresses.close();
      keys.close();
    },
  };
}

/** Nobody is there: what cannot be asked is answered for. */
const UNUSABLE = 'https://unusable.invalid/';

/** One that is an app for some is elsewhere for others. */
function nameOf(url: string, isHere: boolean): string {
  const digest = createHash('sha256')
    .update(`${url} ${String(isHere)}`)
    .digest('hex')
    .slice(0, 24);
  return `service-${digest}`;
}
