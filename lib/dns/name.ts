/** Names in DNS messages, RFC 1035 section 3.1 and 4.1.4 (compression). */
import { isIPv4 } from 'node:net';
import { canonicalIpv6 } from './address.ts';

const LARGEST_NAME = 255;
const LARGEST_LABEL = 63;
/** More pointers than a name of 255 bytes can have use of. */
const MOST_POINTERS = 127;

/** Where the name ends in the message; undefined where it does not. */
export function skipName(message: Buffer, start: number): number | undefined {
  for (let at = start; at < message.length && at - start < LARGEST_NAME; ) {
    const length = message.readUInt8(at);
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : undefined;
    if (length > LARGEST_LABEL) return undefined;
    at += 1 + length;
  }
  return undefined;
}

/**
 * The labels with dots between, as they are written there. `text` is undefined where a label has bytes that would make another name of it;
 * nothing is returned where there is no whole name.
 */
export function textOfName(
  message: Buffer,
  start: number,
  { pointers }: { pointers: boolean },
): { text: string | undefined; end: number } | undefined {
  const labels: string[] = [];
  let end: number | undefined;
  let isPlain = true;
  let jumps = 0;
  for (let at = start, size = 0; at < message.length && size < LARGEST_NAME; ) {
    const length = message.readUInt8(at);
    if (length === 0) return { text: isPlain ? labels.join('.') : undefined, end: end ?? at + 1 };
    if (length >= 0xc0 && pointers && at + 1 < message.length) {
      jumps += 1;
      if (jumps > MOST_POINTERS) return undefined;
      end ??= at + 2;
      at = message.readUInt16BE(at) & 0x3fff;
      continue;
    }
    if (length > LARGEST_LABEL || at + 1 + length > message.length) return undefined;
    const label = message.toString('latin1', at + 1, at + 1 + length);
    isPlain &&= /^[!-\-/-[\]-~]+$/.test(label);
    labels.push(label);
    at += 1 + length;
    size += 1 + length;
  }
  return undefined;
}

/** Labels that are too long for DNS are cut: nobody can ask for them. */
export function labelsOf(name: string): string[] {
  const labels = name.split('.').filter((label) => label !== '');
  let size = 1;
  const kept: string[] = [];
  // The last ones say whose it is.
  for (const label of labels.reverse()) {
    const cut = label.slice(0, LARGEST_LABEL);
    size += 1 + cut.length;
    if (size > LARGEST_NAME) break;
    kept.unshift(cut);
  }
  return kept;
}

/** `7.0.20.172.in-addr.arpa` as `172.20.0.7`; of IPv6 each hexadecimal digit is a label, the last one first (RFC 3596, 2.5). */
export function addressOfPointer(name: string): string | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (match !== null) {
    const address = [match[4], match[3], match[2], match[1]].map(Number).join('.');
    return isIPv4(address) ? address : undefined;
  }
  if (!/^(?:[0-9a-f]\.){32}ip6\.arpa$/.test(name)) return undefined;
  const digits = name.slice(0, 64).split('.').reverse().join('');
  return canonicalIpv6(digits.match(/.{4}/g)?.join(':') ?? '');
}
