/** What a Service may say of its traffic: affinity, policies, external addresses, load balancers. In upstream's words. */
import { isIP } from 'node:net';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported } from './field-errors.ts';
import { check, oneOf, qualifiedName } from './rules.ts';
import { validateAddress } from './special-addresses.ts';
import type { ServiceSpec } from './types/core.ts';

const POLICIES = ['Cluster', 'Local'];
const longestAffinity = 86_400;

export function validateTraffic(spec: ServiceSpec): FieldError[] {
  return [
    ...check(
      spec,
      {
        sessionAffinity: oneOf('ClientIP', 'None'),
        trafficDistribution: oneOf('PreferClose'),
        loadBalancerClass: qualifiedName,
      },
      'spec',
    ),
    ...affinityErrors(spec),
    ...policyErrors(spec),
    ...(spec.externalIPs ?? []).flatMap((address, index) => validateAddress(address, `spec.externalIPs[${index}]`)),
    ...loadBalancerErrors(spec),
    ...(isExternalByNode(spec) && spec.clusterIP === 'None'
      ? [invalid('spec.clusterIPs[0]', 'None', `may not be set to 'None' for ${spec.type} services`)]
      : []),
  ];
}

/** A class that was given is for ever, as long as the Service is a load balancer. */
export function validateClassUpdate(now: ServiceSpec, before: ServiceSpec): FieldError[] {
  if (now.type !== 'LoadBalancer' || before.type !== 'LoadBalancer') return [];
  if (now.loadBalancerClass === before.loadBalancerClass) return [];
  return [invalid('spec.loadBalancerClass', now.loadBalancerClass ?? null, 'may not change once set')];
}

function affinityErrors({ sessionAffinity, sessionAffinityConfig }: ServiceSpec): FieldError[] {
  const field = 'spec.sessionAffinityConfig';
  if (sessionAffinity !== 'ClientIP') {
    if (sessionAffinityConfig === undefined) return [];
    return [forbidden(field, 'must not be set when session affinity is None')];
  }
  const seconds = sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (seconds === undefined || (seconds >= 1 && seconds <= longestAffinity)) return [];
  const at = `${field}.clientIP.timeoutSeconds`;
  return [invalid(at, seconds, `must be greater than 0 and less than ${longestAffinity}`)];
}

function policyErrors(spec: ServiceSpec): FieldError[] {
  const errors: FieldError[] = [];
  const { internalTrafficPolicy: inside, externalTrafficPolicy: outside } = spec;
  if (inside !== undefined && !POLICIES.includes(inside))
    errors.push(notSupported('spec.internalTrafficPolicy', inside, POLICIES));
  if (outside !== undefined && !isExternal(spec))
    errors.push(invalid('spec.externalTrafficPolicy', outside, 'may only be set for externally-accessible services'));
  else if (outside !== undefined && !POLICIES.includes(outside))
    errors.push(notSupported('spec.externalTrafficPolicy', outside, POLICIES));
  return errors;
}

function isExternal({ type, externalIPs }: ServiceSpec): boolean {
  return isExternalByNode({ type }) || (type === 'ClusterIP' && (externalIPs ?? []).length > 0);
}

function loadBalancerErrors(spec: ServiceSpec): FieldError[] {
  const { type, loadBalancerSourceRanges: ranges, healthCheckNodePort } = spec;
  const errors: FieldError[] = [];
  if (type !== 'LoadBalancer') {
    for (const field of ['loadBalancerSourceRanges', 'allocateLoadBalancerNodePorts', 'loadBalancerClass'] as const)
      if (spec[field] !== undefined)
        errors.push(forbidden(`spec.${field}`, "may only be used when `type` is 'LoadBalancer'"));
  } else {
    for (const [index, range] of (ranges ?? []).entries()) {
      if (isRange(range.trim())) continue;
      const example = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';
      errors.push(invalid(`spec.loadBalancerSourceRanges[${index}]`, range, example));
    }
  }
  if (healthCheckNodePort && !(type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local'))
    errors.push(
      invalid(
        'spec.healthCheckNodePort',
        healthCheckNodePort,
        "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
      ),
    );
  return errors;
}

function isRange(range: string): boolean {
  const [address = '', bits = ''] = range.split('/');
  const family = isIP(address);
  return family !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}

function isExternalByNode({ type }: ServiceSpec): boolean {
  return type === 'NodePort' || type === 'LoadBalancer';
}
