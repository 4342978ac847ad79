/**
 * Keeps the router equal to what the platform's routes, the cluster's Ingresses and its endpoints say. Level-triggered: every change
 * rebuilds the whole table from the informers' copies, once for all changes of one turn, and the driver sends the
 * difference. Nothing is applied before every copy is complete, so that an adopted proxy never loses a route meanwhile.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { createEventRecorder } from '#cluster/client/event-recorder.ts';
import type { TypedResource } from '#cluster/kinds/kind.ts';
import { endpointSlices } from '#cluster/kinds/resources.ts';
import type { EndpointSlice } from '#cluster/kinds/types/discovery.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { Informers } from '../resources/informers.ts';
import { pods } from '../resources/kubernetes.ts';
import type { CertificateSide } from '../certificates/certificates.ts';
import { Ordered } from '../resources/ordered.ts';
import { apps, domains, routes } from '../resources/types.ts';
import type { IngressRoutes } from './ingress/ingress.ts';
import { openIngress } from './ingress/open.ts';
import type { AccessRecord, HostCertificate, Route, Router } from './model.ts';
import { openRouteServices } from './route-services/open.ts';
import { routeMatcher, type RouteMatcher } from './route-match.ts';
import { ageOf, buildTable, type TableResult } from './table.ts';

const LONGEST_RETRY = 5000;

export interface RouteControllerOptions {
  informers: Informers;
  router: Router;
  /** Hosts of the platform's own endpoints (`RouterOptions.system`), in lower case. */
  systemHosts: string[];
  /** Those of the platform; Ingresses bring theirs besides. */
  certificates?: CertificateSide | undefined;
  /** Where the router is reached: an IP address. */
  address: string;
  /** Where route services may be. */
  guard: AddressGuard;
  signal: AbortSignal;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RouteController {
  /** Resolves when the first table is served. */
  ready: Promise<void>;
  /** Which app a request was for; undefined when it was for none. */
  applicationOf(record: AccessRecord): string | undefined;
  /** Which route it took. */
  routeOf(record: AccessRecord): Route | undefined;
  close(): Promise<void>;
}

export function startRouteController(options: RouteControllerOptions): RouteController {
  const { informers, router, log } = options;
  const systemHosts = new Set(options.systemHosts);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const first = Promise.withResolvers<void>();
  first.promise.catch(() => undefined);
  const warned = new Map<string, string>();
  let current: TableResult | undefined;
  let synced = false;
  let matcher: RouteMatcher | undefined;
  let scheduled = false;
  let running: Promise<void> = Promise.resolve();

  const changed = (): void => {
    if (!synced || scheduled || signal.aborted) return;
    scheduled = true;
    setImmediate(() => {
      running = running.then(converge);
    });
  };

  const onError = (error: unknown): void => log('warn', 'An event of a route was lost', { error: String(error) });
  const recorder = createEventRecorder({ client: informers.client, component: 'sampan-router', onError });
  const byAge = new Ordered(informers.of(routes), (route) => `${ageOf(route)} ${route.metadata.namespace ?? ''}`);
  const ports = router.ports();
  const ingress = openIngress({
    client: informers.client,
    systemHosts,
    address: {
      ip: options.address,
      ports: [ports.http, ports.https].map((port) => ({ port, protocol: 'TCP' })),
    },
    onChange: changed,
    onError: (error) => log('warn', 'Ingresses are not followed as they should', { error: String(error) }),
  });
  // The router is on this host, whatever the name of a route says.
  const own = { address: '127.0.0.1', port: ports.https };
  const services = openRouteServices({ informers, guard: options.guard, router: own, onChange: changed, log });

  const build = ({ claims, certificates }: IngressRoutes): TableResult => {
    const before = current?.applications.byEndpoint;
    const result = buildTable({
      routes: byAge.all(),
      slices: informers.of(endpointSlices).list(),
      pod: (namespace, name) => informers.of(pods).get(name, namespace),
      app: (guid) => informers.of(apps).byIndex('platform/guid', guid)[0],
      domain: (guid) => informers.of(domains).get(guid),
      systemHosts,
      tcpPorts: new Set(ports.tcp),
      served: (pod) => before?.has(pod) ?? false,
      services: services.read(),
      claims,
    });
    const own = options.certificates;
    return {
      ...result,
      table: {
        ...result.table,
        certificates: withOwn(certificates, own?.offered() ?? []),
        challenges: own?.challenges() ?? new Map(),
      },
    };
  };

  const warn = (refused: TableResult['refused']): void => {
    const names = new Set(refused.map(({ route }) => route.metadata.name ?? ''));
    for (const name of warned.keys()) if (!names.has(name)) warned.delete(name);
    for (const { route, reason } of refused) {
      const name = route.metadata.name ?? '';
      if (warned.get(name) === reason) continue;
      warned.set(name, reason);
      log('warn', 'A route cannot be served', { route: name, reason });
      const object = { apiVersion: 'platform.sampan.dev/v1', kind: routes.kind, metadata: route.metadata };
      recorder.record(object, { type: 'Warning', reason: 'Rejected', message: reason });
    }
  };

  const converge = async (): Promise<void> => {
    for (let wait = 100; !signal.aborted; wait = Math.min(LONGEST_RETRY, wait * 2)) {
      scheduled = false;
      const ingresses = ingress.routes();
      const result = build(ingresses);
      warn(result.refused);
      current = result;
      matcher = undefined;
      try {
        await router.apply(result.table);
        ingress.served(ingresses);
        options.certificates?.served(result.table.challenges ?? new Map());
        first.resolve();
        return;
      } catch (error) {
        if (signal.aborted) return;
        log('error', 'The router does not take its routes: tried again', { error: String(error), wait });
        await delay(wait, undefined, { signal }).catch(() => undefined);
      }
    }
  };

  const watched = [routes, domains, apps, pods, endpointSlices] as const;
  const unsubscribe: (() => void)[] = [];
  const start = async (): Promise<void> => {
    for (const resource of watched) {
      unsubscribe.push(informers.of(resource as TypedResource<EndpointSlice>).onChange(changed));
    }
    await Promise.all(watched.map((resource) => informers.of(resource as TypedResource<EndpointSlice>).synced));
    await ingress.synced;
    await services.synced;
    options.certificates?.onChange(changed);
    await options.certificates?.synced;
    synced = true;
    changed();
  };
  start().catch((error: unknown) => first.reject(error));

  return {
    ready: first.promise,
    applicationOf: ({ endpoint, backend }) =>
      current?.applications.byEndpoint.get(endpoint) ?? current?.applications.byBackend.get(backend),
    routeOf({ host, path }) {
      // A table changes more often than anybody asks.
      if (current !== undefined) matcher ??= routeMatcher(current.table);
      return matcher?.(host, path);
    },
    async close() {
      stop.abort();
      for (const end of unsubscribe) end();
      services.close();
      byAge.close();
      await running;
      await ingress.close();
      await recorder.flush();
    },
  };
}

/** What an Ingress brings for a host comes before the platform's own. Objects stay the same where nothing is left out. */
function withOwn(ofIngresses: HostCertificate[], own: readonly HostCertificate[]): HostCertificate[] {
  const taken = new Set(ofIngresses.flatMap(({ hosts }) => hosts));
  if (taken.size === 0) return [...own];
  const rest = own.map((one) =>
    one.hosts.some((host) => taken.has(host)) ? { ...one, hosts: one.hosts.filter((host) => !taken.has(host)) } : one,
  );
  return [...ofIngresses, ...rest.filter(({ hosts }) => hosts.length > 0)];
}
