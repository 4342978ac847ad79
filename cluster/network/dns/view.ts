/** The cluster as informers show it, with the indexes that questions need. */
import type { Client, Informer } from '../../client/client.ts';
import { sharedInformer } from '../../client/shared-informer.ts';
import { endpointSlices, namespaces, services } from '../../kinds/resources.ts';
import type { Pod } from '../../kinds/types/core.ts';
import type { ClusterView } from './dns.ts';
import { internalNames } from './internal-names.ts';

const serviceLabel = 'kubernetes.io/service-name';

/** @param pods  with an index `ip` */
export function createView(
  client: Client,
  pods: Informer<Pod>,
  onError: (error: unknown) => void,
): { view: ClusterView; synced: Promise<unknown>; close(): void } {
  const known = sharedInformer(client, namespaces, {}, onError);
  const byAddress = sharedInformer(
    client,
    services,
    {
      clusterIp: ({ spec }) => [...new Set([spec?.clusterIP ?? '', ...(spec?.clusterIPs ?? [])])],
      name: ({ metadata }) => internalNames(metadata),
    },
    onError,
  );
  const slices = sharedInformer(
    client,
    endpointSlices,
    {
      serviceName: ({ metadata }) => [`${metadata.namespace}/${metadata.labels?.[serviceLabel] ?? ''}`],
      address: ({ endpoints }) => [...new Set((endpoints ?? []).flatMap(({ addresses }) => addresses))],
    },
    onError,
  );
  return {
    view: {
      hasNamespace: (name) => known.get(name) !== undefined,
      service: (namespace, name) => byAddress.get(name, namespace),
      slices: (namespace, service) => slices.byIndex('serviceName', `${namespace}/${service}`),
      servicesAt: (clusterIp) => (clusterIp === 'None' ? [] : byAddress.byIndex('clusterIp', clusterIp)),
      servicesNamed: (name) => byAddress.byIndex('name', name),
      slicesWith: (address) => slices.byIndex('address', address),
      hasPod: (namespace, ip) => pods.byIndex('ip', ip).some(({ metadata }) => metadata.namespace === namespace),
    },
    synced: Promise.all([known.synced, byAddress.synced, slices.synced, pods.synced]),
    close() {
      known.close();
      byAddress.close();
      slices.close();
    },
  };
}
