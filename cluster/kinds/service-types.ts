/** What goes when a Service becomes one of another type: what only the former type had, and nobody changed in the same write. */
import type { ServiceSpec } from './types/core.ts';

export function dropOfFormerType(now: ServiceSpec, before: ServiceSpec): void {
  if (hasAddress(before) && !hasAddress(now)) {
    drop(now, before, ['clusterIP', 'internalTrafficPolicy']);
    if (now.clusterIP === undefined) for (const field of CHOSEN_WITH_ADDRESS) delete now[field];
  }
  if (!hasAddress(before) && hasAddress(now)) drop(now, before, ['externalName']);
  if (takesNodePorts(before) && !takesNodePorts(now)) {
    const held = new Set(before.ports?.map(({ nodePort }) => nodePort));
    for (const port of now.ports ?? []) if (held.has(port.nodePort)) delete port.nodePort;
    drop(now, before, ['externalTrafficPolicy']);
  }
  if (isChecked(now) && before.healthCheckNodePort !== undefined)
    now.healthCheckNodePort ??= before.healthCheckNodePort;
  if (!isChecked(now)) drop(now, before, ['healthCheckNodePort']);
  if (before.type === 'LoadBalancer' && now.type !== 'LoadBalancer')
    drop(now, before, ['allocateLoadBalancerNodePorts', 'loadBalancerClass']);
}

const CHOSEN_WITH_ADDRESS = ['clusterIPs', 'ipFamilies', 'ipFamilyPolicy'] as const;

function drop(now: ServiceSpec, before: ServiceSpec, fields: (keyof ServiceSpec)[]): void {
  for (const field of fields) if (now[field] === before[field]) delete now[field];
}

function hasAddress({ type }: ServiceSpec): boolean {
  return type !== 'ExternalName';
}

function takesNodePorts({ type }: ServiceSpec): boolean {
  return type === 'NodePort' || type === 'LoadBalancer';
}

function isChecked({ type, externalTrafficPolicy }: ServiceSpec): boolean {
  return type === 'LoadBalancer' && externalTrafficPolicy === 'Local';
}
