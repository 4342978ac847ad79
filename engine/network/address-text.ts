/** Addresses as text and as numbers. IPv6 is written as RFC 5952 says, so that one address has one text. */
import { isIPv4, isIPv6 } from 'node:net';
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
  if (isIPv4(text) && family !== 6) return { family: 4, value: valueOf(text.split('.').map(Number), 8n) };
  if (isIPv6(text) && !text.includes('%') && family !== 4) return { family: 6, value: valueOf(groupsOf(text), 16n) };
  const form =
    (family ?? (text.includes(':') ? 6 : 4)) === 6
      ? 'IPv6 address: use one such as fd00::7'
      : 'IPv4 address: use four numbers such as 10.86.0.1';
  throw new EngineError('invalid', `"${text}" is not an ${form}`);
}

export function formatAddress({ family, value }: Address): string {
  if (family === 4) return partsOf(value, { count: 4, bits: 8n }).join('.');
  const text = partsOf(value, { count: 8, bits: 16n })
    .map((group) => group.toString(16))
    .join(':');
  const runs = [...text.matchAll(/(?<![^:])0(?::0)+(?![^:])/g)];
  const [longest] = runs.sort((one, other) => other[0].length - one[0].length || one.index - other.index);
  if (longest === undefined) return text;
  const before = text.slice(0, longest.index).replace(/:$/, '');
  return `${before}::${text.slice(longest.index + longest[0].length).replace(/^:/, '')}`;
}

/** In network order: four bytes or sixteen. */
export function addressBytes(text: string): Buffer {
  const { family, value } = parseAddress(text);
  return Buffer.from(value.toString(16).padStart(bitsOf[family] / 4, '0'), 'hex');
}

export function addressOfBytes(bytes: Buffer): string {
  return formatAddress({ family: bytes.length === 4 ? 4 : 6, value: BigInt(`0x${bytes.toString('hex')}`) });
}

/** The eight groups of what `isIPv6` accepted. */
function groupsOf(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] =>
    part === ''
      ? []
      : part.split(':').flatMap((group) => {
          if (!group.includes('.')) return [Number.parseInt(group, 16)];
          const value = Number(valueOf(group.split('.').map(Number), 8n));
          return [value >>> 16, value & 0xffff];
        });
  const first = groups(head);
  if (tail === undefined) return first;
  const last = groups(tail);
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
}

function valueOf(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | BigInt(part), 0n);
}

function partsOf(value: bigint, { count, bits }: { count: number; bits: bigint }): number[] {
  const mask = (1n << bits) - 1n;
  return Array.from({ length: count }, (_, index) => Number((value >> (bits * BigInt(count - 1 - index))) & mask));
}
