/**
 * Route services: what requests of a route go through before they reach its app.
 *
 * The cloud controller writes bindings (`ServiceBinding` with a route); here they become the services of the routing table. A service's
 * host is looked up by us and not by the proxy, so that each address is judged as those of brokers and drains are: none of the platform's
 * own, unless allowed. A host of a route here leads to the router itself, whatever a name server says. What cannot be looked up, or
 * may not be reached, has no address, and the router answers for it: a request never passes a service by.
 *
 * - A binding counts from when it was made until it is gone: also while a broker takes it back.
 * - Addresses are looked up again every half minute, for as long as a route needs them; while a name server does not answer, the last ones stay.
 * - Keys of signatures are the Secret `route-service-keys`. A new one comes every day, and the one before it is known for as
 *   long as what it has signed is good.
 */
import type { Route as RouteObject } from '../../resources/types.ts';
import type { RouteService, SignatureKey } from '../model.ts';

export interface RouteServices {
  /** Of all that the bindings say at the moment. Addresses and keys that it is the first to need come a moment later. */
  read(): RouteServicesNow;
  /** Resolves when the bindings are known, and what they need was looked up once or could not be within a moment: a proxy that runs loses nothing. */
  synced: Promise<void>;
  close(): void;
}

export interface RouteServicesNow {
  /** What a route's requests go through first. */
  of(route: RouteObject): RouteService | undefined;
  keys: readonly SignatureKey[];
}
