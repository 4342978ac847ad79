/** From apps' routes to the routing table: a pure function of what the informers show. */
import { createHash } from 'node:crypto';
import type { Pod } from '#cluster/kinds/types/core.ts';
import type { EndpointSlice } from '#cluster/kinds/types/discovery.ts';
import {
  type App,
  annotations,
  type Destination,
  type Domain,
  labels,
  type Route as RouteObject,
} from '../resources/types.ts';
import { type Claim, settle } from './claims.ts';
import type { Backend, Endpoint, Route, RouteService, RoutingTable, TcpRoute } from './model.ts';
import type { RouteServicesNow } from './route-services/route-services.ts';
import { HASH_FACTORS, isUsable } from './validate.ts';

export interface TableSources {
  routes: RouteObject[];
  /** Slices of process services: they carry the labels `app` and `process-type`. */
  slices: EndpointSlice[];
  pod(namespace: string, name: string): Pod | undefined;
  app(guid: string): App | undefined;
  domain(guid: string): Domain | undefined;
  /** Hosts of the platform itself, which no app's route may take. */
  systemHosts: ReadonlySet<string>;
  /** Ports that the router has for TCP routes. */
  tcpPorts: ReadonlySet<number>;
  /** Did this pod serve in the table before? */
  served(pod: string): boolean;
  /** Of routes that are bound to one. */
  services: RouteServicesNow;
  /** Of others that share the router. */
  claims?: readonly Claim[];
}

export interface TableResult {
  table: RoutingTable;
  /** Routes that cannot be served, and why. */
  refused: { route: RouteObject; reason: string }[];
  /** App by endpoint, and by backend for requests that reached none. */
  applications: { byEndpoint: Map<string, string>; byBackend: Map<string, string> };
}

const GUID = /^[a-z0-9-]{1,40}$/;
const FULL_WEIGHT = 256;

export function buildTable(sources: TableSources): TableResult {
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of sources.slices) {
    const key = processKey(
      slice.metadata.labels?.[labels.app] ?? '',
      slice.metadata.labels?.[labels.processType] ?? '',
    );
    const known = slices.get(key);
    if (known) known.push(slice);
    else slices.set(key, [slice]);
  }
  const result: TableResult = {
    table: { routes: [], backends: [] },
    refused: [],
    applications: { byEndpoint: new Map(), byBackend: new Map() },
  };
  const services = new Map<string, RouteService>();
  const ofApps = sources.routes
    .filter(({ spec }) => spec.protocol === 'http' && sources.domain(spec.domain)?.spec.internal !== true)
    .map((object): Claim => {
      const service = sources.services.of(object);
      const { route, age, holder } = factsOf(object, service?.name);
      if (service) services.set(service.name, service);
      return {
        age,
        holder,
        route,
        backend: () => backendOf(route.backend, object, slices, sources, result),
        refuse: (reason) => result.refused.push({ route: object, reason }),
      };
    });
  result.table = settle([...ofApps, ...(sources.claims ?? [])], sources.systemHosts);
  result.table.services = [...services.values()];
  result.table.signatureKeys = [...sources.services.keys];
  addTcpRoutes(result, sources, (name, object) => backendOf(name, object, slices, sources, result));
  return result;
}

/** The oldest route has a host. Where routes come in this order, there is nothing to sort. */
export function ageOf({ metadata }: RouteObject): string {
  // One that was moved to another space is as old as it was.
  const made = metadata.annotations?.[annotations.createdAt]?.replace(/\.\d+Z$/, 'Z') ?? metadata.creationTimestamp;
  return `${made ?? ''} ${metadata.name ?? ''}`;
}

/** Each has a backend of its own: a port is one route's. */
function addTcpRoutes(
  { table, refused }: TableResult,
  { routes, tcpPorts }: TableSources,
  backend: (name: string, object: RouteObject) => Backend,
): void {
  const tcp = new Map<number, TcpRoute>();
  const ours = routes.filter(({ spec }) => spec.protocol === 'tcp');
  for (const object of ours.toSorted((a, b) => (ageOf(a) < ageOf(b) ? -1 : 1))) {
    const port = object.spec.port ?? 0;
    const holder = tcp.get(port);
    if (holder !== undefined) {
      if (holder.id !== object.metadata.name)
        refused.push({ route: object, reason: `the route ${holder.id} has the port ${port} already` });
    } else if (!tcpPorts.has(port)) {
      refused.push({ route: object, reason: `the router does not have the port ${port}: see sampan up --tcp-ports` });
    } else {
      const id = object.metadata.name ?? '';
      const name = named('t', id, '');
      tcp.set(port, { port, backend: name, id });
      table.backends.push(backend(name, object));
    }
  }
  table.tcp = [...tcp.values()];
}

function processKey(app: string, type: string): string {
  return `${app} ${type}`;
}

interface Facts {
  route: Route;
  age: string;
  holder: string;
}

/** Of ten thousand one changes, and the others are the same objects as before. */
const known = new WeakMap<RouteObject, Facts>();

function factsOf(object: RouteObject, service: string | undefined): Facts {
  const before = known.get(object);
  if (before !== undefined && before.route.service === service) return before;
  const { host, domainName, path } = object.spec;
  const { name = '' } = object.metadata;
  const route: Route = {
    host: (host === '' ? domainName : `${host}.${domainName}`).toLowerCase(),
    path: path.replace(/\/+$/, '') || '/',
    backend: backendName(object),
    id: name,
    ...(host.startsWith('*') && { wide: true }),
    ...(service !== undefined && { service }),
  };
  const facts = { route, age: ageOf(object), holder: `the route ${name}` };
  known.set(object, facts);
  return facts;
}

/** One backend for each process that is somebody's only destination; routes that split traffic have their own. */
function backendName(object: RouteObject): string {
  const { destinations, options } = object.spec;
  const [first, ...more] = destinations;
  if (first === undefined || more.length > 0) return named('r', object.metadata.name ?? '', '');
  const balance = balanceOf(options);
  const by = balance === undefined ? '' : balance === 'least-connections' ? ' least' : ` ${JSON.stringify(balance)}`;
  return named('a', first.app, `${first.processType} ${first.port ?? ''} ${first.protocol}${by}`);
}

function balanceOf(options: RouteObject['spec']['options']): Backend['balance'] {
  if (options?.loadbalancing === 'least-connection') return 'least-connections';
  const header = options?.hash_header?.toLowerCase();
  if (options?.loadbalancing !== 'hash' || header === undefined) return undefined;
  const factor = Math.round(Number(options.hash_balance ?? 0) * 100);
  // Nobody can be held to less than the average.
  return factor > 0 ? { header, factor: Math.min(Math.max(factor, HASH_FACTORS.min), HASH_FACTORS.max) } : { header };
}

function named(prefix: string, guid: string, rest: string): string {
  const part = GUID.test(guid) ? guid : digest(guid, 32);
  return rest === '' ? `${prefix}-${part}` : `${prefix}-${part}-${digest(rest, 8)}`;
}

function digest(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length);
}

function backendOf(
  name: string,
  object: RouteObject,
  slices: Map<string, EndpointSlice[]>,
  sources: TableSources,
  { applications }: TableResult,
): Backend {
  const { destinations, options } = object.spec;
  const groups = destinations.map((destination) => ({
    destination,
    endpoints: endpointsOf(destination, slices.get(processKey(destination.app, destination.processType)), sources),
  }));
  // A weight is the destination's: its instances share it.
  const shares = groups.map(
    ({ destination, endpoints }) => (destination.weight ?? 100) / Math.max(1, endpoints.length),
  );
  const largest = Math.max(...shares, 0);
  const weighted = destinations.some(({ weight }) => weight !== undefined);
  /** An instance may be there at several ports. */
  const endpoints = new Map<string, Endpoint>();
  for (const [index, group] of groups.entries()) {
    const weight = Math.ceil((FULL_WEIGHT * (shares[index] ?? 0)) / (largest || 1));
    for (const endpoint of group.endpoints) {
      endpoints.set(`${endpoint.name}:${endpoint.port}`, weighted ? { ...endpoint, weight } : endpoint);
      applications.byEndpoint.set(endpoint.name, group.destination.app);
    }
  }
  const [first] = destinations;
  if (first !== undefined) applications.byBackend.set(name, first.app);
  const application = first && applicationOf(first, sources);
  const balance = balanceOf(options);
  return {
    name,
    ...(balance === undefined ? {} : { balance }),
    endpoints: [...endpoints.values()],
    ...(application && { application }),
  };
}

function applicationOf(destination: Destination, sources: TableSources): Backend['application'] {
  const app = sources.app(destination.app);
  return {
    id: destination.app,
    name: app?.spec.displayName ?? '',
    space: app?.metadata.labels?.[labels.space] ?? app?.metadata.namespace ?? '',
    organization: app?.metadata.labels?.[labels.organization] ?? '',
  };
}

/**
 * Instances that are ready, and those that end as draining ones. When none is ready, those that have served before stay
 * in: one that is being restarted in its place answers within the proxy's retries, instead of a page that nobody is there.
 */
function endpointsOf(destination: Destination, slices: EndpointSlice[] | undefined, sources: TableSources): Endpoint[] {
  const stopped = sources.app(destination.app)?.spec.state === 'STOPPED';
  const ready: Endpoint[] = [];
  const draining: Endpoint[] = [];
  const restarting: Endpoint[] = [];
  for (const slice of slices ?? []) {
    const port = destination.port ?? slice.ports?.find(({ protocol }) => (protocol ?? 'TCP') === 'TCP')?.port;
    for (const { addresses, conditions, targetRef } of slice.endpoints ?? []) {
      const [ip] = addresses;
      const name = targetRef?.name;
      if (ip === undefined || name === undefined || port === undefined) continue;
      const pod = sources.pod(slice.metadata.namespace ?? '', name);
      const instance = instanceOf(pod);
      const endpoint: Endpoint = {
        name,
        ip,
        port,
        ...(destination.protocol === 'http2' && { protocol: 'http2' as const }),
        ...(instance !== undefined && { instance }),
      };
      if (!isUsable(endpoint)) continue;
      if (conditions?.terminating || stopped) draining.push({ ...endpoint, draining: true });
      else if (conditions?.ready !== false) ready.push(endpoint);
      else if (sources.served(name) && isRestarting(pod)) restarting.push(endpoint);
    }
  }
  return [...(ready.length > 0 ? ready : restarting), ...draining];
}

/** Started again in its place, and soon back. One that runs and fails its readiness check says that it wants no requests. */
export function isRestarting(pod: Pod | undefined): boolean {
  if (pod?.status?.phase !== 'Running') return false;
  const { conditions = [], containerStatuses = [] } = pod.status;
  if (containerStatuses.some(({ state }) => state?.waiting?.reason === 'CrashLoopBackOff')) return false;
  // What the pod says of its containers may be older than what its slice says: only both together are a refusal.
  const unready = conditions.some(({ type, status }) => type === 'Ready' && status === 'False');
  const up = containerStatuses.length > 0 && containerStatuses.every(({ started, state }) => started && state?.running);
  return !(unready && up);
}

export function instanceOf(pod: Pod | undefined): number | undefined {
  const index = pod?.metadata.annotations?.[annotations.instanceIndex];
  return index !== undefined && /^\d{1,6}$/.test(index) ? Number(index) : undefined;
}
