/**
 * Lists the pods behind each Service with a selector. The router and the node's service rules follow these slices, so
 * they are written as soon as a pod's readiness changes, and only when something in them does.
 */
import { createHash } from 'node:crypto';
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { endpointSlices, pods as podResource, services as serviceResource } from '../kinds/resources.ts';
import type { Pod, Service, ServicePort } from '../kinds/types/core.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '../kinds/types/discovery.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { isFinished, isReady, keyOf, openInformer, sameJson, splitKey } from './objects.ts';

const managedBy = 'endpointslice-controller.k8s.io';
const serviceLabel = 'kubernetes.io/service-name';
const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
const headlessLabel = 'service.kubernetes.io/headless';
/** Endpoints in one slice at most: a change rewrites one slice and reaches every watcher of it. */
const sliceLimit = 500;

type AddressType = 'IPv4' | 'IPv6';

interface Wanted {
  name: string;
  addressType: AddressType;
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

function selects(service: Service, pod: Pod): boolean {
  const selector = service.spec?.selector;
  if (!selector || service.spec?.type === 'ExternalName') return false;
  const entries = Object.entries(selector);
  return entries.length > 0 && entries.every(([name, value]) => pod.metadata.labels?.[name] === value);
}

/** The number behind a port of the service in this pod; undefined when the pod names no such port. */
function targetPort(port: ServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === 'number') return target === 0 ? port.port : target;
  const protocol = port.protocol ?? 'TCP';
  const containers = [
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always'),
  ];
  for (const { ports } of containers) {
    const found = ports?.find(({ name, protocol: own }) => name === target && (own ?? 'TCP') === protocol);
    if (found) return found.containerPort;
  }
  return undefined;
}

function portsOf(service: Service, pod: Pod): EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const servicePort of service.spec?.ports ?? []) {
    const port = targetPort(servicePort, pod);
    if (port === undefined) continue;
    const { name = '', protocol = 'TCP', appProtocol } = servicePort;
    ports.push({ name, protocol, port, ...(appProtocol && { appProtocol }) });
  }
  return ports;
}

function endpointOf(service: Service, pod: Stored<Pod>, address: string): Endpoint {
  const serving = isReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const published = service.spec?.publishNotReadyAddresses === true;
  const { hostname, subdomain, nodeName } = pod.spec ?? {};
  return {
    addresses: [address],
    conditions: { ready: published || (serving && !terminating), serving: published || serving, terminating },
    ...(hostname && subdomain === service.metadata.name && { hostname }),
    ...(nodeName && { nodeName }),
    targetRef: {
      kind: 'Pod',
      namespace: pod.metadata.namespace ?? '',
      name: pod.metadata.name,
      uid: pod.metadata.uid,
    },
  };
}

function addressesOf(pod: Pod): string[] {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip).filter((ip): ip is string => !!ip) ?? [];
  if (listed.length > 0) return listed;
  return pod.status?.podIP ? [pod.status.podIP] : [];
}

/** The slices that a service should have: one for each family and set of port numbers, more when there are many pods. */
function wantedSlices(service: Stored<Service>, pods: Stored<Pod>[]): Wanted[] {
  const families = new Set(service.spec?.ipFamilies ?? ['IPv4']);
  const groups = new Map<string, Omit<Wanted, 'name'>>();
  const group = (addressType: AddressType, ports: EndpointPort[]): Omit<Wanted, 'name'> => {
    const key = JSON.stringify([addressType, ports]);
    const found = groups.get(key) ?? { addressType, ports, endpoints: [] };
    groups.set(key, found);
    return found;
  };
  for (const pod of pods) {
    if (isFinished(pod)) continue;
    const ports = portsOf(service, pod);
    if (ports.length === 0 && (service.spec?.ports?.length ?? 0) > 0) continue;
    for (const address of addressesOf(pod)) {
      const addressType = address.includes(':') ? 'IPv6' : 'IPv4';
      if (families.has(addressType)) group(addressType, ports).endpoints.push(endpointOf(service, pod, address));
    }
  }
  // A service without pods has an empty slice: its watchers know that it was looked at.
  if (groups.size === 0) group(families.has('IPv4') ? 'IPv4' : 'IPv6', []);
  const wanted: Wanted[] = [];
  for (const [key, { endpoints, ...rest }] of groups) {
    endpoints.sort((a, b) => ((a.targetRef?.name ?? '') < (b.targetRef?.name ?? '') ? -1 : 1));
    for (let start = 0; start === 0 || start < endpoints.length; start += sliceLimit) {
      const digest = createHash('sha256')
        .update(`${service.metadata.uid}\0${key}\0${start}`)
        .digest('hex')
        .slice(0, 10);
      wanted.push({
        ...rest,
        name: `${service.metadata.name}-${digest}`,
        endpoints: endpoints.slice(start, start + sliceLimit),
      });
    }
  }
  return wanted;
}

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
  let services: Informer<Service>;
  let pods: Informer<Pod>;
  let slices: Informer<EndpointSlice>;

  async function removeSlices(client: Client, list: Stored<EndpointSlice>[]): Promise<void> {
    for (const { metadata } of list) {
      await client.delete(endpointSlices, metadata.name, { namespace: metadata.namespace ?? '' }).catch((error) => {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      });
    }
  }

  /** Returns the resource version written; undefined when nothing had to be. */
  async function writeSlice(client: Client, wanted: EndpointSlice): Promise<string | undefined> {
    const there = slices.get(wanted.metadata.name ?? '', wanted.metadata.namespace);
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
    const service = services.get(name, namespace);
    const ours = slices
      .byIndex('service', key)
      .filter(({ metadata }) => metadata.labels?.[managedByLabel] === managedBy);
    if (!service || service.metadata.deletionTimestamp !== undefined || !service.spec?.selector) {
      // Of a service that is gone; slices that others made for one without selector are theirs.
      await removeSlices(client, ours);
      return;
    }
    const wanted = wantedSlices(
      service,
      pods.list({ namespace }).filter((pod) => selects(service, pod)),
    );
    const written = await Promise.all(wanted.map((slice) => writeSlice(client, sliceOf(service, slice))));
    const names = new Set(wanted.map((slice) => slice.name));
    await removeSlices(
      client,
      ours.filter(({ metadata }) => !names.has(metadata.name)),
    );
    // Compare with what was written, not with what was there before, when a change comes meanwhile.
    const newest = Math.max(0, ...written.map(Number).filter((version) => version > 0));
    if (newest > 0) await slices.reached(String(newest), AbortSignal.any([signal, AbortSignal.timeout(10_000)]));
  }

  return {
    name: 'endpointslice',
    workers: 8,
    async start(context, enqueue) {
      services = openInformer(context, serviceResource);
      pods = openInformer(context, podResource);
      slices = openInformer(context, endpointSlices, {
        service: ({ metadata }) => [`${metadata.namespace}/${metadata.labels?.[serviceLabel] ?? ''}`],
      });
      const wakeServices = (pod: Stored<Pod>, other: Stored<Pod> | undefined): void => {
        for (const service of services.list({ namespace: pod.metadata.namespace ?? '' })) {
          if (selects(service, pod) || (other && selects(service, other))) enqueue(keyOf(service.metadata));
        }
      };
      services.onChange((now, old) => enqueue(keyOf((now ?? old)?.metadata ?? {})));
      pods.onChange((now, old) => {
        const pod = now ?? old;
        if (pod) wakeServices(pod, old);
      });
      slices.onChange((now, old) => {
        const labels = (now ?? old)?.metadata.labels;
        const name = labels?.[serviceLabel];
        if (name && labels[managedByLabel] === managedBy) enqueue(`${(now ?? old)?.metadata.namespace}/${name}`);
      });
      await Promise.all([services.synced, pods.synced, slices.synced]);
      for (const { metadata } of services.list()) enqueue(keyOf(metadata));
    },
    keys: () => services.list().map(({ metadata }) => keyOf(metadata)),
    reconcile,
  };
}
