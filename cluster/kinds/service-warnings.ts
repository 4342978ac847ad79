/** What is odd about a Service that is valid, in upstream's words. */
import { isIPv6 } from 'node:net';
import { canonicalIpv6 } from '#lib/dns/address.ts';
import type { Service } from './types/core.ts';

const OLD_HINTS = 'service.kubernetes.io/topology-aware-hints';
const HINTS = 'service.kubernetes.io/topology-mode';

export function serviceWarnings({ metadata, spec }: Service): string[] {
  const { type, clusterIP, clusterIPs, externalIPs, externalName, loadBalancerIP, loadBalancerSourceRanges } =
    spec ?? {};
  const isExternal = type === 'ExternalName';
  return [
    ...(metadata.annotations?.[OLD_HINTS] === undefined
      ? []
      : [`annotation ${OLD_HINTS} is deprecated, please use ${HINTS} instead`]),
    ...(clusterIP && clusterIP !== 'None' ? formWarnings(clusterIPs, 'spec.clusterIPs') : []),
    ...formWarnings(externalIPs, 'spec.externalIPs'),
    ...formWarning(loadBalancerIP ?? '', 'spec.loadBalancerIP'),
    ...(loadBalancerSourceRanges ?? []).flatMap((range, index) =>
      rangeWarning(range, `spec.loadBalancerSourceRanges[${index}]`),
    ),
    ...(isExternal && (externalIPs ?? []).length > 0
      ? ['spec.externalIPs is ignored when spec.type is "ExternalName"']
      : []),
    ...(!isExternal && externalName ? ['spec.externalName is ignored when spec.type is not "ExternalName"'] : []),
  ];
}

function formWarnings(addresses: readonly string[] | undefined, at: string): string[] {
  return (addresses ?? []).flatMap((address, index) => formWarning(address, `${at}[${index}]`));
}

/** Who writes an address otherwise than the server would write it over and over. */
function formWarning(address: string, field: string): string[] {
  if (!isIPv6(address) || isCanonical(address)) return [];
  return [notCanonical(`${field}: IPv6 address`, address, canonicalIpv6(address))];
}

function rangeWarning(range: string, field: string): string[] {
  const [address = '', bits = ''] = range.split('/');
  if (!isIPv6(address) || isCanonical(address)) return [];
  return [notCanonical(`${field}: IPv6 prefix`, range, `${canonicalIpv6(address)}/${bits}`)];
}

/** One of IPv4 in one of IPv6 has a form of its own, which is let be. */
function isCanonical(address: string): boolean {
  return address.includes('.') || canonicalIpv6(address) === address;
}

function notCanonical(what: string, given: string, form: string): string {
  return `${what} ${JSON.stringify(given)} is not in RFC 5952 canonical format (${JSON.stringify(form)}), which may cause controller apply-loops`;
}
