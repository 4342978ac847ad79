/**
 * The contract of the service rules: on every node, the addresses and ports of Services lead to the pods behind them.
 *
 * A packet to one of these frontends is translated by the kernel when its connection begins (nftables; nobody of ours is on the
 * way of a byte), before routing, from pods and from the host itself:
 *
 *   cluster IP and port             of every Service that has one
 *   any address of this host        and a node port; all but the loopback's, as upstream's nftables mode, which leaves `route_localnet` alone
 *   external IPs                    of `spec.externalIPs`
 *   load balancer addresses         of `status.loadBalancer.ingress`, from `loadBalancerSourceRanges` alone where there are any
 *
 * Which endpoint: any of the ready ones, at random for each connection; where none is ready, of those that still serve while they
 * end (https://kubernetes.io/docs/concepts/services-networking/service/, KEP-1669). `sessionAffinity: ClientIP` keeps a source
 * with its endpoint until its last new connection is older than the timeout. `internalTrafficPolicy: Local` and
 * `externalTrafficPolicy: Local` choose among this node's endpoints, and keep the source's address. Topology hints are kept to
 * where every ready endpoint has one and this node's zone is among them.
 *
 * Without any endpoint a frontend refuses: a TCP reset, or "port unreachable" by ICMP. Without a local one, where the policy asks
 * for that, it drops. Addresses of the service range that no Service has refuse too, so nothing to them leaves by the default route.
 *
 * Sources: kept between pods. What comes from elsewhere (this host to a cluster IP; node ports and other external frontends with the policy
 * Cluster), and a pod that reaches itself by its Service, is given the address of this node in the pod range, where the answer finds back.
 *
 * Promises
 *   - One table, `inet sampan-<instance>.services`, and addresses of the load balancers' pool (`load-balancers.ts`): nothing else is touched. No
 *     instance's name has a dot, so no other table is called so.
 *   - A burst of changes is one transaction with what differs, or nothing. Established connections go on, also through a full
 *     replacement: only new ones ask the rules. When an endpoint has gone, its entries of UDP are forgotten, since UDP has no end.
 *   - Crash-only: the rules stay and work while the agent is away. At its start the table is brought to what should be in one
 *     transaction that leaves session affinity alone. What somebody takes out of it is put back.
 *   - Names and addresses of users reach rules only in the form of addresses, ports, digests and quoted comments of name characters.
 *
 * Families: what is said holds for each by itself, with maps, sets and chains of its own, where the network has ranges of IPv6 (`ipv6`);
 * else endpoints and addresses of IPv6 are passed over. A packet never changes its family.
 */
import type { IpFamily } from '#lib/ip-range.ts';
import type { Client } from '../../client/client.ts';

export const protocols = ['tcp', 'udp', 'sctp'] as const;
export type Protocol = (typeof protocols)[number];
export type TrafficPolicy = 'Cluster' | 'Local';

/** Where a packet is sent: an address and the port there, which may differ between the pods of one Service. */
export interface Backend {
  ip: string;
  port: number;
}

/** One port of a Service as this node serves it, to one family. */
export interface ServicePort {
  /** `namespace/name` or `namespace/name:port`. */
  name: string;
  /** Of all addresses here. */
  family: IpFamily;
  protocol: Protocol;
  port: number;
  clusterIp: string;
  nodePort?: number;
  externalIps: string[];
  loadBalancerIps: string[];
  /** CIDRs; empty: everybody. */
  sourceRanges: string[];
  /** Absent: each connection for itself. */
  affinitySeconds?: number;
  internalPolicy: TrafficPolicy;
  externalPolicy: TrafficPolicy;
  /** What the policies choose from; in the order of addresses. */
  backends: Record<TrafficPolicy, Backend[]>;
  /** Answers whether this node has endpoints, for load balancers outside. */
  healthCheckNodePort?: number;
}

/** Of the node, as far as rules depend on it. */
export interface ServiceNetwork {
  instance: string;
  /** This node's pods; its first address is this node's own in it. */
  podCidr: string;
  /** All pods. */
  clusterCidr: string;
  serviceCidr: string;
  /** The same of IPv6, where pods have it. */
  ipv6?: { podCidr: string; clusterCidr: string; serviceCidr: string };
}

export interface ServiceProxyOptions {
  network: ServiceNetwork;
  nodeName: string;
  /** With a node's rights: it lists and watches Services, EndpointSlices and Nodes. */
  client: Client;
  /** Ranges whose addresses this node may take for load balancers (`load-balancers.ts`). */
  loadBalancerPool?: readonly string[];
  /** Tells this host's neighbours that it has these addresses now (an engine does: `Neighbours`). Default: they find out. */
  announce?: (addresses: readonly string[]) => void;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface ServiceProxy {
  /** Resolves when the rules are what the API says. What fails meanwhile is logged and tried again. */
  readonly ready: Promise<void>;
  /** Resolves when the kernel has every change up to these resource versions, or up to what was seen before the call. */
  settled(versions?: { service?: string; endpointSlice?: string }): Promise<void>;
  /** Stops following; the rules stay. */
  close(): Promise<void>;
}
