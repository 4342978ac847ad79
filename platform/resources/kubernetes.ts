/** The built-in resources that the platform uses, and their types, as the client names them. */
import type { TypedResource } from '#cluster/kinds/kind.ts';
import type { CustomResourceDefinition } from '#cluster/kinds/types/apiextensions.ts';
import type { ReplicaSet } from '#cluster/kinds/types/apps.ts';
import type { ConfigMap, Namespace, Pod, Secret, Service } from '#cluster/kinds/types/core.ts';
import type { RoleBinding } from '#cluster/kinds/types/rbac.ts';

export const namespaces: TypedResource<Namespace> = {
  group: '',
  version: 'v1',
  resource: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};
export const pods: TypedResource<Pod> = { group: '', version: 'v1', resource: 'pods', kind: 'Pod', namespaced: true };
export const configMaps: TypedResource<ConfigMap> = {
  group: '',
  version: 'v1',
  resource: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};
export const secrets: TypedResource<Secret> = {
  group: '',
  version: 'v1',
  resource: 'secrets',
  kind: 'Secret',
  namespaced: true,
};
export const services: TypedResource<Service> = {
  group: '',
  version: 'v1',
  resource: 'services',
  kind: 'Service',
  namespaced: true,
};
export const replicaSets: TypedResource<ReplicaSet> = {
  group: 'apps',
  version: 'v1',
  resource: 'replicasets',
  kind: 'ReplicaSet',
  namespaced: true,
};
export const customResourceDefinitions: TypedResource<CustomResourceDefinition> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  resource: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
export const roleBindings: TypedResource<RoleBinding> = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  resource: 'rolebindings',
  kind: 'RoleBinding',
  namespaced: true,
};
