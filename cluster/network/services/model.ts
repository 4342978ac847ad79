/** From a Service and its EndpointSlices to what this node serves of it. Pure. */
import { isIPv4 } from 'node:net';
import { ipv4Number, ipv4Text } from '#lib/ipv4.ts';
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

/** Nothing for what has no address: headless Services, external names, and those of IPv6 alone. */
export function servicePortsOf(
  service: Stored<Service>,
  slices: readonly EndpointSlice[],
  node: NodeFacts,
): ServicePort[] {
  const { spec } = service;
  if (spec === undefined || spec.type === 'ExternalName' || isForeign(service)) return [];
  const clusterIp = [spec.clusterIP ?? '', ...(spec.clusterIPs ?? [])].find((address) => isIPv4(address));
  if (clusterIp === undefined) return [];
  return (spec.ports ?? []).flatMap((port) => servicePortOf(service, clusterIp, port, { slices, node }) ?? []);
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
  const external = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const balanced = spec.type === 'LoadBalancer' ? (status?.loadBalancer?.ingress ?? []) : [];
  return {
    name: `${metadata.namespace}/${metadata.name}${name === '' ? '' : `:${name}`}`,
    protocol,
    port: port.port,
    clusterIp,
    ...(external && nodePort !== undefined && isPort(nodePort) && { nodePort }),
    externalIps: (spec.externalIPs ?? []).filter(isOutward),
    // A balancer that is a proxy sends to node ports, and wants its own address to be reached through it.
    loadBalancerIps: balanced.flatMap(({ ip, ipMode }) =>
      ip !== undefined && isOutward(ip) && ipMode !== 'Proxy' ? [ip] : [],
    ),
    sourceRanges: (spec.loadBalancerSourceRanges ?? []).flatMap((range) => rangeOf(range.trim()) ?? []),
    ...(spec.sessionAffinity === 'ClientIP' && {
      affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800,
    }),
    internalPolicy: policyOf(spec.internalTrafficPolicy),
    externalPolicy: policyOf(spec.externalTrafficPolicy),
    backends: backendsOf(slices, { name, protocol: apiProtocol }, node),
    ...(spec.healthCheckNodePort && { healthCheckNodePort: spec.healthCheckNodePort }),
  };
}

/** Whatever the API let through: traffic to a node's loopback is never led away. */
function isOutward(address: string): boolean {
  return isIPv4(address) && specialAddressProblem(address) === undefined;
}

/** With the bits of hosts set to nothing; undefined for what is none of IPv4. */
function rangeOf(text: string): string | undefined {
  const [address = '', length = ''] = text.split('/');
  if (!isIPv4(address) || !/^\d{1,2}$/.test(length) || Number(length) > 32) return undefined;
  const size = 2 ** (32 - Number(length));
  return `${ipv4Text(Math.floor(ipv4Number(address) / size) * size)}/${Number(length)}`;
}

function policyOf(policy: string | undefined): TrafficPolicy {
  return policy === 'Local' ? 'Local' : 'Cluster';
}
