/**
 * The contract of the cluster's name server: one in the agent of every node, for the pods of that node.
 *
 * It follows the "Kubernetes DNS-Based Service Discovery" specification, schema version 1.1.0, of what informers show: Services,
 * EndpointSlices, Namespaces and Pods. Everything else is asked of the host's own servers and remembered (`#lib/dns/forwarder.ts`).
 * For `cluster.local`:
 *   <service>.<ns>.svc                     A and AAAA: cluster IPs; headless: every ready endpoint; ExternalName: CNAME, with what it leads to
 *   _<port>._<proto>.<service>.<ns>.svc    SRV for each named port; headless: for each ready endpoint too. Without the first two: all ports
 *   <hostname>.<service>.<ns>.svc          A, AAAA: endpoints with that hostname, or `10-86-0-7` (`fd00--7`) for one without
 *   10-86-0-7.<ns>.pod                     A (`fd00--7`: AAAA), where a pod of that namespace has the address (others answer for any address: that
 *                                          lets a pod name what it is not)
 *   dns-version                            TXT "1.1.0"
 *   7.0.86.10.in-addr.arpa                 PTR, also below ip6.arpa: the service, or the endpoints, with that address
 * Of a family that a name has no address of there is an empty answer. The server is asked by IPv4, which every pod has.
 *
 * A name that is not there is NXDOMAIN; one that has no record of the type, or only stands above others, is an empty answer; both have
 * the zone's SOA, so that they are remembered for the time to live. That is 5 s (CoreDNS' own default; kubeadm sets 30): the server
 * is on the same node, so asking again costs nothing, and who remembers less notices sooner.
 *
 * Names below `internal` that an annotation gives to Services lead to what they lead to: apps' internal routes (`internal-names.ts`).
 *
 * Names below `localZones` lead to one address of this node: the platform's domain to its router.
 *
 * How pods reach it: by the cluster IP of the Service kube-system/kube-dns, the tenth of the service range, which is in their
 * resolv.conf. A table of this room (`rules.ts`) leads port 53 of that address to the server, before the rules of Services see it; so it needs
 * no endpoint, no other room, and no other node. The table outlives the agent, and the server comes back at the port it had: while
 * it is away a question is refused at once (ICMP), rather than left to time out.
 * Only pods of this node and this host are answered. A pod may ask 5000 times a second, and keep 64 questions to other servers and 16
 * connections busy.
 *
 * Never asked for what is not ours: the server itself, whatever the host's resolv.conf says; and a loop over others ends (`forwarder.ts`).
 */
import type { EndpointSlice } from '../../kinds/types/discovery.ts';
import type { Service } from '../../kinds/types/core.ts';
import type { Stored } from '../../kinds/kind.ts';

export interface DnsOptions {
  instance: string;
  /** `cluster.local` */
  domain: string;
  /** What pods ask: see `clusterDnsAddress`. */
  clusterIp: string;
  /** Of this node, where the server listens. */
  gateway: string;
  /** This node's pods, all pods, all services. */
  podCidr: string;
  clusterCidr: string;
  serviceCidr: string;
  /** The same of IPv6, where pods have it. */
  ipv6?: { clusterCidr: string; serviceCidr: string };
  localZones: { domain: string; address: string }[];
  /** Keeps the port. */
  portFile: string;
  /** Default: the host's. */
  servers?: () => Promise<{ address: string; port: number }[]>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface ClusterDns {
  readonly port: number;
  /** Stops answering; the table stays. */
  close(): Promise<void>;
}

/** What is known of the cluster, by name and by address. Names are lower case. */
export interface ClusterView {
  hasNamespace(name: string): boolean;
  service(namespace: string, name: string): Stored<Service> | undefined;
  /** Of one service. */
  slices(namespace: string, service: string): Stored<EndpointSlice>[];
  servicesAt(clusterIp: string): Stored<Service>[];
  /** That have this name by annotation: see `internal-names.ts`. */
  servicesNamed(name: string): Stored<Service>[];
  /** That list the address as an endpoint's. */
  slicesWith(address: string): Stored<EndpointSlice>[];
  hasPod(namespace: string, ip: string): boolean;
}

/** The tenth address of the range, which every cluster keeps for this: `10.96.0.10`. */
export function clusterDnsAddress(serviceCidr: string): string {
  const [base = ''] = serviceCidr.split('/');
  const number = base.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + 10;
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}
