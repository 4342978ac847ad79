/**
 * The engine's network contract: an address and a link for each sandbox.
 *
 * Links are routed, not bridged: a sandbox has its address as a /32 and a default route to the gateway, and the host has a /32 route to
 * its veth. So every packet, between two pods of one node too, passes the host's forward hook (egress rules, policies and translated
 * service addresses hold everywhere, without br_netfilter), and no pod sees another's frames. The bridge holds the gateway's address,
 * the first of the range; it has no ports.
 *
 * Everything carries the instance: one bridge, host-side veths with one prefix for the instance (`names.ts`; 15 characters), one nftables table
 * `inet sampan-<instance>`, and nothing outside of it except one accept in somebody else's FORWARD chain where its
 * policy is DROP; that one is commented with the instance's name and is removed by `purge`.
 *
 * Networks that users make (`Networks` in `../engine.ts`) keep to the same scheme. A network is a range that the host answers
 * "unreachable" for, a gateway's address on the bridge, and elements of three sets of the table: `networks`, `internal` and
 * `peers` (the range beside itself). A sandbox in it has an address of the range as one more /32 on its one link, and a route to the
 * range by the network's gateway with that address as its source. So who may talk to whom is told by addresses alone, which
 * nobody can forge, and a sandbox comes and goes by netlink, without touching a rule.
 * Other hosts (`../overlay.ts`) are routes too: a peer's range leads through one VXLAN device, by the first address of that range, whose
 * hardware address and host are permanent entries. The device's own address is the first of this host's range; its
 * hardware address is made of it, so that nobody has to tell it. Names are asked at one address for all: the gateway of the pod range, from
 * where a rule leads to the server in `dns/`.
 *
 * A network that has IPv6 has a range of that too, and everything above holds for it in the same way, with sets whose names end in a 6
 * and /128 routes. Who is at which end of a link is written down on both sides (permanent neighbours): a start waits for no detection
 * of duplicates, and nothing that a sandbox says of neighbours or routers is listened to.
 *
 * Where the pod range has one of IPv6 beside it (`NetworkOptions.ipv6`), each sandbox in it has the address at the same place there: two
 * families, one thing to give out, to free and to remember. Without IPv6 on the host there is none, and nothing else changes.
 *
 * All calls are idempotent; netlink state is the truth, nothing is remembered that the kernel knows.
 */
import type { Neighbours } from '../neighbours.ts';
import type { CniOptions } from './cni/cni.ts';
import type { Overlay, OverlayOptions } from '../overlay.ts';

export interface SandboxNetwork extends Overlay, Neighbours {
  /** Bridge, address, forwarding, table: made or repaired. Called on open and when something external flushed it. */
  ensure(): Promise<void>;
  /** Moves one end of a veth into the network namespace bound at `namespacePath`, with the address of IPv4, the default route and `lo` up. */
  attach(link: { sandbox: string; namespacePath: string; ip: string; mac: string }): Promise<void>;
  detach(sandbox: string): Promise<void>;
  /**
   * Resolves when the link is gone, for one whose network namespace was just removed: the link goes with that, in the kernel's own
   * time. Told to remove it, the kernel keeps the whole process waiting for 30 ms.
   */
  detached(sandbox: string): Promise<void>;
  /** These addresses, their routes, and no others. Synchronous: some tens of microseconds for each. */
  setAddresses(link: { sandbox: string; namespacePath: string; addresses: LinkAddress[]; mac?: string }): void;
  /** Which destinations a sandbox may reach (see `SandboxSpec.egress`). */
  setEgress(ip: string, egress: 'cluster' | 'internet'): Promise<void>;
  /** Which ports of this host lead to sandboxes: all of them, each time. */
  publish(ports: readonly PublishedRule[]): Promise<void>;
  /** Removes links, addresses and rules of sandboxes that are not in `keep`. */
  sweep(keep: ReadonlySet<string>): Promise<void>;
  /** Leaves nothing behind. */
  purge(): Promise<void>;
}

export interface LinkAddress {
  ip: string;
  gateway: string;
  /** Absent for the pod range: the default route is enough. */
  subnet?: string;
  internal: boolean;
}

export interface PublishedRule {
  sandbox: string;
  ip: string;
  ip6?: string;
  /** `0.0.0.0` stands for every IPv4 address, `::` for every IPv6 address; absent as `0.0.0.0`. Of IPv6, without an `ip6` there is no rule. */
  hostIp?: string;
  hostPort: number;
  port: number;
  protocol: 'tcp' | 'udp';
}

/** As those of IPv4. */
export interface Ipv6Ranges {
  /** A /64, at least as large as the one of IPv4. */
  podCidr: string;
  clusterCidr: string;
  serviceCidr: string;
}

export interface NetworkOptions {
  instance: string;
  /** This node's share of the pod range, e.g. `10.86.0.0/24`; the first address is the bridge's. */
  podCidr: string;
  /** All pods of the instance, e.g. `10.86.0.0/16`: not masqueraded. */
  clusterCidr: string;
  serviceCidr: string;
  /** Pods have addresses of IPv6 too. */
  ipv6?: Ipv6Ranges;
  /** Sandboxes get their links by CNI plugins instead. Not with `overlay`. */
  cni?: CniOptions;
  /** Of sandboxes' links. Default: what the overlay carries, or 1500 without one. */
  mtu?: number;
  /** To reach sandboxes of other hosts, and be reached by theirs. */
  overlay?: OverlayOptions;
  /** Where networks of users get their ranges from, a /24 each. Default `172.16.0.0/12`. Those of IPv6 come from a /48 of the instance's own. */
  networkPool?: string;
}
