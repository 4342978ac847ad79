/** Addresses as text and as numbers. IPv6 is written as RFC 5952 says, so that one address has one text. */
import { isIPv4, isIPv6 } from 'node:net';
import { addressBytes as bytesOf } from '#lib/dns/address.ts';
import { addressOfRange } from '#lib/ip-range.ts';
import { EngineError } from '../engine.ts';

export type Family = 4 | 6;

export interface Address {
  family: Family;
  value: bigint;
}

export const bitsOf: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

/**
 * An address with a zone is none: it means something on one link only.
 * @param family  the only one that will do
 */
export function parseAddress(text: string, family?: Family): Address {
  if (isIPv4(text) && family !== 6) return { family: 4, value: valueOf(text) };
  if (isIPv6(text) && !text.includes('%') && family !== 4) return { family: 6, value: valueOf(text) };
  const form =
    (family ?? (text.includes(':') ? 6 : 4)) === 6
      ? 'IPv6 address: use one such as fd00::7'
      : 'IPv4 address: use four numbers such as 10.86.0.1';
  throw new EngineError('invalid', `"${text}" is not an ${form}`);
}

export function formatAddress({ family, value }: Address): string {
  return addressOfRange({ family, base: value, bits: bitsOf[family] }, 0n);
}

/** In network order: four bytes or sixteen. */
export function addressBytes(text: string): Buffer {
  const { family, value } = parseAddress(text);
  return Buffer.from(value.toString(16).padStart(bitsOf[family] / 4, '0'), 'hex');
}

export function addressOfBytes(bytes: Buffer): string {
  return formatAddress({ family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${bytes.toString('hex')}`) });
}

function valueOf(text: string): bigint {
  return BigInt(`0x${bytesOf(text).toString('hex')}`);
}
