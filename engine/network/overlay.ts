/**
 * The way to other hosts: one VXLAN device, and for each peer a route, a neighbour and a forwarding entry, all permanent. The kernel's
 * state is the truth: what is wanted is compared with what is there, so a killed call is mended by the next.
 */
import { networkInterfaces } from 'node:os';
import { EngineError } from '../engine.ts';
import type { OverlayOptions, Peer } from '../overlay.ts';
import { addressBytes, parseAddress } from './address-text.ts';
import { type Cidr, addressAt, formatCidr, gatewayOf, overlap, parseCidr } from './addresses.ts';
import { allowIpv6 } from './ipv6-host.ts';
import { routeTo } from './link-addresses.ts';
import { Links } from './links.ts';
import type { Ipv6Ranges } from './network.ts';
import { type LinkFacts, OverlayLinks } from './overlay-links.ts';

/** Outer Ethernet, IPv4, UDP and VXLAN headers. */
export const OVERLAY_BYTES = 50;

interface DeviceOptions {
  name: string;
  podCidr: string;
  clusterCidr: string;
  /** What travels in it besides. */
  ipv6?: Pick<Ipv6Ranges, 'podCidr' | 'clusterCidr'>;
  overlay: OverlayOptions;
}

/** To the pods of a peer, of one family. */
interface Way {
  range: string;
  /** The peer's, and that of the end that the range is behind. */
  address: string;
  mac: string;
  source: string;
}

export class OverlayDevice {
  readonly #options: DeviceOptions;
  readonly #range: Cidr;
  readonly #cluster: Cidr;

  constructor(options: DeviceOptions) {
    const { vni, port, address } = options.overlay;
    if (!(Number.isInteger(vni) && vni > 0 && vni < 2 ** 24))
      throw new EngineError('invalid', `overlay.vni: ${vni} is no number of 24 bits`);
    if (!(Number.isInteger(port) && port > 0 && port < 65_536))
      throw new EngineError('invalid', `overlay.port: ${port} is no UDP port`);
    parseAddress(address, 4);
    this.#options = options;
    this.#range = parseCidr(options.podCidr, 4);
    this.#cluster = parseCidr(options.clusterCidr, 4);
  }

  /** What the link that has the overlay's address carries, less the headers. */
  get mtu(): number {
    const { address } = this.#options.overlay;
    const [name] =
      Object.entries(networkInterfaces()).find(([, list]) => list?.some((one) => one.address === address)) ?? [];
    using links = new OverlayLinks();
    const link = name === undefined ? undefined : links.facts(name);
    if (link === undefined)
      throw new EngineError('unavailable', `overlay.address: no link of this host has the address ${address}`);
    return link.mtu - OVERLAY_BYTES;
  }

  /** Made or repaired; made anew, with its peers, where this host has another address than it was made with. */
  ensure(): void {
    const { name, overlay } = this.#options;
    const { mtu } = this;
    const mac = macOf(this.#range);
    using links = new OverlayLinks();
    const there = links.facts(name);
    const same =
      there?.mac === mac &&
      there.vxlan?.vni === overlay.vni &&
      there.vxlan.port === overlay.port &&
      there.vxlan.address === overlay.address;
    const peers = same ? undefined : this.peers();
    using common = new Links();
    if (!same) {
      common.remove(name);
      links.createVxlan(name, { ...overlay, mac, mtu });
    }
    const { index } = this.#facts(links);
    links.setMtu(index, mtu);
    common.addAddress(index, addressAt(this.#range, 0n));
    // What no host has is answered at once, instead of leaving by the default route.
    for (const range of this.#clusterRanges()) common.setRoute(routeTo(range));
    if (this.#options.ipv6 !== undefined) allowIpv6(name);
    if (peers !== undefined) this.setPeers(peers);
  }

  /** As the kernel has them. */
  peers(): Peer[] {
    using links = new OverlayLinks();
    const device = links.facts(this.#options.name);
    if (device === undefined) return [];
    const forwarding = links.forwarding(device.index);
    const resolved = links.resolved(device.index);
    const six = new Map(
      links.routes(device.index, 'ipv6').map((range) => [resolved.get(addressAt(parseCidr(range), 0n)), range]),
    );
    return links.routes(device.index).flatMap((range) => {
      const mac = macOf(parseCidr(range));
      const [address, range6] = [forwarding.get(mac), six.get(mac)];
      return address === undefined ? [] : [{ address, range, ...(range6 === undefined ? {} : { range6 }) }];
    });
  }

  #clusterRanges(): string[] {
    const { clusterCidr, ipv6 } = this.#options;
    return [clusterCidr, ...(ipv6 === undefined ? [] : [ipv6.clusterCidr])];
  }

  /** What `check` let pass. */
  setPeers(peers: readonly Peer[]): void {
    using links = new OverlayLinks();
    using common = new Links();
    const { index } = this.#facts(links);
    const ways = peers.flatMap((peer) => this.#waysTo(peer));
    this.#forget({ links, common, index, ways });
    const forwarding = links.forwarding(index);
    const resolved = links.resolved(index);
    for (const { range, address, mac, source } of ways) {
      const { to, prefix } = routeTo(range);
      if (forwarding.get(mac) !== address) links.setForwarding(index, mac, address);
      if (resolved.get(to) !== mac) links.setResolved(index, to, mac);
      common.setRoute({ to, prefix, link: index, gateway: to, source });
    }
  }

  /** This host itself speaks as its gateway, which the others can answer. Of IPv6 only where this host's pods have it. */
  #waysTo({ address, range, range6 }: Peer): Way[] {
    const mac = macOf(parseCidr(range, 4));
    const { ipv6 } = this.#options;
    const four = { range, address, mac, source: gatewayOf(this.#range) };
    if (range6 === undefined || ipv6 === undefined) return [four];
    return [four, { range: range6, address, mac, source: gatewayOf(parseCidr(ipv6.podCidr)) }];
  }

  /** Whatever leads to others: the route first, by which the next call would find the rest. */
  #forget({ links, common, index, ways }: { links: OverlayLinks; common: Links; index: number; ways: Way[] }): void {
    const kept = new Set(ways.map(({ range }) => range));
    for (const range of [...links.routes(index), ...links.routes(index, 'ipv6')]) {
      if (kept.has(range)) continue;
      const route = routeTo(range);
      common.removeRoute({ ...route, link: index, gateway: route.to });
    }
    const gateways = new Set(ways.map(({ range }) => routeTo(range).to));
    const ours = new Set(ways.map(({ mac }) => mac));
    for (const [ip, mac] of links.resolved(index)) if (!gateways.has(ip)) links.removeResolved(index, ip, mac);
    for (const [mac, ip] of links.forwarding(index)) if (!ours.has(mac)) links.removeForwarding(index, mac, ip);
  }

  /** Throws `invalid` where not each of them can be reached. */
  check(peers: readonly Peer[]): void {
    const seen: Cidr[] = [this.#range];
    const addresses = new Set([this.#options.overlay.address]);
    const { ipv6 } = this.#options;
    if (ipv6 !== undefined) seen.push(parseCidr(ipv6.podCidr, 6));
    for (const { address, range, range6 } of peers) {
      parseAddress(address, 4);
      const ranges = [
        parseCidr(range, 4),
        ...(range6 === undefined || ipv6 === undefined ? [] : [parseCidr(range6, 6)]),
      ];
      for (const cidr of ranges) {
        const cluster = cidr.family === 4 ? this.#cluster : parseCidr(ipv6?.clusterCidr ?? '', 6);
        if (within(cidr, cluster) && !seen.some((other) => overlap(cidr, other))) continue;
        throw new EngineError(
          'invalid',
          `peer ${address}: its range ${formatCidr(cidr)} is outside of the cluster's, or this host's or another peer's`,
        );
      }
      if (addresses.has(address))
        throw new EngineError('invalid', `peer ${address}: the address is this host's or another peer's`);
      seen.push(...ranges);
      addresses.add(address);
    }
  }

  #facts(links: OverlayLinks): LinkFacts {
    const facts = links.facts(this.#options.name);
    if (facts === undefined) throw new EngineError('unavailable', `overlay ${this.#options.name} is gone`);
    return facts;
  }

  /** Peers go with the device. */
  remove(): void {
    using links = new Links();
    links.remove(this.#options.name);
    for (const range of this.#clusterRanges()) links.removeRoute(routeTo(range));
  }
}

/** Of the end that a range is behind: locally administered, and told by the range alone. */
function macOf(range: Cidr): string {
  const bytes = [...addressBytes(addressAt(range, 0n))];
  return ['02', '73', ...bytes.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

function within(inner: Cidr, outer: Cidr): boolean {
  return inner.base >= outer.base && inner.base + inner.size <= outer.base + outer.size;
}
