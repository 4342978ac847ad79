/** Addresses in DNS messages. The URL parser knows every way to write one of IPv6, and writes it as RFC 5952 says. */
import { isIPv4, isIPv6 } from 'node:net';

/** @param text  an address of IPv6, however it is written */
export function canonicalIpv6(text: string): string {
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

/** In network order: four bytes or sixteen. Throws a `TypeError` where it is no address. */
export function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address) || address.includes('%')) throw new TypeError(`${JSON.stringify(address)} is no address`);
  const [head = '', tail = ''] = canonicalIpv6(address).split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const [front, back] = [groups(head), groups(tail)];
  const all = [...front, ...Array<string>(8 - front.length - back.length).fill('0'), ...back];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
