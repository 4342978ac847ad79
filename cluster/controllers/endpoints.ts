/** The Endpoints of each Service with a selector, as older clients read them: what its EndpointSlices say, in their form. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { endpoints as endpointsResource } from '../kinds/resources.ts';
import type { EndpointAddress, EndpointSubset, Endpoints, Service } from '../kinds/types/core.ts';
import type { Endpoint, EndpointSlice } from '../kinds/types/discovery.ts';
import type { Controller } from './controller.ts';
import { keyOf, openInformer, sameJson, splitKey } from './objects.ts';
import { followServiceSlices, type ServiceSlices } from './service-slices.ts';

/** On those that were made here: others are a person's, with or without a Service. */
const oursLabel = 'endpoints.kubernetes.io/managed-by';
const oursValue = 'endpoint-controller';
const headlessLabel = 'service.kubernetes.io/headless';
const overCapacity = 'endpoints.kubernetes.io/over-capacity';
/** More addresses than this are left out, and said to be. */
const addressLimit = 1000;

function addressOf({ addresses, hostname, nodeName, targetRef }: Endpoint): EndpointAddress {
  return {
    ip: addresses[0] ?? '',
    ...(hostname && { hostname }),
    ...(nodeName && { nodeName }),
    ...(targetRef && { targetRef }),
  };
}

/** One subset for each set of ports; Endpoints know no terminating addresses. */
function subsetsOf(slices: EndpointSlice[]): { subsets: EndpointSubset[]; truncated: boolean } {
  const groups = new Map<string, EndpointSubset>();
  let left = addressLimit;
  let truncated = false;
  const byReadiness = slices
    .flatMap((slice) => slice.endpoints.map((endpoint) => ({ slice, endpoint })))
    .filter(({ endpoint }) => endpoint.conditions?.ready === true || endpoint.conditions?.terminating !== true)
    .sort((a, b) => Number(b.endpoint.conditions?.ready === true) - Number(a.endpoint.conditions?.ready === true));
  for (const { slice, endpoint } of byReadiness) {
    if (left === 0) {
      truncated = true;
      break;
    }
    left--;
    const ports = (slice.ports ?? []).map(({ name, port = 0, protocol, appProtocol }) => ({
      ...(name && { name }),
      port,
      ...(protocol && { protocol }),
      ...(appProtocol && { appProtocol }),
    }));
    const key = JSON.stringify(ports);
    const subset = groups.get(key) ?? { ...(ports.length > 0 && { ports }) };
    groups.set(key, subset);
    const list = endpoint.conditions?.ready === true ? 'addresses' : 'notReadyAddresses';
    subset[list] = [...(subset[list] ?? []), addressOf(endpoint)];
  }
  const byIp = (a: EndpointAddress, b: EndpointAddress): number => (a.ip < b.ip ? -1 : 1);
  const subsets = [...groups.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, subset]) => subset);
  for (const subset of subsets) {
    subset.addresses?.sort(byIp);
    subset.notReadyAddresses?.sort(byIp);
  }
  return { subsets, truncated };
}

function wantedEndpoints(service: Stored<Service>, slices: Stored<EndpointSlice>[]): Endpoints {
  const { name, namespace = '', labels } = service.metadata;
  const family = service.spec?.ipFamilies?.[0] ?? 'IPv4';
  const { subsets, truncated } = subsetsOf(slices.filter(({ addressType }) => addressType === family));
  return {
    metadata: {
      name,
      namespace,
      labels: { ...labels, [oursLabel]: oursValue, ...(service.spec?.clusterIP === 'None' && { [headlessLabel]: '' }) },
      ...(truncated && { annotations: { [overCapacity]: 'truncated' } }),
    },
    ...(subsets.length > 0 && { subsets }),
  };
}

async function remove(client: Client, { metadata: { name, namespace = '', uid } }: Stored<Endpoints>): Promise<void> {
  try {
    await client.delete(endpointsResource, name, { namespace, preconditions: { uid } });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

export function createEndpointsController(): Controller {
  let endpoints: Informer<Endpoints>;
  let followed: ServiceSlices;
  return {
    name: 'endpoint',
    workers: 8,
    async start(context, enqueue) {
      // A slice that nobody manages is a person's, who writes the Endpoints too.
      followed = followServiceSlices(context, enqueue, (manager) => manager !== undefined);
      endpoints = openInformer(context, endpointsResource);
      endpoints.onChange((now, old) => enqueue(keyOf((now ?? old)?.metadata ?? {})));
      await Promise.all([followed.synced, endpoints.synced]);
      for (const { metadata } of [...followed.services.list(), ...endpoints.list()]) enqueue(keyOf(metadata));
    },
    keys: () => followed.services.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, { client }) {
      const { namespace, name } = splitKey(key);
      const service = followed.services.get(name, namespace);
      const there = endpoints.get(name, namespace);
      if (!service || service.metadata.deletionTimestamp !== undefined) {
        if (there?.metadata.labels?.[oursLabel] === oursValue) await remove(client, there);
        return;
      }
      // Those of a service without selector are written by a person.
      if (!service.spec?.selector || service.spec.type === 'ExternalName') return;
      const wanted = wantedEndpoints(service, followed.slicesOf(key));
      if (!there) {
        await client.create(endpointsResource, wanted);
        return;
      }
      const { [overCapacity]: _old, ...annotations } = there.metadata.annotations ?? {};
      const { subsets: _before, ...rest } = there;
      const next = {
        ...rest,
        ...(wanted.subsets && { subsets: wanted.subsets }),
        metadata: {
          ...there.metadata,
          labels: wanted.metadata.labels ?? {},
          annotations: { ...annotations, ...wanted.metadata.annotations },
        },
      };
      const same =
        sameJson(there.subsets ?? [], next.subsets ?? []) &&
        sameJson(there.metadata.labels ?? {}, next.metadata.labels) &&
        sameJson(there.metadata.annotations ?? {}, next.metadata.annotations);
      if (!same) await client.update(endpointsResource, next);
    },
  };
}
