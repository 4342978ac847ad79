import { addressOfRange, familyOf, type IpFamily, parseIpRange, rangeText } from '#lib/ip-range.ts';
import { overlaps } from '#lib/routes.ts';
import { HostError } from './host-error.ts';

/** The longest and the shortest prefix. */
const BITS: Readonly<Record<IpFamily, { least: number; whole: number }>> = {
  4: { least: 16, whole: 32 },
  6: { least: 48, whole: 128 },
};

/**
 * The ranges of `--load-balancer-pool`. An empty text is none; a single address stands for itself.
 * @param own  the instance's ranges of pods and services, which no pool may touch; those of IPv6 where it has that
 */
export function parsePool(text: string, own: readonly string[]): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => checkRange(part.includes('/') ? part : `${part}/${BITS[familyOf(part)].whole}`, own));
}

function checkRange(text: string, own: readonly string[]): string {
  const remedy =
    'Give ranges with commas between, for example --load-balancer-pool 192.0.2.200/29,192.0.2.220/32,2001:db8::c8/125.';
  const refuse = (why: string): never => {
    throw new HostError('invalid-flag', `Cannot use ${JSON.stringify(text)} in --load-balancer-pool: ${why}.`, remedy);
  };
  const range = parseIpRange(text);
  if (range === undefined || range.bits < BITS[range.family].least)
    return refuse('it must be an IPv4 range of /16 to /32, or an IPv6 range of /48 to /128');
  if (range.family === 6 && !own.some((other) => familyOf(other) === 6))
    return refuse('pods and Services of this instance have no IPv6 (--dual-stack on)');
  const clash = own.find((other) => overlaps(text, other));
  if (clash !== undefined) return refuse(`this instance has ${clash} for its pods or services`);
  const [address = ''] = text.split('/');
  const first = parseIpRange(address);
  if (first === undefined || first.base !== range.base)
    return refuse(`${address} is not the first address of a /${range.bits}: ${addressOfRange(range, 0n)} is`);
  return rangeText(range);
}
