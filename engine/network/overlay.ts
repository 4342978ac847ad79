/**
 * The way to other hosts: one VXLAN device, and for each peer a route, a neighbour and a forwarding entry, all permanent. The kernel's
 * state is the truth: what is wanted is compared with what is there, so a killed call is mended by the next.
 */
import { networkInterfaces } from 'node:os';
import { EngineError } from '../engine.ts';
import type { OverlayOptions, Peer } from '../overlay.ts';
import { addressBytes, parseAddress } from './address-text.ts';
import { type Cidr, addressAt, gatewayOf, parseCidr } from './addresses.ts';
import { routeTo } from './link-addresses.ts';
import { Links } from './links.ts';
import { type LinkFacts, OverlayLinks } from './overlay-links.ts';

/** Outer Ethernet, IPv4, UDP and VXLAN headers. */
export const OVERLAY_BYTES = 50;

interface DeviceOptions {
  name: string;
  podCidr: string;
  clusterCidr: string;
  overlay: OverlayOptions;
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
    common.setRoute(routeTo(this.#options.clusterCidr));
    if (peers !== undefined) this.setPeers(peers);
  }

  /** As the kernel has them. */
  peers(): Peer[] {
    using links = new OverlayLinks();
    const device = links.facts(this.#options.name);
    if (device === undefined) return [];
    const forwarding = links.forwarding(device.index);
    return links.routes(device.index).flatMap((range) => {
      const address = forwarding.get(macOf(parseCidr(range)));
      return address === undefined ? [] : [{ address, range }];
    });
  }

  /** What `check` let pass. */
  setPeers(peers: readonly Peer[]): void {
    using links = new OverlayLinks();
    using common = new Links();
    const { index } = this.#facts(links);
    const wanted = new Map(peers.map(({ address, range }) => [range, address]));
    this.#forget(links, common, new Set(wanted.keys()));
    const forwarding = links.forwarding(index);
    const resolved = links.resolved(index);
    for (const [range, address] of wanted) {
      const cidr = parseCidr(range, 4);
      const gateway = addressAt(cidr, 0n);
      const mac = macOf(cidr);
      if (forwarding.get(mac) !== address) links.setForwarding(index, mac, address);
      if (resolved.get(gateway) !== mac) links.setResolved(index, gateway, mac);
      // This host itself speaks as its gateway, which the others can answer.
      common.setRoute({ to: gateway, prefix: cidr.prefix, link: index, gateway, source: gatewayOf(this.#range) });
    }
  }

  /** Whatever leads to ranges that are not kept: the route first, by which the next call would find the rest. */
  #forget(links: OverlayLinks, common: Links, kept: ReadonlySet<string>): void {
    const { index } = this.#facts(links);
    for (const range of links.routes(index)) {
      if (kept.has(range)) continue;
      const route = routeTo(range);
      common.removeRoute({ ...route, link: index, gateway: route.to });
    }
    const ours = new Set([...kept].map((range) => macOf(parseCidr(range))));
    for (const [ip, mac] of links.resolved(index)) if (!ours.has(mac)) links.removeResolved(index, ip, mac);
    for (const [mac, ip] of links.forwarding(index)) if (!ours.has(mac)) links.removeForwarding(index, mac, ip);
  }

  /** Throws `invalid` where not each of them can be reached. */
  check(peers: readonly Peer[]): void {
    const seen: Cidr[] = [this.#range];
    const addresses = new Set([this.#options.overlay.address]);
    for (const { address, range } of peers) {
      parseAddress(address, 4);
      const cidr = parseCidr(range, 4);
      if (!within(cidr, this.#cluster) || seen.some((other) => within(cidr, other) || within(other, cidr)))
        throw new EngineError(
          'invalid',
          `peer ${address}: its range ${range} is outside of the cluster's, or this host's or another peer's`,
        );
      if (addresses.has(address))
        throw new EngineError('invalid', `peer ${address}: the address is this host's or another peer's`);
      seen.push(cidr);
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
    links.removeRoute(routeTo(this.#options.clusterCidr));
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
