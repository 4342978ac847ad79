/** Resource records, as data that `reply.ts` writes. Names are without the dot at the end, times to live in seconds. */
import { isIPv4 } from 'node:net';
import { addressBytes } from './address.ts';
import { RecordType } from './message.ts';

export interface ResourceRecord {
  name: string;
  type: number;
  ttl: number;
  /** Bytes, and names among them. */
  data: readonly (Buffer | string)[];
  /** Names in it are written whole, which some types demand (RFC 3597, section 4). */
  plain?: boolean;
}

/** A or AAAA, as the address is. Throws a `TypeError` where it is none. */
export function addressRecord(name: string, ttl: number, address: string): ResourceRecord {
  const type = isIPv4(address) ? RecordType.a : RecordType.aaaa;
  return { name, type, ttl, data: [addressBytes(address)] };
}

export function nameRecord(type: 'ns' | 'cname' | 'ptr', name: string, ttl: number, target: string): ResourceRecord {
  return { name, type: RecordType[type], ttl, data: [target] };
}

export function serviceRecord(
  name: string,
  ttl: number,
  { priority, weight, port, target }: { priority: number; weight: number; port: number; target: string },
): ResourceRecord {
  const head = Buffer.alloc(6);
  head.writeUInt16BE(priority, 0);
  head.writeUInt16BE(weight, 2);
  head.writeUInt16BE(port, 4);
  return { name, type: RecordType.srv, ttl, data: [head, target], plain: true };
}

/** @param text  of at most 255 bytes */
export function textRecord(name: string, ttl: number, text: string): ResourceRecord {
  const bytes = Buffer.from(text);
  return { name, type: RecordType.txt, ttl, data: [Buffer.from([bytes.length]), bytes] };
}

/** @param options.minimum  for how long it may be remembered that there is nothing */
export function authorityRecord(
  name: string,
  ttl: number,
  { server, mailbox, serial, minimum }: { server: string; mailbox: string; serial: number; minimum: number },
): ResourceRecord {
  const numbers = Buffer.alloc(20);
  for (const [index, number] of [serial, 7200, 1800, 86_400, minimum].entries())
    numbers.writeUInt32BE(number, index * 4);
  return { name, type: RecordType.soa, ttl, data: [server, mailbox, numbers] };
}
