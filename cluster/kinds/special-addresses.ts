/**
 * Addresses that nobody may name as an endpoint or an external address (`ValidateNonSpecialIP` of upstream, in its words): traffic led there
 * would come to what trusts whoever reaches it, such as listeners on a node's loopback.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';
import type { FieldError } from './field-error.ts';
import { invalid } from './field-errors.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');
loopback.addSubnet('::ffff:127.0.0.0', 104, 'ipv6');
const linkLocal = new BlockList();
linkLocal.addSubnet('169.254.0.0', 16);
linkLocal.addSubnet('fe80::', 10, 'ipv6');
const linkLocalMulticast = new BlockList();
linkLocalMulticast.addSubnet('224.0.0.0', 24);
linkLocalMulticast.addSubnet('ff02::', 16, 'ipv6');

/** Of an address; undefined for one that may be named. */
export function specialAddressProblem(address: string): string | undefined {
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  if (['0.0.0.0', '::'].includes(address)) return `may not be unspecified (${address})`;
  if (loopback.check(address, family)) return 'may not be in the loopback range (127.0.0.0/8, ::1/128)';
  if (linkLocal.check(address, family)) return 'may not be in the link-local range (169.254.0.0/16, fe80::/10)';
  if (linkLocalMulticast.check(address, family))
    return 'may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)';
  return undefined;
}

export function validateAddress(address: string, field: string): FieldError[] {
  if (isIP(address) === 0)
    return [invalid(field, address, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')];
  const problem = specialAddressProblem(address);
  return problem === undefined ? [] : [invalid(field, address, problem)];
}
