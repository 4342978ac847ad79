/** Which EndpointSlices a Service with a selector should have. Pure. */
import { createHash } from 'node:crypto';
import type { Stored } from '../kinds/kind.ts';
import type { Pod, Service, ServicePort } from '../kinds/types/core.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '../kinds/types/discovery.ts';
import { isFinished, isReady, sameJson } from './objects.ts';

export const serviceLabel = 'kubernetes.io/service-name';
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
/** Endpoints in one slice at most: a change rewrites one slice and reaches every watcher of it. */
const sliceLimit = 100;

type AddressType = 'IPv4' | 'IPv6';

export interface Wanted {
  name: string;
  addressType: AddressType;
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

export function selects(service: Service, pod: Pod): boolean {
  const selector = service.spec?.selector;
  if (!selector || service.spec?.type === 'ExternalName') return false;
  const entries = Object.entries(selector);
  return entries.length > 0 && entries.every(([name, value]) => pod.metadata.labels?.[name] === value);
}

/** The number behind a port of the service in this pod; undefined when the pod names no such port. */
function targetPort(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target === 0 ? port.port : target;
  const protocol = port.protocol ?? 'TCP';
  const containers = [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ];
  for (const { ports } of containers) {
    const found = ports?.find(({ name, protocol: own }) => name === target && (own ?? 'TCP') === protocol);
    if (found) return found.containerPort;
  }
  return undefined;
}

function portsOf(service: Service, pod: Pod): EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const servicePort of service.spec?.ports ?? []) {
    const port = targetPort(servicePort, pod);
    if (port === undefined) continue;
    const { name = '', protocol = 'TCP', appProtocol } = servicePort;
    ports.push({ name, protocol, port, ...(appProtocol && { appProtocol }) });
  }
  return ports;
}

function endpointOf({ service, zoneOf }: SliceInput, pod: Stored<Pod>, address: string): Endpoint {
  const serving = isReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const published = service.spec?.publishNotReadyAddresses === true;
  const ready = published || (serving && !terminating);
  const { hostname, subdomain, nodeName } = pod.spec ?? {};
  const zone = nodeName ? zoneOf(nodeName) : undefined;
  return {
    addresses: [address],
    conditions: { ready, serving: published || serving, terminating },
    ...(hostname && subdomain === service.metadata.name && { hostname }),
    ...(nodeName && { nodeName }),
    targetRef: {
      kind: 'Pod',
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name,
      uid: pod.metadata.uid,
    },
    ...(zone && { zone }),
    // Proxies keep to them only where every ready endpoint has one.
    ...(zone &&
      ready &&
      service.spec?.trafficDistribution === 'PreferClose' && { hints: { forZones: [{ name: zone }] } }),
  };
}

function addressesOf(pod: Pod): string[] {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip).filter((ip): ip is string => !!ip) ?? [];
  if (listed.length > 0) return listed;
  return pod.status?.podIP ? [pod.status.podIP] : [];
}

export interface SliceInput {
  service: Stored<Service>;
  /** Those that it selects. */
  pods: Stored<Pod>[];
  /** Slices of ours that there are. */
  there: Stored<EndpointSlice>[];
  /** Of a node. */
  zoneOf: (node: string) => string | undefined;
}

/** The slices that a service should have: one for each family and set of port numbers, more when there are many pods. */
export function wantedSlices(input: SliceInput): Wanted[] {
  const { service, there } = input;
  const wanted: Wanted[] = [];
  for (const { addressType, ports, endpoints } of groupsOf(input)) {
    const same = there.filter((slice) => slice.addressType === addressType && sameJson(slice.ports ?? [], ports));
    for (const { name, endpoints: placed } of place(endpoints, same, nameMaker(service, [addressType, ports], same)))
      wanted.push({ name, addressType, ports, endpoints: placed });
  }
  return wanted;
}

function groupsOf(input: SliceInput): Omit<Wanted, 'name'>[] {
  const { service, pods } = input;
  const families = new Set(service.spec?.ipFamilies ?? ['IPv4']);
  const groups = new Map<string, Omit<Wanted, 'name'>>();
  const group = (addressType: AddressType, ports: EndpointPort[]): Omit<Wanted, 'name'> => {
    const key = JSON.stringify([addressType, ports]);
    const found = groups.get(key) ?? { addressType, ports, endpoints: [] };
    groups.set(key, found);
    return found;
  };
  for (const pod of pods.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))) {
    if (isFinished(pod)) continue;
    const ports = portsOf(service, pod);
    if (ports.length === 0 && (service.spec?.ports?.length ?? 0) > 0) continue;
    for (const address of addressesOf(pod)) {
      const addressType = address.includes(':') ? 'IPv6' : 'IPv4';
      if (families.has(addressType)) group(addressType, ports).endpoints.push(endpointOf(input, pod, address));
    }
  }
  // Without pods there is an empty slice for each family: who watches knows that it was looked at.
  const found = new Set([...groups.values()].map(({ addressType }) => addressType));
  for (const family of ['IPv4', 'IPv6'] as const) if (families.has(family) && !found.has(family)) group(family, []);
  return [...groups.values()];
}

/** Endpoints stay in the slice that they are in, so that a change rewrites few; new ones go where there is room, the fullest first. */
function place(
  endpoints: Endpoint[],
  there: Pick<Stored<EndpointSlice>, 'metadata' | 'endpoints'>[],
  nextName: () => string,
): { name: string; endpoints: Endpoint[] }[] {
  const left = new Map(endpoints.map((endpoint) => [identity(endpoint), endpoint]));
  const slices = there.map(({ metadata, endpoints: before }) => ({
    name: metadata.name,
    endpoints: before.flatMap((endpoint) => {
      const now = left.get(identity(endpoint));
      left.delete(identity(endpoint));
      return now ?? [];
    }),
  }));
  slices.sort((a, b) => b.endpoints.length - a.endpoints.length);
  const rest = [...left.values()];
  for (const slice of slices) slice.endpoints.push(...rest.splice(0, Math.max(0, sliceLimit - slice.endpoints.length)));
  while (rest.length > 0) slices.push({ name: nextName(), endpoints: rest.splice(0, sliceLimit) });
  const filled = slices.filter((slice) => slice.endpoints.length > 0);
  if (filled.length > 0) return filled;
  return [slices[0] ?? { name: nextName(), endpoints: [] }];
}

function identity({ addresses, targetRef }: Endpoint): string {
  return `${targetRef?.uid ?? ''} ${addresses[0] ?? ''}`;
}

/** Names that depend on nothing but what the slice is for: a write that is repeated makes no second one. */
function nameMaker(service: Stored<Service>, group: unknown, there: Stored<EndpointSlice>[]): () => string {
  const taken = new Set(there.map(({ metadata }) => metadata.name));
  return () => {
    for (let index = 0; ; index++) {
      const seed = `${service.metadata.uid}\0${JSON.stringify(group)}\0${index}`;
      const name = `${service.metadata.name}-${createHash('sha256').update(seed).digest('hex').slice(0, 10)}`;
      if (taken.has(name)) continue;
      taken.add(name);
      return name;
    }
  };
}
