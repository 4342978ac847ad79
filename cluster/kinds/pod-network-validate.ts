/** What a pod says of names and addresses: the resolver's configuration and the hosts file, with the errors of the API reference. */
import { isIP } from 'node:net';
import type { FieldError } from './field-error.ts';
import { invalid, notSupported, required } from './field-errors.ts';
import { dnsSubdomainProblem } from './names.ts';
import type { PodDNSConfig, PodSpec } from './types/core.ts';

const POLICIES = ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None'];
const MOST_NAMESERVERS = 3;
const MOST_SEARCHES = 32;
const SEARCH_CHARACTERS = 2048;

export function podNetworkErrors({ dnsPolicy = '', dnsConfig, hostAliases }: PodSpec, at: string): FieldError[] {
  const errors = POLICIES.includes(dnsPolicy) ? [] : [notSupported(`${at}.dnsPolicy`, dnsPolicy, POLICIES)];
  errors.push(...dnsErrors(dnsPolicy, dnsConfig, `${at}.dnsConfig`));
  for (const [index, { ip, hostnames }] of (hostAliases ?? []).entries()) {
    const path = `${at}.hostAliases[${index}]`;
    errors.push(...addressErrors(ip, `${path}.ip`));
    for (const [place, name] of (hostnames ?? []).entries()) {
      const problem = dnsSubdomainProblem(name);
      if (problem !== undefined) errors.push(invalid(`${path}.hostnames[${place}]`, name, problem));
    }
  }
  return errors;
}

function dnsErrors(policy: string, config: PodDNSConfig | undefined, at: string): FieldError[] {
  if (config === undefined)
    return policy === 'None' ? [required(at, 'must provide `dnsConfig` when `dnsPolicy` is None')] : [];
  const { nameservers = [], searches = [], options = [] } = config;
  const errors: FieldError[] = [];
  if (policy === 'None' && nameservers.length === 0)
    errors.push(required(`${at}.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None'));
  if (nameservers.length > MOST_NAMESERVERS)
    errors.push(invalid(`${at}.nameservers`, nameservers, `must not have more than ${MOST_NAMESERVERS} nameservers`));
  for (const [index, address] of nameservers.entries())
    errors.push(...addressErrors(address, `${at}.nameservers[${index}]`));
  if (searches.length > MOST_SEARCHES)
    errors.push(invalid(`${at}.searches`, searches, `must not have more than ${MOST_SEARCHES} search paths`));
  if (searches.join(' ').length > SEARCH_CHARACTERS)
    errors.push(
      invalid(
        `${at}.searches`,
        searches,
        `must not have more than ${SEARCH_CHARACTERS} characters (including spaces) in the search list`,
      ),
    );
  for (const [index, search] of searches.entries()) {
    // The root, and names that end in it, are those of resolv.conf.
    const problem = search === '.' ? undefined : dnsSubdomainProblem(search.replace(/\.$/, ''));
    if (problem !== undefined) errors.push(invalid(`${at}.searches[${index}]`, search, problem));
  }
  for (const [index, { name }] of options.entries())
    if (!name) errors.push(required(`${at}.options[${index}]`, 'must not be empty'));
  return errors;
}

function addressErrors(address: string, field: string): FieldError[] {
  return isIP(address) === 0
    ? [invalid(field, address, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
    : [];
}
