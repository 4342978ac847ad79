/** From a Service's port to the endpoints behind it. */
import { createHash } from 'node:crypto';
import type { Service, ServicePort } from '#cluster/kinds/types/core.ts';
import type { Endpoint as SliceEndpoint, EndpointSlice } from '#cluster/kinds/types/discovery.ts';
import type { ServiceBackendPort } from '#cluster/kinds/types/networking.ts';
import type { Endpoint } from '../model.ts';

const HTTP2 = new Set(['kubernetes.io/h2c', 'h2c', 'grpc']);

/** @returns what is wrong, as text, or the port */
export function findPort(service: Service | undefined, name: string, wanted: ServiceBackendPort): ServicePort | string {
  if (service === undefined) return `the Service ${name} does not exist`;
  if (service.spec?.type === 'ExternalName')
    return `the Service ${name} is of the type ExternalName, which is not served`;
  const port = service.spec?.ports?.find((one) =>
    wanted.name ? one.name === wanted.name : one.port === wanted.number && (one.protocol ?? 'TCP') === 'TCP',
  );
  if (port === undefined) return `the Service ${name} has no port ${wanted.name || wanted.number}`;
  if (port.appProtocol === 'https')
    return `the port ${port.port} of the Service ${name} is for https, which is not served`;
  return port;
}

export function protocolOf({ appProtocol }: ServicePort): NonNullable<Endpoint['protocol']> {
  return HTTP2.has(appProtocol?.toLowerCase() ?? '') ? 'http2' : 'http1';
}

/**
 * Ready endpoints, and those that end as draining ones; while none is ready those that end and still serve take what comes, as
 * everywhere in the cluster. Of a Service with two families the first one's: an endpoint is there once.
 */
export function endpointsOf(service: Service, port: ServicePort, slices: readonly EndpointSlice[]): Endpoint[] {
  const family = service.spec?.ipFamilies?.[0];
  const ready: Endpoint[] = [];
  const ending: Endpoint[] = [];
  for (const slice of slices) {
    if (slice.addressType === 'FQDN' || (family !== undefined && slice.addressType !== family)) continue;
    const number = slice.ports?.find(({ name }) => (name ?? '') === (port.name ?? ''))?.port;
    if (number === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const conditions = endpoint.conditions ?? {};
      if (conditions.terminating === true && conditions.serving !== false) ending.push(endpointOf(endpoint, number));
      else if (conditions.ready !== false) ready.push(endpointOf(endpoint, number));
    }
  }
  if (ready.length === 0) return ending;
  return [...ready, ...ending.map((endpoint) => ({ ...endpoint, draining: true }))];
}

/** Named by where it is, as pods' names may be too long or have dots. */
function endpointOf({ addresses: [ip = ''] }: SliceEndpoint, port: number): Endpoint {
  return { name: `i-${createHash('sha256').update(`${ip} ${port}`).digest('hex').slice(0, 16)}`, ip, port };
}
