/**
 * Which families of addresses a Service has: what its writer left open is filled in, as kube-apiserver does it (the Kubernetes documentation,
 * "IPv4/IPv6 dual-stack", Services). A Service changes between one family and two only where its policy says so.
 */
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from '../kinds/field-error.ts';
import { invalid } from '../kinds/field-errors.ts';
import { addressFamily } from '../kinds/service-families.ts';
import type { Service, ServiceSpec } from '../kinds/types/core.ts';

/**
 * In place.
 * @param configured  those that the cluster has, its default first
 */
export function chooseFamilies(
  { spec = {} }: Service,
  before: ServiceSpec | undefined,
  configured: readonly string[],
): FieldError[] {
  if (isAsPreferred(spec, before)) return [];
  const isHeadless = spec.clusterIP === 'None';
  const isOthers = isHeadless && Object.keys(spec.selector ?? {}).length === 0;
  spec.ipFamilyPolicy ??= before?.ipFamilyPolicy ?? (isOthers ? 'RequireDualStack' : 'SingleStack');
  const errors = before === undefined ? [] : reductions(spec, before);
  errors.push(...tooMany(spec), ...inferFromAddresses(spec, configured));
  if (errors.length > 0) return errors;
  const families = [...(spec.ipFamilies ?? [])];
  if (families.length === 0) families.push(configured[0] ?? 'IPv4');
  const isDual = spec.ipFamilyPolicy !== 'SingleStack';
  // Endpoints that somebody writes may be of any family, whatever the cluster has.
  if (!isOthers) {
    if (spec.ipFamilyPolicy === 'RequireDualStack' && configured.length < 2) {
      const why = 'this cluster is not configured for dual-stack services';
      errors.push(invalid('spec.ipFamilyPolicy', spec.ipFamilyPolicy, why));
    }
    for (const [index, family] of families.entries())
      if (!configured.includes(family))
        errors.push(invalid(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster'));
    if (errors.length > 0) return errors;
  }
  if (isDual && families.length === 1 && (isOthers || configured.length === 2))
    families.push(families[0] === 'IPv4' ? 'IPv6' : 'IPv4');
  spec.ipFamilies = families;
  return [];
}

/** One that takes what there is stays as it is when the cluster changes. */
function isAsPreferred(now: ServiceSpec, before: ServiceSpec | undefined): boolean {
  const fields = ['type', 'ipFamilyPolicy', 'clusterIPs', 'ipFamilies'] as const;
  return (
    now.ipFamilyPolicy === 'PreferDualStack' && fields.every((field) => isDeepStrictEqual(now[field], before?.[field]))
  );
}

/** To say `SingleStack` is enough to give the second of both back; to leave it out is not. */
function reductions(spec: ServiceSpec, before: ServiceSpec): FieldError[] {
  if (spec.ipFamilyPolicy === 'SingleStack') {
    for (const field of ['clusterIPs', 'ipFamilies'] as const)
      if (spec[field] !== undefined && isDeepStrictEqual(spec[field], before[field]))
        spec[field] = spec[field].slice(0, 1);
    return [];
  }
  const lost = (field: 'clusterIPs' | 'ipFamilies'): boolean =>
    (spec[field] ?? []).length > 0 && (spec[field] ?? []).length < (before[field] ?? []).length;
  const error = (what: string): FieldError =>
    invalid('spec.ipFamilyPolicy', spec.ipFamilyPolicy, `must be 'SingleStack' to release the secondary ${what}`);
  return [...(lost('clusterIPs') ? [error('cluster IP')] : []), ...(lost('ipFamilies') ? [error('IP family')] : [])];
}

function tooMany({ ipFamilyPolicy, clusterIPs = [], ipFamilies = [] }: ServiceSpec): FieldError[] {
  if (ipFamilyPolicy !== 'SingleStack') return [];
  const error = (what: string): FieldError =>
    invalid(
      'spec.ipFamilyPolicy',
      ipFamilyPolicy,
      `must be 'RequireDualStack' or 'PreferDualStack' when multiple ${what} are specified`,
    );
  return [
    ...(clusterIPs.length === 2 ? [error('cluster IPs')] : []),
    ...(ipFamilies.length === 2 ? [error('IP families')] : []),
  ];
}

function inferFromAddresses(spec: ServiceSpec, configured: readonly string[]): FieldError[] {
  const families = [...(spec.ipFamilies ?? [])];
  const errors: FieldError[] = [];
  for (const [index, address] of (spec.clusterIPs ?? []).entries()) {
    const family = addressFamily(address);
    if (family === undefined || index < families.length) continue;
    if (configured.includes(family)) families.push(family);
    else
      errors.push(invalid(`spec.clusterIPs[${index}]`, spec.clusterIPs, `${family} is not configured on this cluster`));
  }
  if (families.length > 0) spec.ipFamilies = families;
  return errors;
}
