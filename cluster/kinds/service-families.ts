/** What a Service may say of families of addresses, and of its addresses in them. In upstream's words (`ValidateServiceClusterIPsRelatedFields`). */
import { isIP } from 'node:net';
import type { FieldError } from './field-error.ts';
import { duplicate, invalid, notSupported } from './field-errors.ts';
import type { ServiceSpec } from './types/core.ts';

const POLICIES = ['PreferDualStack', 'RequireDualStack', 'SingleStack'];
const FAMILIES = ['IPv4', 'IPv6'];
const MOST = 2;
const FAMILY_OF = { 4: 'IPv4', 6: 'IPv6' } as const;

/** `IPv4` or `IPv6`; undefined for what is no address. */
export function addressFamily(address: string): string | undefined {
  return FAMILY_OF[isIP(address) as 4 | 6];
}

export function validateFamilies(spec: ServiceSpec): FieldError[] {
  const { clusterIP = '', clusterIPs = [], ipFamilyPolicy, ipFamilies = [] } = spec;
  const errors: FieldError[] = [];
  if (ipFamilyPolicy !== undefined && !POLICIES.includes(ipFamilyPolicy))
    errors.push(notSupported('spec.ipFamilyPolicy', ipFamilyPolicy, POLICIES));
  for (const [index, family] of ipFamilies.entries()) {
    const at = `spec.ipFamilies[${index}]`;
    if (!FAMILIES.includes(family)) errors.push(notSupported(at, family, FAMILIES));
    if (ipFamilies.indexOf(family) < index) errors.push(duplicate(at, family));
  }
  if (ipFamilies.length > MOST) errors.push(invalid('spec.ipFamilies', ipFamilies, 'may only hold up to 2 values'));
  if (clusterIPs.length > MOST) errors.push(invalid('spec.clusterIPs', clusterIPs, 'may only hold up to 2 values'));
  if (clusterIPs.length > 0 && clusterIP !== clusterIPs[0])
    errors.push(invalid('spec.clusterIPs', clusterIPs, 'first value must match `clusterIP`'));
  return [...errors, ...addressErrors(clusterIPs, ipFamilies)];
}

function addressErrors(clusterIPs: readonly string[], families: readonly string[]): FieldError[] {
  if (clusterIPs.includes('None'))
    return clusterIPs.length === 1
      ? []
      : [invalid('spec.clusterIPs', clusterIPs, "'None' must be the first and only value")];
  const errors: FieldError[] = [];
  for (const [index, address] of clusterIPs.entries()) {
    const at = `spec.clusterIPs[${index}]`;
    const [family, wanted] = [addressFamily(address), families[index]];
    if (family === undefined)
      errors.push(invalid(at, address, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'));
    else if (wanted !== undefined && family !== wanted)
      errors.push(invalid(at, address, `expected an ${wanted} value as indicated by \`ipFamilies[${index}]\``));
  }
  const [first, second] = clusterIPs.map(addressFamily);
  if (second !== undefined && first === second)
    errors.push(invalid('spec.clusterIPs', clusterIPs, 'may specify no more than one IP for each IP family'));
  return errors;
}

/** What was given stays; a second one may come and go. */
export function validateFamiliesUpdate(now: ServiceSpec, before: ServiceSpec): FieldError[] {
  return (['clusterIPs', 'ipFamilies'] as const).flatMap((field) => {
    const [list = [], old = []] = [now[field], before[field]];
    return old.flatMap((value, index) => {
      const kept = list[index] === value || (list[index] === undefined && index > 0);
      return kept ? [] : [invalid(`spec.${field}[${index}]`, list, 'may not change once set')];
    });
  });
}
