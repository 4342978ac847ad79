/** Unasked words to the neighbours of this host: see `../neighbours.ts`. Sources: packet(7), RFC 826, RFC 4861, RFC 4443. */
import { closeSync } from 'node:fs';
import { BlockList, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { syscall } from '../sys/libc.ts';
import { addressBytes } from './address-text.ts';
import { Links } from './links.ts';

const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const etherType = { arp: 0x0806, ipv6: 0x86dd } as const;
const arp = { request: 1, reply: 2 } as const;
const everybody = Buffer.alloc(6, 0xff);
/** Every node on the link, as an address of IPv6 and as the hardware address that goes with it. */
const allNodes = { ip: addressBytes('ff02::1'), mac: Buffer.from('333300000001', 'hex') };
const ICMPV6 = 58;

interface Link {
  index: number;
  mac: Buffer;
}

/** @throws SystemError where a link does not take it */
export function announce(address: string): void {
  for (const link of linksWith(address)) {
    const { type, to, packets } = isIPv6(address)
      ? { type: etherType.ipv6, to: allNodes.mac, packets: [advertisement(address, link.mac)] }
      : {
          type: etherType.arp,
          to: everybody,
          packets: [arp.request, arp.reply].map((kind) => announcement(kind, address, link.mac)),
        };
    for (const packet of packets) send(link, { type, to, packet });
  }
}

/** Links of Ethernet with a range that holds the address. */
function linksWith(address: string): Link[] {
  const family = isIPv6(address) ? 'IPv6' : 'IPv4';
  using links = new Links();
  const ethernet = links.ethernet();
  return Object.entries(networkInterfaces()).flatMap(([name, list = []]) => {
    const holds = list.filter(({ cidr, internal, family: own }) => {
      if (internal || own !== family || cidr === null) return false;
      const [base = '', bits = ''] = cidr.split('/');
      // Whoever has an address by itself has no neighbours by it.
      if (base === address || Number(bits) === (family === 'IPv6' ? 128 : 32)) return false;
      const range = new BlockList();
      range.addSubnet(base, Number(bits), family === 'IPv6' ? 'ipv6' : 'ipv4');
      return range.check(address, family === 'IPv6' ? 'ipv6' : 'ipv4');
    });
    const [{ mac } = {}] = holds;
    const index = ethernet.get(name);
    if (mac === undefined || index === undefined) return [];
    return [{ index, mac: Buffer.from(mac.replaceAll(':', ''), 'hex') }];
  });
}

/** Sender and target are the same: nobody is asked anything. */
function announcement(kind: number, address: string, mac: Buffer): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, kind]);
  const ip = addressBytes(address);
  return Buffer.concat([head, mac, ip, kind === arp.reply ? mac : Buffer.alloc(6), ip]);
}

/** A router's, that overrides what was known. */
function advertisement(address: string, mac: Buffer): Buffer {
  const ip = addressBytes(address);
  const flags = Buffer.from([0xa0, 0, 0, 0]);
  const targetLink = Buffer.concat([Buffer.from([2, 1]), mac]);
  const message = Buffer.concat([Buffer.from([136, 0, 0, 0]), flags, ip, targetLink]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  const pseudoHeader = Buffer.concat([ip, allNodes.ip, length, Buffer.from([0, 0, 0, ICMPV6])]);
  message.writeUInt16BE(checksum(Buffer.concat([pseudoHeader, message])), 2);
  const header = Buffer.from([0x60, 0, 0, 0, 0, message.length, ICMPV6, 255]);
  return Buffer.concat([header, ip, allNodes.ip, message]);
}

/** Of the internet protocols: the complement of the sum of all words. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function send({ index }: Link, { type, to, packet }: { type: number; to: Buffer; packet: Buffer }): void {
  // Protocol 0: it hears nothing.
  const socket = syscall('socket', AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    // struct sockaddr_ll
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(type, 2);
    address.writeInt32LE(index, 4);
    address.writeUInt8(to.length, 11);
    to.copy(address, 12);
    syscall('sendto', socket, packet, packet.length, 0, address, address.length);
  } finally {
    closeSync(socket);
  }
}
