/**
 * VXLAN devices and what leads through them, by rtnetlink, without a process.
 * Sources: rtnetlink(7), linux/if_link.h, linux/neighbour.h.
 */
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { NetlinkFamily, NetlinkFlag, NetlinkSocket, attribute, nested, parseAttributes } from '../sys/netlink.ts';
import { isIPv6 } from 'node:net';
import { addressBytes, addressOfBytes } from './address-text.ts';

const Message = {
  newLink: 16,
  getLink: 18,
  getRoute: 26,
  newNeighbour: 28,
  deleteNeighbour: 29,
  getNeighbour: 30,
} as const;
const Link = { hardware: 1, name: 3, mtu: 4, linkInfo: 18, infoKind: 1, infoData: 2 } as const;
const Vxlan = { id: 1, local: 4, learning: 7, port: 15, checksum: 18 } as const;
const Route = { destination: 1, outLink: 4, gateway: 5 } as const;
const Neighbour = { destination: 1, hardware: 2 } as const;
const permanent = 0x80;
const ofItself = 0x02;
const family = { ipv4: 2, ipv6: 10, bridge: 7 } as const;

export interface VxlanSpec {
  vni: number;
  port: number;
  address: string;
  mac: string;
  mtu: number;
}

export interface LinkFacts {
  index: number;
  mtu: number;
  mac: string;
  /** Where it is a VXLAN device. */
  vxlan?: { vni: number; port: number; address: string };
}

export class OverlayLinks {
  readonly #socket = new NetlinkSocket(NetlinkFamily.route);

  [Symbol.dispose](): void {
    this.#socket.close();
  }

  facts(name: string): LinkFacts | undefined {
    for (const payload of this.#socket.dump({ type: Message.getLink, flags: 0, payload: Buffer.alloc(16) })) {
      const attributes = parseAttributes(payload, 16);
      if (attributes.get(Link.name)?.toString('latin1') !== `${name}\0`) continue;
      const vxlan = vxlanOf(attributes.get(Link.linkInfo));
      return {
        index: payload.readInt32LE(4),
        mtu: attributes.get(Link.mtu)?.readUInt32LE() ?? 0,
        mac: macText(attributes.get(Link.hardware)),
        ...(vxlan === undefined ? {} : { vxlan }),
      };
    }
    return undefined;
  }

  /**
   * Up. Not bound to the link below it, so that it outlives that; the outer checksum is zero, as the RFC has it: the packet inside has
   * its own, and drivers that would compute this one get it wrong where addresses were translated inside.
   */
  createVxlan(name: string, { vni, port, address, mac, mtu }: VxlanSpec): void {
    const bigEndian = Buffer.alloc(2);
    bigEndian.writeUInt16BE(port);
    const data = nested(
      Link.infoData,
      attribute(Vxlan.id, vni),
      attribute(Vxlan.local, addressBytes(address)),
      attribute(Vxlan.learning, Buffer.from([0])),
      attribute(Vxlan.port, bigEndian),
      attribute(Vxlan.checksum, Buffer.from([0])),
    );
    const payload = Buffer.concat([
      upHeader(0),
      attribute(Link.name, name),
      attribute(Link.mtu, mtu),
      attribute(Link.hardware, macBytes(mac)),
      nested(Link.linkInfo, attribute(Link.infoKind, 'vxlan'), data),
    ]);
    const flags = NetlinkFlag.create | NetlinkFlag.exclusive;
    try {
      this.#socket.request({ type: Message.newLink, flags, payload }, `create overlay ${name}`);
    } catch (error) {
      if (!hasCode(error, 'EOPNOTSUPP')) throw error;
      throw new EngineError(
        'unavailable',
        'network.overlay: this kernel has no VXLAN; load its module (modprobe vxlan)',
        {
          cause: error,
        },
      );
    }
  }

  /** And up, where somebody took it down. */
  setMtu(index: number, mtu: number): void {
    const payload = Buffer.concat([upHeader(index), attribute(Link.mtu, mtu)]);
    this.#socket.request({ type: Message.newLink, flags: 0, payload }, `set mtu ${mtu} of link ${index}`);
  }

  /** Routes through a link that lead to more than one address by a gateway: `10.86.4.0/24`. */
  routes(link: number, kind: 'ipv4' | 'ipv6' = 'ipv4'): string[] {
    const header = Buffer.alloc(12);
    header.writeUInt8(family[kind], 0);
    const longest = kind === 'ipv4' ? 32 : 128;
    return this.#socket
      .dump({ type: Message.getRoute, flags: 0, payload: header })
      .filter((payload) => payload.readUInt8(0) === family[kind] && payload.readUInt8(1) < longest)
      .map((payload) => ({ prefix: payload.readUInt8(1), attributes: parseAttributes(payload, 12) }))
      .filter(({ attributes }) => attributes.get(Route.outLink)?.readInt32LE() === link)
      .filter(({ attributes }) => attributes.has(Route.gateway))
      .map(({ prefix, attributes }) => {
        const destination = attributes.get(Route.destination) ?? Buffer.alloc(longest / 8);
        return `${addressOfBytes(destination)}/${prefix}`;
      });
  }

  /** Where frames to which hardware address go: address by hardware address. */
  forwarding(link: number): Map<string, string> {
    return new Map(this.#neighbours(family.bridge, link).map(({ mac, ip }) => [mac, ip]));
  }

  /** Who has which address on the link: hardware address by address. */
  resolved(link: number): Map<string, string> {
    const all = [family.ipv4, family.ipv6].flatMap((kind) => this.#neighbours(kind, link));
    return new Map(all.map(({ mac, ip }) => [ip, mac]));
  }

  #neighbours(kind: number, link: number): { mac: string; ip: string }[] {
    const header = Buffer.alloc(12);
    header.writeUInt8(kind, 0);
    return (
      this.#socket
        .dump({ type: Message.getNeighbour, flags: 0, payload: header })
        .filter((payload) => payload.readUInt8(0) === kind && payload.readInt32LE(4) === link)
        // Not what the kernel has for groups.
        .filter((payload) => (payload.readUInt16LE(8) & permanent) !== 0)
        .map((payload) => parseAttributes(payload, 12))
        .flatMap((attributes) => {
          const ip = attributes.get(Neighbour.destination);
          return ip === undefined ? [] : [{ mac: macText(attributes.get(Neighbour.hardware)), ip: addressOfBytes(ip) }];
        })
    );
  }

  setForwarding(link: number, mac: string, ip: string): void {
    this.#set(neighbour({ kind: family.bridge, link, mac, ip }), `frames to ${mac} go to ${ip}`);
  }

  setResolved(link: number, ip: string, mac: string): void {
    this.#set(neighbour({ kind: familyOf(ip), link, mac, ip }), `${ip} is at ${mac}`);
  }

  #set(payload: Buffer, what: string): void {
    const flags = NetlinkFlag.create | NetlinkFlag.replace;
    this.#socket.request({ type: Message.newNeighbour, flags, payload }, what);
  }

  removeForwarding(link: number, mac: string, ip: string): void {
    this.#remove(neighbour({ kind: family.bridge, link, mac, ip }), `forget where ${mac} is`);
  }

  removeResolved(link: number, ip: string, mac: string): void {
    this.#remove(neighbour({ kind: familyOf(ip), link, mac, ip }), `forget who has ${ip}`);
  }

  #remove(payload: Buffer, what: string): void {
    try {
      this.#socket.request({ type: Message.deleteNeighbour, flags: 0, payload }, what);
    } catch (error) {
      if (!hasCode(error, 'ENOENT', 'ESRCH')) throw error;
    }
  }
}

function familyOf(ip: string): number {
  return isIPv6(ip) ? family.ipv6 : family.ipv4;
}

/** `struct ifinfomsg` that sets a link up. */
function upHeader(index: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(1, 12);
  return header;
}

/** `struct ndmsg` with its attributes. */
function neighbour({ kind, link, mac, ip }: { kind: number; link: number; mac: string; ip: string }): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(kind, 0);
  header.writeInt32LE(link, 4);
  header.writeUInt16LE(permanent, 8);
  header.writeUInt8(kind === family.bridge ? ofItself : 0, 10);
  const attributes = [attribute(Neighbour.destination, addressBytes(ip)), attribute(Neighbour.hardware, macBytes(mac))];
  return Buffer.concat([header, ...attributes]);
}

function vxlanOf(linkInfo: Buffer | undefined): LinkFacts['vxlan'] {
  if (linkInfo === undefined) return undefined;
  const info = parseAttributes(linkInfo, 0);
  if (info.get(Link.infoKind)?.toString('latin1') !== 'vxlan\0') return undefined;
  const data = parseAttributes(info.get(Link.infoData) ?? Buffer.alloc(0), 0);
  return {
    vni: data.get(Vxlan.id)?.readUInt32LE() ?? 0,
    port: data.get(Vxlan.port)?.readUInt16BE() ?? 0,
    address: data.get(Vxlan.local)?.join('.') ?? '',
  };
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function macText(bytes: Buffer | undefined): string {
  return (bytes?.toString('hex').match(/../g) ?? []).join(':');
}
