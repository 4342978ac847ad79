/** From a Service and its EndpointSlices to what this node serves of it. Pure. */
import { type IpFamily, addressOfRange, familyOf, parseIpRange, rangeText } from '#lib/ip-range.ts';
import type { Stored } from '../../kinds/kind.ts';
import { specialAddressProblem } from '../../kinds/special-addresses.ts';
import type { Service, ServicePort as ApiServicePort } from '../../kinds/types/core.ts';
import type { EndpointSlice } from '../../kinds/types/discovery.ts';
import { backendsOf, isPort, type NodeFacts } from './choice.ts';
import type { Protocol, ServicePort, TrafficPolicy } from './services.ts';

const protocolOf: Record<string, Protocol> = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' };

/** Somebody else's to lead anywhere, such as the cluster's name server. */
export function isForeign({ metadata }: Service): boolean {
  return metadata.labels?.['service.kubernetes.io/service-proxy-name'] !== undefined;
}

/** Nothing for what has no address: headless Services, external names, and families that the node has no rules for. */
export function servicePortsOf(
  service: Stored<Service>,
  slices: readonly EndpointSlice[],
  node: NodeFacts,
): ServicePort[] {
  const { spec } = service;
  if (spec === undefined || spec.type === 'ExternalName' || isForeign(service)) return [];
  const addresses = [spec.clusterIP ?? '', ...(spec.clusterIPs ?? [])].flatMap((address) => canonical(address) ?? []);
  return (node.families ?? [4]).flatMap((family, index) => {
    const clusterIp = addresses.find((address) => familyOf(address) === family);
    if (clusterIp === undefined) return [];
    // Asked once, whatever families there are.
    const { healthCheckNodePort: _asked, ...once } = spec;
    const own = index === 0 ? spec : once;
    return (spec.ports ?? []).flatMap(
      (port) => servicePortOf({ ...service, spec: own }, clusterIp, port, { slices, node }) ?? [],
    );
  });
}

function servicePortOf(
  { metadata, spec = {}, status }: Stored<Service>,
  clusterIp: string,
  port: ApiServicePort,
  { slices, node }: { slices: readonly EndpointSlice[]; node: NodeFacts },
): ServicePort | undefined {
  const { name = '', protocol: apiProtocol = 'TCP', nodePort } = port;
  const protocol = protocolOf[apiProtocol];
  if (protocol === undefined || !isPort(port.port)) return undefined;
  const family = familyOf(clusterIp);
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const balanced = spec.type === 'LoadBalancer' ? (status?.loadBalancer?.ingress ?? []) : [];
  return {
    name: `${metadata.namespace}/${metadata.name}${name === '' ? '' : `:${name}`}`,
    family,
    protocol,
    port: port.port,
    clusterIp,
    ...(external && nodePort !== undefined && isPort(nodePort) && { nodePort }),
    externalIps: (spec.externalIPs ?? []).flatMap((ip) => outward(ip, family)),
    // A balancer that is a proxy sends to node ports, and wants its own address to be reached through it.
    loadBalancerIps: balanced.flatMap(({ ip, ipMode }) =>
      ip !== undefined && ipMode !== 'Proxy' ? outward(ip, family) : [],
    ),
    sourceRanges: sourceRangesOf(spec.loadBalancerSourceRanges ?? [], family),
    ...(spec.sessionAffinity === 'ClientIP' && {
      affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800,
    }),
    internalPolicy: policyOf(spec.internalTrafficPolicy),
    externalPolicy: policyOf(spec.externalTrafficPolicy),
    backends: backendsOf(slices, { name, protocol: apiProtocol, family }, node),
    ...(spec.healthCheckNodePort && { healthCheckNodePort: spec.healthCheckNodePort }),
  };
}

/** As it is written here; undefined where it is none. */
function canonical(address: string): string | undefined {
  const found = address.includes('/') ? undefined : parseIpRange(address);
  return found && addressOfRange(found, 0n);
}

/** Whatever the API let through: traffic to a node's loopback is never led away. */
function outward(address: string, family: IpFamily): string[] {
  const found = canonical(address);
  if (found === undefined || familyOf(found) !== family || specialAddressProblem(found) !== undefined) return [];
  return [found];
}

const NOBODY: Readonly<Record<IpFamily, string>> = { 4: '255.255.255.255/32', 6: '::/128' };

/** Ranges of one family say that of the other nobody may come. */
function sourceRangesOf(ranges: readonly string[], family: IpFamily): string[] {
  const known = ranges.flatMap((range) => parseIpRange(range.trim()) ?? []);
  const own = known.filter((range) => range.family === family).map(rangeText);
  return own.length === 0 && known.length > 0 ? [NOBODY[family]] : own;
}

function policyOf(policy: string | undefined): TrafficPolicy {
  return policy === 'Local' ? 'Local' : 'Cluster';
}
