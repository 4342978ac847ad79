/** Ranges of addresses of either family: what is in them, and what they share. An address alone is a range of one. */
import { isIPv4, isIPv6 } from 'node:net';
import { addressBytes, canonicalIpv6 } from './dns/address.ts';
import { ipv4Text } from './ipv4.ts';

export type IpFamily = 4 | 6;

export interface IpRange {
  family: IpFamily;
  /** The first address as a number. */
  base: bigint;
  /** Of the prefix. */
  bits: number;
}

const lengths: Readonly<Record<IpFamily, number>> = { 4: 32, 6: 128 };

export function familyOf(address: string): IpFamily {
  return address.includes(':') ? 6 : 4;
}

/** Undefined where it is none; what is set beyond the prefix counts for nothing. */
export function parseIpRange(text: string): IpRange | undefined {
  const [address = '', length] = text.split('/');
  if (!isIPv4(address) && !(isIPv6(address) && !address.includes('%'))) return undefined;
  const family = familyOf(address);
  const whole = lengths[family];
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return undefined;
  const bits = length === undefined ? whole : Number(length);
  if (bits > whole) return undefined;
  const size = 1n << BigInt(whole - bits);
  const value = BigInt(`0x${addressBytes(address).toString('hex')}`);
  return { family, base: value - (value % size), bits };
}

/** How many addresses it has. */
export function rangeSize({ family, bits }: IpRange): bigint {
  return 1n << BigInt(lengths[family] - bits);
}

/** The address at a place of the range, counted from 0; of IPv6 as RFC 5952 writes it. */
export function addressOfRange({ family, base }: IpRange, place: bigint): string {
  const value = base + place;
  if (family === 4) return ipv4Text(Number(value));
  return canonicalIpv6((value.toString(16).padStart(32, '0').match(/.{4}/g) ?? []).join(':'));
}

export function rangeText(range: IpRange): string {
  return `${addressOfRange(range, 0n)}/${range.bits}`;
}

/** Whether two share an address: then one holds the other. */
export function rangesOverlap(one: IpRange, other: IpRange): boolean {
  if (one.family !== other.family) return false;
  const shift = BigInt(lengths[one.family] - Math.min(one.bits, other.bits));
  return one.base >> shift === other.base >> shift;
}

/** Whether an address is in one of the ranges; what is none of either is in none. */
export function inRanges(address: string, ranges: readonly string[]): boolean {
  const one = address.includes('/') ? undefined : parseIpRange(address);
  if (one === undefined) return false;
  return ranges.some((text) => {
    const range = parseIpRange(text);
    return range !== undefined && rangesOverlap(one, range);
  });
}
