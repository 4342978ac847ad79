/**
 * Lists the pods behind each Service with a selector. The router and the node's service rules follow these slices, so
 * they are written as soon as a pod's readiness changes, and only when something in them does.
 */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { endpointSlices, nodes as nodeResource, pods as podResource } from '../kinds/resources.ts';
import type { Node, Pod, Service } from '../kinds/types/core.ts';
import type { EndpointSlice } from '../kinds/types/discovery.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { managedByLabel, selects, serviceLabel, type Wanted, wantedSlices } from './endpoint-slice-plan.ts';
import { keyOf, openInformer, sameJson, splitKey } from './objects.ts';
import { followServiceSlices, type ServiceSlices } from './service-slices.ts';

const managedBy = 'endpointslice-controller.k8s.io';
const headlessLabel = 'service.kubernetes.io/headless';
const zoneLabel = 'topology.kubernetes.io/zone';

function sliceOf(service: Stored<Service>, { name, ...content }: Wanted): EndpointSlice {
  return {
    metadata: {
      name,
      namespace: service.metadata.namespace ?? '',
      labels: {
        ...service.metadata.labels,
        [serviceLabel]: service.metadata.name,
        [managedByLabel]: managedBy,
        ...(service.spec?.clusterIP === 'None' && { [headlessLabel]: '' }),
      },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          name: service.metadata.name,
          uid: service.metadata.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    ...content,
  };
}

export function createEndpointSliceController(): Controller {
  let pods: Informer<Pod>;
  let nodes: Informer<Node>;
  let followed: ServiceSlices;

  const zoneOf = (node: string): string | undefined => nodes.get(node)?.metadata.labels?.[zoneLabel];

  async function removeSlices(client: Client, list: Stored<EndpointSlice>[]): Promise<void> {
    for (const { metadata } of list) {
      await client.delete(endpointSlices, metadata.name, { namespace: metadata.namespace ?? '' }).catch((error) => {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      });
    }
  }

  /** Returns the resource version written; undefined when nothing had to be. */
  async function writeSlice(client: Client, wanted: EndpointSlice): Promise<string | undefined> {
    const there = followed.slices.get(wanted.metadata.name ?? '', wanted.metadata.namespace);
    if (!there) return (await client.create(endpointSlices, wanted)).metadata.resourceVersion;
    const same =
      sameJson(there.endpoints, wanted.endpoints) &&
      sameJson(there.ports ?? [], wanted.ports) &&
      sameJson(there.metadata.labels, wanted.metadata.labels);
    if (same) return undefined;
    const { ownerReferences, labels } = wanted.metadata;
    const metadata = { ...there.metadata, ...(labels && { labels }), ...(ownerReferences && { ownerReferences }) };
    return (await client.update(endpointSlices, { ...there, ...wanted, metadata })).metadata.resourceVersion;
  }

  async function reconcile(key: string, { client, signal }: ControllerContext): Promise<void> {
    const { namespace, name } = splitKey(key);
    const service = followed.services.get(name, namespace);
    const ours = followed.slicesOf(key);
    const listed = service?.spec?.selector !== undefined && service.spec.type !== 'ExternalName';
    if (!service || service.metadata.deletionTimestamp !== undefined || !listed) {
      // Of a service that is gone, or lists no pods; slices that others made for one without selector are theirs.
      await removeSlices(client, ours);
      return;
    }
    const selected = pods.list({ namespace }).filter((pod) => selects(service, pod));
    const wanted = wantedSlices({ service, pods: selected, there: ours, zoneOf });
    const written = await Promise.all(wanted.map((slice) => writeSlice(client, sliceOf(service, slice))));
    const names = new Set(wanted.map((slice) => slice.name));
    await removeSlices(
      client,
      ours.filter(({ metadata }) => !names.has(metadata.name)),
    );
    // Compare with what was written, not with what was there before, when a change comes meanwhile.
    const newest = Math.max(0, ...written.map(Number).filter((version) => version > 0));
    if (newest > 0)
      await followed.slices.reached(String(newest), AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
  }

  return {
    name: 'endpointslice',
    workers: 8,
    async start(context, enqueue) {
      followed = followServiceSlices(context, enqueue, (manager) => manager === managedBy);
      const { services } = followed;
      pods = openInformer(context, podResource);
      nodes = openInformer(context, nodeResource);
      const wakeServices = (pod: Stored<Pod>, other: Stored<Pod> | undefined): void => {
        for (const service of services.list({ namespace: pod.metadata.namespace ?? '' })) {
          if (selects(service, pod) || (other && selects(service, other))) enqueue(keyOf(service.metadata));
        }
      };
      pods.onChange((now, old) => {
        const pod = now ?? old;
        if (pod) wakeServices(pod, old);
      });
      nodes.onChange((now, old) => {
        if (now?.metadata.labels?.[zoneLabel] === old?.metadata.labels?.[zoneLabel]) return;
        for (const { metadata } of services.list()) enqueue(keyOf(metadata));
      });
      await Promise.all([followed.synced, pods.synced, nodes.synced]);
      for (const { metadata } of services.list()) enqueue(keyOf(metadata));
    },
    keys: () => followed.services.list().map(({ metadata }) => keyOf(metadata)),
    reconcile,
  };
}
