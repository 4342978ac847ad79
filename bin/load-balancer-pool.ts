import { isIPv4 } from 'node:net';
import { overlaps } from '#lib/routes.ts';
import { HostError } from './host-error.ts';

/**
 * The ranges of `--load-balancer-pool`. An empty text is none; a single address stands for itself.
 * @param own  the instance's ranges of pods and services, which no pool may touch
 */
export function parsePool(text: string, own: readonly string[]): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => checkRange(part.includes('/') ? part : `${part}/32`, own));
}

function checkRange(range: string, own: readonly string[]): string {
  const [address = '', length = ''] = range.split('/');
  const remedy = 'Give ranges with commas between, for example --load-balancer-pool 192.0.2.200/29,192.0.2.220/32.';
  const refuse = (why: string): never => {
    throw new HostError('invalid-flag', `Cannot use ${JSON.stringify(range)} in --load-balancer-pool: ${why}.`, remedy);
  };
  if (!isIPv4(address) || !/^\d{1,2}$/.test(length) || Number(length) < 16 || Number(length) > 32)
    return refuse('it must be an IPv4 range of /16 to /32');
  const clash = own.find((other) => overlaps(range, other));
  if (clash !== undefined) return refuse(`this instance has ${clash} for its pods or services`);
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  if (number % 2 ** (32 - Number(length)) !== 0) return refuse(`${address} is not the first address of a /${length}`);
  return range;
}
