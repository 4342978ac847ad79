/** What the cluster's zone has at a name: the specification as a pure function of a view. */
import { isIP, isIPv6 } from 'node:net';
import { canonicalIpv6 } from '#lib/dns/address.ts';
import type { Endpoint, EndpointSlice } from '../../kinds/types/discovery.ts';
import type { Service } from '../../kinds/types/core.ts';
import type { ClusterView } from './dns.ts';

/** Everything at one name. */
export interface RecordSet {
  addresses: string[];
  /** What SRV says; made when it is asked for. */
  services?: () => ServicePort[];
  alias?: string;
  text?: string;
  pointers?: string[];
}

export interface ServicePort {
  port: number;
  /** Without the zone. */
  target: string;
  addresses: string[];
}

const SCHEMA_VERSION = '1.1.0';
/** The name stands above others, and has nothing itself. */
const BARE: RecordSet = { addresses: [] };

/** @param labels  of the name without the zone; undefined: there is no such name */
export function recordsAt(view: ClusterView, labels: readonly string[], server: string): RecordSet | undefined {
  const last = labels.at(-1);
  const rest = labels.slice(0, -1);
  switch (last) {
    case undefined:
      return BARE;
    case 'svc':
      return serviceRecords(view, rest);
    case 'pod':
      return podRecords(view, rest);
    case 'dns-version':
      return rest.length === 0 ? { addresses: [], text: SCHEMA_VERSION } : undefined;
    case 'dns':
      if (rest.length === 0) return BARE;
      return rest.length === 1 && rest[0] === 'ns' ? { addresses: [server] } : undefined;
    default:
      return undefined;
  }
}

function podRecords(view: ClusterView, labels: readonly string[]): RecordSet | undefined {
  const namespace = labels.at(-1);
  if (namespace === undefined) return BARE;
  if (!view.hasNamespace(namespace) || labels.length > 2) return undefined;
  const [first = ''] = labels;
  if (labels.length === 1) return BARE;
  const ip = addressOfLabel(first);
  return ip !== undefined && view.hasPod(namespace, ip) ? { addresses: [ip] } : undefined;
}

/** `10-86-0-7` or `fd00--7`: of IPv6 in the one way that pods' addresses are written. */
function addressOfLabel(label: string): string | undefined {
  if (/^\d+-\d+-\d+-\d+$/.test(label)) return label.replaceAll('-', '.');
  const text = label.replaceAll('-', ':');
  // Whose zone is named is an address for Node, and none of a pod.
  return isIPv6(text) && !text.includes('%') ? canonicalIpv6(text) : undefined;
}

function serviceRecords(view: ClusterView, labels: readonly string[]): RecordSet | undefined {
  const [namespace, name] = [labels.at(-1), labels.at(-2)];
  if (namespace === undefined) return BARE;
  if (!view.hasNamespace(namespace)) return undefined;
  if (name === undefined) return BARE;
  const service = view.service(namespace, name);
  if (service?.spec === undefined) return undefined;
  const [first, second, ...more] = labels.slice(0, -2);
  if (more.length > 0) return undefined;
  const target = `${name}.${namespace}.svc`;
  const slices = (): EndpointSlice[] => view.slices(namespace, name);
  if (first === undefined) return wholeService(service, target, slices);
  if (service.spec.type === 'ExternalName') return undefined;
  if (second !== undefined) {
    if (!first.startsWith('_') || !second.startsWith('_')) return undefined;
    return portRecords(service, target, slices(), { port: first.slice(1), protocol: second.slice(1) });
  }
  if (!first.startsWith('_')) return endpointRecords(slices(), target, (endpoint) => hostnamesOf(endpoint).has(first));
  const protocol = first.slice(1).toUpperCase();
  return service.spec.ports?.some((port) => port.name && (port.protocol ?? 'TCP') === protocol) ? BARE : undefined;
}

function wholeService(service: Service, target: string, slices: () => EndpointSlice[]): RecordSet | undefined {
  const { type, externalName = '', clusterIP = '', ports = [] } = service.spec ?? {};
  if (type === 'ExternalName') return aliasRecords(externalName);
  if (clusterIP === 'None') return endpointRecords(slices(), target, () => true);
  const addresses = clusterIpsOf(service);
  return { addresses, services: () => ports.map(({ port }) => ({ port, target, addresses })) };
}

function clusterIpsOf({ spec: { clusterIP = '', clusterIPs = [] } = {} }: Service): string[] {
  return [...new Set([clusterIP, ...clusterIPs])].filter((ip) => ip !== '');
}

/** An address is no name that a CNAME could have. */
function aliasRecords(externalName: string): RecordSet | undefined {
  if (externalName === '' || /^[\d.]+$/.test(externalName) || externalName.includes(':')) return undefined;
  return { addresses: [], alias: externalName.replace(/\.$/, '') };
}

function portRecords(
  service: Service,
  target: string,
  slices: EndpointSlice[],
  { port: name, protocol }: { port: string; protocol: string },
): RecordSet | undefined {
  const fits = (port: { name?: string; protocol?: string }): boolean =>
    name !== '' && port.name?.toLowerCase() === name && (port.protocol ?? 'TCP').toLowerCase() === protocol;
  const { clusterIP, ports = [] } = service.spec ?? {};
  if (clusterIP !== 'None') {
    const found = ports.filter(fits);
    const addresses = clusterIpsOf(service);
    if (found.length === 0) return undefined;
    return { addresses: [], services: () => found.map(({ port }) => ({ port, target, addresses })) };
  }
  const found = slices.map((slice) => ({ ...slice, ports: (slice.ports ?? []).filter(fits) }));
  const all = endpointRecords(
    found.filter(({ ports: some }) => some.length > 0),
    target,
    () => true,
  );
  return all && { ...all, addresses: [] };
}

/** Of ready endpoints; undefined where there is none. */
function endpointRecords(
  slices: EndpointSlice[],
  target: string,
  wanted: (endpoint: Endpoint) => boolean,
): RecordSet | undefined {
  // Of slices with names for addresses there is nothing to say.
  const ready = slices
    .filter(({ addressType }) => addressType !== 'FQDN')
    .map(({ ports = [], endpoints = [] }) => ({
      ports,
      endpoints: endpoints
        .filter((endpoint) => isReady(endpoint) && wanted(endpoint))
        .map((endpoint) => ({ ...endpoint, addresses: endpoint.addresses.filter((ip) => isIP(ip) !== 0) })),
    }));
  const addresses = new Set(ready.flatMap(({ endpoints }) => endpoints.flatMap((endpoint) => endpoint.addresses)));
  if (addresses.size === 0) return undefined;
  const services = (): ServicePort[] =>
    ready.flatMap(({ ports, endpoints }) =>
      ports.flatMap(({ port }) =>
        port === undefined ? [] : endpoints.flatMap((endpoint) => portsOf(endpoint, port, target)),
      ),
    );
  return { addresses: [...addresses], services };
}

function portsOf({ hostname, addresses }: Endpoint, port: number, target: string): ServicePort[] {
  if (hostname) return [{ port, target: `${hostname}.${target}`, addresses }];
  return addresses.map((ip) => ({ port, target: `${dashed(ip)}.${target}`, addresses: [ip] }));
}

function isReady({ conditions }: Endpoint): boolean {
  return conditions?.ready !== false;
}

function hostnamesOf({ hostname, addresses }: Endpoint): Set<string> {
  return new Set(hostname ? [hostname.toLowerCase()] : addresses.map(dashed));
}

function dashed(ip: string): string {
  return ip.replaceAll(/[.:]/g, '-');
}

/** Names, without the zone, of who has the address. */
export function namesOf(view: ClusterView, ip: string): string[] {
  const services = view.servicesAt(ip).map(({ metadata }) => `${metadata.name}.${metadata.namespace}.svc`);
  if (services.length > 0) return services;
  const names = view.slicesWith(ip).flatMap(({ metadata, endpoints = [] }) => {
    const service = metadata.labels?.['kubernetes.io/service-name'];
    if (service === undefined) return [];
    return endpoints
      .filter((endpoint) => endpoint.addresses.includes(ip) && isReady(endpoint))
      .map(({ hostname }) => `${hostname || dashed(ip)}.${service}.${metadata.namespace}.svc`);
  });
  return [...new Set(names)];
}
