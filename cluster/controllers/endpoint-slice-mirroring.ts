/**
 * EndpointSlices of Endpoints that a person wrote, for Services without a selector: rules and names follow slices alone
 * (https://kubernetes.io/docs/concepts/services-networking/service/#endpointslice-mirroring). Those that name themselves not to be
 * mirrored, and those by which leaders once were elected, are not.
 */
import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { ApiError, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { endpointSlices, endpoints as endpointsResource } from '../kinds/resources.ts';
import type { EndpointAddress, EndpointSubset, Endpoints, Service } from '../kinds/types/core.ts';
import type { Endpoint, EndpointSlice } from '../kinds/types/discovery.ts';
import type { Controller } from './controller.ts';
import { managedByLabel, serviceLabel } from './endpoint-slice-plan.ts';
import { keyOf, openInformer, sameJson, splitKey } from './objects.ts';
import { followServiceSlices, type ServiceSlices } from './service-slices.ts';

const managedBy = 'endpointslicemirroring-controller.k8s.io';
const skipLabel = 'endpointslice.kubernetes.io/skip-mirror';
const leaderAnnotation = 'control-plane.alpha.kubernetes.io/leader';
const lastApplied = 'kubectl.kubernetes.io/last-applied-configuration';
/** Addresses of one subset; what is beyond is left out. */
const addressLimit = 1000;

function isMirrored(endpoints: Stored<Endpoints>, service: Service | undefined): boolean {
  const { labels, annotations } = endpoints.metadata;
  if (labels?.[skipLabel] === 'true' || annotations?.[leaderAnnotation] !== undefined) return false;
  return service !== undefined && service.spec?.selector === undefined && service.spec?.type !== 'ExternalName';
}

function endpointOf({ ip, hostname, nodeName, targetRef }: EndpointAddress, ready: boolean): Endpoint {
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname && { hostname }),
    ...(nodeName && { nodeName }),
    ...(targetRef && { targetRef }),
  };
}

/** One slice for each set of ports and family. */
function mirrorsOf(endpoints: Stored<Endpoints>): EndpointSlice[] {
  const mirrors = new Map<string, EndpointSlice>();
  for (const subset of endpoints.subsets ?? []) {
    for (const addressType of ['IPv4', 'IPv6'] as const) {
      const listed = addressesOf(subset).filter(
        ({ addresses }) => isIPv6(addresses[0] ?? '') === (addressType === 'IPv6'),
      );
      if (listed.length === 0) continue;
      const mirror = mirrorOf(endpoints, subset, addressType, listed.slice(0, addressLimit));
      const { name = '' } = mirror.metadata;
      mirrors.set(name, { ...mirror, endpoints: [...(mirrors.get(name)?.endpoints ?? []), ...mirror.endpoints] });
    }
  }
  return [...mirrors.values()];
}

function addressesOf({ addresses = [], notReadyAddresses = [] }: EndpointSubset): Endpoint[] {
  return [
    ...addresses.map((address) => endpointOf(address, true)),
    ...notReadyAddresses.map((address) => endpointOf(address, false)),
  ];
}

function mirrorOf(
  { metadata }: Stored<Endpoints>,
  { ports = [] }: EndpointSubset,
  addressType: 'IPv4' | 'IPv6',
  listed: Endpoint[],
): EndpointSlice {
  const { name, namespace = '', uid, labels, annotations = {} } = metadata;
  const slicePorts = ports.map(({ name: portName = '', port, protocol = 'TCP', appProtocol }) => ({
    name: portName,
    port,
    protocol,
    ...(appProtocol && { appProtocol }),
  }));
  const digest = createHash('sha256')
    .update(JSON.stringify([uid, addressType, slicePorts]))
    .digest('hex')
    .slice(0, 10);
  const { [lastApplied]: _own, ...mirrored } = annotations;
  return {
    metadata: {
      name: `${name}-${digest}`,
      namespace,
      labels: { ...labels, [serviceLabel]: name, [managedByLabel]: managedBy },
      annotations: mirrored,
      ownerReferences: [{ apiVersion: 'v1', kind: 'Endpoints', name, uid, controller: true, blockOwnerDeletion: true }],
    },
    addressType,
    ports: slicePorts,
    endpoints: listed,
  };
}

export function createEndpointSliceMirroring(): Controller {
  let endpoints: Informer<Endpoints>;
  let followed: ServiceSlices;
  return {
    name: 'endpointslicemirroring',
    async start(context, enqueue) {
      followed = followServiceSlices(context, enqueue, (manager) => manager === managedBy);
      endpoints = openInformer(context, endpointsResource);
      endpoints.onChange((now, old) => enqueue(keyOf((now ?? old)?.metadata ?? {})));
      await Promise.all([followed.synced, endpoints.synced]);
      for (const { metadata } of endpoints.list()) enqueue(keyOf(metadata));
    },
    keys: () => endpoints.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, { client, signal }) {
      const { namespace, name } = splitKey(key);
      const original = endpoints.get(name, namespace);
      const { services, slices } = followed;
      const ours = followed.slicesOf(key);
      const wanted = original && isMirrored(original, services.get(name, namespace)) ? mirrorsOf(original) : [];
      for (const slice of wanted) {
        const there = ours.find(({ metadata }) => metadata.name === slice.metadata.name);
        if (there === undefined) await reached(slices, await client.create(endpointSlices, slice), signal);
        else if (!sameMirror(there, slice)) {
          const metadata = { ...there.metadata, ...slice.metadata };
          await reached(slices, await client.update(endpointSlices, { ...there, ...slice, metadata }), signal);
        }
      }
      for (const { metadata } of ours) {
        if (wanted.some((slice) => slice.metadata.name === metadata.name)) continue;
        await client.delete(endpointSlices, metadata.name, { namespace }).catch((error: unknown) => {
          if (!(error instanceof ApiError && error.code === 404)) throw error;
        });
      }
    },
  };
}

/** The next look compares with what was written, not with what was there before. */
async function reached(
  slices: Informer<EndpointSlice>,
  written: Stored<EndpointSlice>,
  signal: AbortSignal,
): Promise<void> {
  await slices.reached(written.metadata.resourceVersion, AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
}

function sameMirror(there: Stored<EndpointSlice>, wanted: EndpointSlice): boolean {
  return (
    sameJson(there.endpoints, wanted.endpoints) &&
    sameJson(there.ports ?? [], wanted.ports ?? []) &&
    sameJson(there.metadata.labels ?? {}, wanted.metadata.labels ?? {}) &&
    sameJson(there.metadata.annotations ?? {}, wanted.metadata.annotations ?? {})
  );
}
