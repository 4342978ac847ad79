/** Ports of a pod's containers that say the same, or not which of two things is meant, in upstream's words. */
import type { Container, ContainerPort } from './types/core.ts';

interface Place {
  field: string;
  port: ContainerPort;
}

/** @param containers  each with the path of its field */
export function portWarnings(containers: readonly (readonly [string, Pick<Container, 'ports'>])[]): string[] {
  const warnings: string[] = [];
  const seen = new Map<string, Place[]>();
  for (const [at, { ports }] of containers)
    for (const [index, port] of (ports ?? []).entries()) {
      const here = { field: `${at}.ports[${index}]`, port };
      if (port.hostIP && !port.hostPort) warnings.push(`${here.field}: hostIP set without hostPort: ${inGo(port)}`);
      const key = `${port.containerPort}/${port.protocol}`;
      const others = seen.get(key) ?? [];
      for (const other of others) {
        const relation = relationOf(port, other.port);
        if (relation !== undefined) warnings.push(`${here.field}: ${relation} port definition with ${other.field}`);
      }
      seen.set(key, [...others, here]);
    }
  return warnings;
}

function relationOf(one: ContainerPort, other: ContainerPort): string | undefined {
  const [port, otherPort] = [one.hostPort ?? 0, other.hostPort ?? 0];
  const [address, otherAddress] = [one.hostIP ?? '', other.hostIP ?? ''];
  if (port === otherPort && address === otherAddress) return 'duplicate';
  if (port === 0 || otherPort === 0) return 'overlapping';
  const isOneAddressOpen = (address === '') !== (otherAddress === '');
  return port === otherPort && isOneAddressOpen ? 'dangerously ambiguous' : undefined;
}

/** As upstream prints it. */
function inGo({ name = '', hostPort = 0, containerPort, protocol = '', hostIP = '' }: ContainerPort): string {
  return `{Name:${name} HostPort:${hostPort} ContainerPort:${containerPort} Protocol:${protocol} HostIP:${hostIP}}`;
}
