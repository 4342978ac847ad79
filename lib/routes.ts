import { existsSync, readFileSync } from 'node:fs';
import { parseIpRange, rangesOverlap } from './ip-range.ts';

/** IPv4 destinations of the host's main routing table as CIDRs, the default route left out (`/proc/net/route`, proc_net(5)). */
export function hostRoutes(table = readFileSync('/proc/net/route', 'utf8')): string[] {
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s+/))
    .filter((fields) => fields.length >= 8)
    .map((fields) => `${littleEndian(fields[1] ?? '')}/${bits(fields[7] ?? '')}`)
    .filter((cidr) => !cidr.endsWith('/0'));
}

/**
 * IPv6 destinations of the host as CIDRs, without the default route, groups and what is on one link only (`/proc/net/ipv6_route`).
 * None where the host has no IPv6.
 */
export function hostIpv6Routes(path = '/proc/net/ipv6_route'): string[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.split(/\s+/))
    .filter(([destination = '', length = '']) => destination.length === 32 && length !== '00')
    .map(([destination = '', length = '']) => ({ destination, length }))
    .filter(({ destination }) => !/^(fe[89ab]|ff)/.test(destination))
    .map(
      ({ destination, length }) => `${destination.replaceAll(/(....)(?=.)/g, '$1:')}/${Number.parseInt(length, 16)}`,
    );
}

/** Do two CIDRs share an address? Not where they are of two families. */
export function overlaps(one: string, other: string): boolean {
  if (one.includes(':') || other.includes(':')) return overlapIpv6(one, other);
  const a = parseCidr(one);
  const b = parseCidr(other);
  const shift = 2 ** (32 - Math.min(a.bits, b.bits));
  return Math.floor(a.address / shift) === Math.floor(b.address / shift);
}

function overlapIpv6(one: string, other: string): boolean {
  const [a, b] = [parseIpRange(one), parseIpRange(other)];
  return a !== undefined && b !== undefined && rangesOverlap(a, b);
}

/** Network address as a number, and the length of the prefix. */
export function parseCidr(cidr: string): { address: number; bits: number } {
  const [ip = '', length = '32'] = cidr.split('/');
  const address = ip.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
  if (!Number.isInteger(address) || ip.split('.').length !== 4)
    throw new TypeError(`${JSON.stringify(cidr)} is no IPv4 CIDR`);
  return { address, bits: Number(length) };
}

function littleEndian(hex: string): string {
  return (hex.match(/../g) ?? [])
    .reverse()
    .map((byte) => Number.parseInt(byte, 16))
    .join('.');
}

function bits(mask: string): number {
  return [...Number.parseInt(mask, 16).toString(2)].filter((digit) => digit === '1').length;
}
