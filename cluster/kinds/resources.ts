/** Typed references to the built-in resources: what a client names a kind by. */
import type { ResourceRef, TypedResource } from './kind.ts';
import type { CustomResourceDefinition } from './types/apiextensions.ts';
import type { Deployment, ReplicaSet } from './types/apps.ts';
import type { Lease } from './types/coordination.ts';
import type { ConfigMap, Event, Namespace, Node, Pod, Secret, Service, ServiceAccount } from './types/core.ts';
import type { EndpointSlice } from './types/discovery.ts';
import type { ObjectMeta } from './types/meta.ts';

function resource<T extends { metadata: ObjectMeta }>(
  apiVersion: string,
  kind: string,
  plural: string,
  namespaced: boolean,
): TypedResource<T> {
  const slash = apiVersion.indexOf('/');
  const ref: ResourceRef = {
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    resource: plural,
    kind,
    namespaced,
  };
  return ref;
}

export const namespaces = resource<Namespace>('v1', 'Namespace', 'namespaces', false);
export const nodes = resource<Node>('v1', 'Node', 'nodes', false);
export const pods = resource<Pod>('v1', 'Pod', 'pods', true);
export const services = resource<Service>('v1', 'Service', 'services', true);
export const configMaps = resource<ConfigMap>('v1', 'ConfigMap', 'configmaps', true);
export const secrets = resource<Secret>('v1', 'Secret', 'secrets', true);
export const serviceAccounts = resource<ServiceAccount>('v1', 'ServiceAccount', 'serviceaccounts', true);
export const events = resource<Event>('v1', 'Event', 'events', true);
export const replicaSets = resource<ReplicaSet>('apps/v1', 'ReplicaSet', 'replicasets', true);
export const deployments = resource<Deployment>('apps/v1', 'Deployment', 'deployments', true);
export const endpointSlices = resource<EndpointSlice>('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices', true);
export const leases = resource<Lease>('coordination.k8s.io/v1', 'Lease', 'leases', true);
export const customResourceDefinitions = resource<CustomResourceDefinition>(
  'apiextensions.k8s.io/v1',
  'CustomResourceDefinition',
  'customresourcedefinitions',
  false,
);
