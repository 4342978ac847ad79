/**
 * Links, addresses and routes by rtnetlink, without a process.
 * Sources: rtnetlink(7), linux/if_link.h, linux/veth.h, linux/rtnetlink.h.
 */
import { closeSync, openSync } from 'node:fs';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { NetlinkFamily, NetlinkFlag, NetlinkSocket, attribute, nested, parseAttributes } from '../sys/netlink.ts';
import { addressBytes, addressOfBytes } from './address-text.ts';

const Message = {
  newLink: 16,
  deleteLink: 17,
  getLink: 18,
  newAddress: 20,
  deleteAddress: 21,
  getAddress: 22,
  newRoute: 24,
  deleteRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
} as const;
const Link = {
  hardware: 1,
  name: 3,
  mtu: 4,
  linkInfo: 18,
  netNamespaceDescriptor: 28,
  infoKind: 1,
  infoData: 2,
  vethPeer: 1,
} as const;
const Address = { address: 1, local: 2 } as const;
const Route = { destination: 1, outLink: 4, gateway: 5, preferredSource: 7 } as const;
const Neighbour = { destination: 1, hardware: 2 } as const;
const AF_INET = 2;
const AF_INET6 = 10;
/** ARPHRD_ETHER */
const ETHERNET = 1;
const interfaceUp = 1;
const onLink = 4;
const mainTable = 254;
const staticProtocol = 4;
/** Without asking first whether somebody has the address already: a link of ours has nobody else on it. */
const noDetection = 2;

/** `struct ifinfomsg`. */
function linkHeader(index: number, up?: boolean): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  if (up !== undefined) {
    header.writeUInt32LE(up ? interfaceUp : 0, 8);
    header.writeUInt32LE(interfaceUp, 12);
  }
  return header;
}

export class Links {
  readonly #socket: NetlinkSocket;

  /** Links of the network namespace bound at the path; default this process's. */
  constructor(namespacePath?: string) {
    this.#socket = new NetlinkSocket(NetlinkFamily.route, namespacePath);
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Index by name. */
  list(): Map<string, number> {
    return this.#links(() => true);
  }

  /** Those that are of Ethernet. */
  ethernet(): Map<string, number> {
    return this.#links((payload) => payload.readUInt16LE(2) === ETHERNET);
  }

  #links(isMeant: (payload: Buffer) => boolean): Map<string, number> {
    const links = new Map<string, number>();
    for (const payload of this.#socket.dump({ type: Message.getLink, flags: 0, payload: linkHeader(0) })) {
      const name = parseAttributes(payload, 16).get(Link.name);
      if (name !== undefined && isMeant(payload))
        links.set(name.toString('utf8', 0, name.length - 1), payload.readInt32LE(4));
    }
    return links;
  }

  index(name: string): number | undefined {
    return this.list().get(name);
  }

  /** The link's own address. */
  mac(index: number): Buffer {
    for (const payload of this.#socket.dump({ type: Message.getLink, flags: 0, payload: linkHeader(0) })) {
      const mac = parseAttributes(payload, 16).get(Link.hardware);
      if (payload.readInt32LE(4) === index && mac !== undefined) return mac;
    }
    throw new EngineError('unavailable', `link ${index} was removed by somebody else`);
  }

  createBridge(name: string, mtu: number): void {
    const payload = Buffer.concat([
      linkHeader(0, true),
      attribute(Link.name, name),
      attribute(Link.mtu, mtu),
      nested(Link.linkInfo, attribute(Link.infoKind, 'bridge')),
    ]);
    const flags = NetlinkFlag.create | NetlinkFlag.exclusive;
    this.#socket.request({ type: Message.newLink, flags, payload }, `create bridge ${name}`, ['EEXIST']);
  }

  /** A veth pair: `name` here and up, the other end as `eth0` in the namespace. False where `name` is there already. */
  createVeth(name: string, namespacePath: string, options: { mtu: number; mac: string }): boolean {
    const { mtu, mac } = options;
    const namespace = openSync(namespacePath, 'r');
    try {
      const peer = Buffer.concat([
        linkHeader(0),
        attribute(Link.hardware, macBytes(mac)),
        attribute(Link.name, 'eth0'),
        attribute(Link.mtu, mtu),
        attribute(Link.netNamespaceDescriptor, namespace),
      ]);
      const payload = Buffer.concat([
        linkHeader(0, true),
        attribute(Link.name, name),
        attribute(Link.mtu, mtu),
        nested(Link.linkInfo, attribute(Link.infoKind, 'veth'), nested(Link.infoData, attribute(Link.vethPeer, peer))),
      ]);
      const flags = NetlinkFlag.create | NetlinkFlag.exclusive;
      this.#socket.request({ type: Message.newLink, flags, payload }, `create link ${name}`);
      return true;
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false;
      throw error;
    } finally {
      closeSync(namespace);
    }
  }

  setUp(index: number): void {
    this.#socket.request({ type: Message.newLink, flags: 0, payload: linkHeader(index, true) }, `set link ${index} up`);
  }

  /** Idempotent. */
  remove(name: string): void {
    const payload = Buffer.concat([linkHeader(0), attribute(Link.name, name)]);
    this.#socket.request({ type: Message.deleteLink, flags: 0, payload }, `remove link ${name}`, ['ENODEV']);
  }

  setMac(index: number, mac: string): void {
    const payload = Buffer.concat([linkHeader(index), attribute(Link.hardware, macBytes(mac))]);
    this.#socket.request({ type: Message.newLink, flags: 0, payload }, `set address ${mac}`);
  }

  /** One address as a /32 or /128: no range is on the link, so nothing is resolved but the gateway. */
  addAddress(index: number, ip: string): void {
    const message = { type: Message.newAddress, flags: NetlinkFlag.create | NetlinkFlag.exclusive };
    this.#socket.request({ ...message, payload: addressPayload(index, ip) }, `add address ${ip}`, ['EEXIST']);
  }

  /** Idempotent. Of IPv4, routes with it as their source go too. */
  removeAddress(index: number, ip: string): void {
    const message = { type: Message.deleteAddress, flags: 0, payload: addressPayload(index, ip) };
    this.#socket.request(message, `remove address ${ip}`, ['EADDRNOTAVAIL', 'ENODEV']);
  }

  /** Addresses of a link, without those that mean something on the link only. */
  addresses(index: number): string[] {
    return this.#socket
      .dump({ type: Message.getAddress, flags: 0, payload: Buffer.alloc(8) })
      .filter((payload) => payload.readUInt32LE(4) === index)
      .filter((payload) => payload.readUInt8(0) === AF_INET || payload.readUInt8(3) === 0)
      .map((payload) => parseAttributes(payload, 8))
      .map((found) => found.get(Address.local) ?? found.get(Address.address))
      .filter((bytes) => bytes !== undefined)
      .map(addressOfBytes);
  }

  /** The kernel need not ask who has the address on the link. */
  setNeighbour(index: number, ip: string, mac: Buffer): void {
    const bytes = addressBytes(ip);
    const header = Buffer.alloc(12);
    header.writeUInt8(familyOf(bytes), 0);
    header.writeInt32LE(index, 4);
    header.writeUInt16LE(0x80, 8); // NUD_PERMANENT
    const payload = Buffer.concat([
      header,
      attribute(Neighbour.destination, bytes),
      attribute(Neighbour.hardware, mac),
    ]);
    const flags = NetlinkFlag.create | NetlinkFlag.replace;
    this.#socket.request({ type: Message.newNeighbour, flags, payload }, `neighbour ${ip}`);
  }

  /** IPv6 routes of a link that were set by `setRoute`. */
  ipv6Routes(index: number): { to: string; prefix: number }[] {
    const header = Buffer.alloc(12);
    header.writeUInt8(AF_INET6, 0);
    return this.#socket
      .dump({ type: Message.getRoute, flags: 0, payload: header })
      .filter((payload) => payload.readUInt8(4) === mainTable && payload.readUInt8(5) === staticProtocol)
      .map((payload) => ({ prefix: payload.readUInt8(1), found: parseAttributes(payload, 12) }))
      .filter(({ found }) => found.get(Route.outLink)?.readUInt32LE(0) === index)
      .map(({ prefix, found }) => ({
        to: addressOfBytes(found.get(Route.destination) ?? Buffer.alloc(16)),
        prefix,
      }));
  }

  /** Replaces the route to a destination in the main table. */
  setRoute(route: RouteSpec): void {
    const flags = NetlinkFlag.create | NetlinkFlag.replace;
    this.#socket.request({ type: Message.newRoute, flags, payload: routePayload(route) }, `route to ${route.to}`);
  }

  /** False where there is a route to the very same destination. */
  claimRoute(route: RouteSpec): boolean {
    const flags = NetlinkFlag.create | NetlinkFlag.exclusive;
    try {
      this.#socket.request({ type: Message.newRoute, flags, payload: routePayload(route) }, `route to ${route.to}`);
      return true;
    } catch (error) {
      if (hasCode(error, 'EEXIST')) return false;
      throw error;
    }
  }

  /** Idempotent. */
  removeRoute(route: RouteSpec): void {
    const payload = routePayload(route);
    payload.writeUInt8(255, 6); // RT_SCOPE_NOWHERE: whatever its scope is
    const message = { type: Message.deleteRoute, flags: 0, payload };
    this.#socket.request(message, `remove route to ${route.to}`, ['ESRCH', 'ENODEV']);
  }
}

export interface RouteSpec {
  to: string;
  prefix: number;
  /** The link's index; a route without one answers "unreachable". */
  link?: number;
  gateway?: string;
  source?: string;
}

/** `struct ifaddrmsg`. */
function addressPayload(index: number, ip: string): Buffer {
  const bytes = addressBytes(ip);
  const header = Buffer.alloc(8);
  header.writeUInt8(familyOf(bytes), 0);
  header.writeUInt8(bytes.length * 8, 1);
  if (familyOf(bytes) === AF_INET6) header.writeUInt8(noDetection, 2);
  header.writeUInt32LE(index, 4);
  return Buffer.concat([header, attribute(Address.local, bytes), attribute(Address.address, bytes)]);
}

function familyOf(address: Buffer): number {
  return address.length === 4 ? AF_INET : AF_INET6;
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function routePayload({ to, prefix, link, gateway, source }: RouteSpec): Buffer {
  const unicast = 1;
  const unreachable = 7;
  const destination = addressBytes(to);
  const header = Buffer.alloc(12);
  header.writeUInt8(familyOf(destination), 0);
  header.writeUInt8(prefix, 1);
  header.writeUInt8(mainTable, 4);
  header.writeUInt8(staticProtocol, 5);
  header.writeUInt8(link !== undefined && gateway === undefined ? 253 : 0, 6); // RT_SCOPE_LINK, RT_SCOPE_UNIVERSE
  header.writeUInt8(link === undefined ? unreachable : unicast, 7);
  header.writeUInt32LE(gateway === undefined ? 0 : onLink, 8);
  const attributes: Buffer[] = [];
  if (prefix > 0) attributes.push(attribute(Route.destination, destination));
  if (link !== undefined) attributes.push(attribute(Route.outLink, link));
  if (gateway !== undefined) attributes.push(attribute(Route.gateway, addressBytes(gateway)));
  if (source !== undefined) attributes.push(attribute(Route.preferredSource, addressBytes(source)));
  return Buffer.concat([header, ...attributes]);
}
