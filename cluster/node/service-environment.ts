/**
 * Variables by which a container finds Services: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 * (the second, longer form is what Docker's links once gave). Client libraries find the API server by those of `kubernetes`.
 */
import type { Service } from '../kinds/types/core.ts';

export function serviceEntries(services: readonly Service[]): [string, string][] {
  return services.flatMap(entriesOf);
}

function entriesOf({ metadata, spec }: Service): [string, string][] {
  const host = spec?.clusterIP;
  const ports = spec?.ports ?? [];
  const [first] = ports;
  if (!host || host === 'None' || first === undefined) return [];
  const prefix = variable(metadata.name ?? '');
  const urlOf = (port: number, protocol: string): string =>
    `${protocol}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const entries: [string, string][] = [
    [`${prefix}_SERVICE_HOST`, host],
    [`${prefix}_SERVICE_PORT`, String(first.port)],
  ];
  for (const { name, port } of ports)
    if (name) entries.push([`${prefix}_SERVICE_PORT_${variable(name)}`, String(port)]);
  entries.push([`${prefix}_PORT`, urlOf(first.port, protocolOf(first.protocol))]);
  for (const { port, protocol: stated } of ports) {
    const protocol = protocolOf(stated);
    const link = `${prefix}_PORT_${port}_${protocol.toUpperCase()}`;
    entries.push([link, urlOf(port, protocol)]);
    entries.push([`${link}_PROTO`, protocol], [`${link}_PORT`, String(port)], [`${link}_ADDR`, host]);
  }
  return entries;
}

function variable(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}

function protocolOf(protocol = 'TCP'): string {
  return protocol.toLowerCase();
}
