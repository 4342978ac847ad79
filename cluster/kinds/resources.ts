/** Typed references to the built-in resources: what a client names a kind by. */
import type { ResourceRef, TypedResource } from './kind.ts';
import type {
  MutatingWebhookConfiguration,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingWebhookConfiguration,
} from './types/admissionregistration.ts';
import type { APIService } from './types/apiregistration.ts';
import type { CustomResourceDefinition } from './types/apiextensions.ts';
import type { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet } from './types/apps.ts';
import type { HorizontalPodAutoscaler as HorizontalPodAutoscalerV1 } from './types/autoscaling.ts';
import type { HorizontalPodAutoscaler } from './types/autoscaling-v2.ts';
import type { CronJob, Job } from './types/batch.ts';
import type { CertificateSigningRequest } from './types/certificates.ts';
import type { Lease } from './types/coordination.ts';
import type {
  ComponentStatus,
  ConfigMap,
  Endpoints,
  Event,
  LimitRange,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  PodTemplate,
  ReplicationController,
  ResourceQuota,
  Secret,
  Service,
  ServiceAccount,
} from './types/core.ts';
import type { EndpointSlice } from './types/discovery.ts';
import type { EventsEvent } from './types/events.ts';
import type { FlowSchema, PriorityLevelConfiguration } from './types/flowcontrol.ts';
import type { ObjectMeta } from './types/meta.ts';
import type { NodeMetrics, PodMetrics } from './types/metrics.ts';
import type { Ingress, IngressClass, NetworkPolicy } from './types/networking.ts';
import type { RuntimeClass } from './types/node.ts';
import type { PodDisruptionBudget } from './types/policy.ts';
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding } from './types/rbac.ts';
import type { PriorityClass } from './types/scheduling.ts';
import type { CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment } from './types/storage.ts';

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
export const replicationControllers = resource<ReplicationController>(
  'v1',
  'ReplicationController',
  'replicationcontrollers',
  true,
);
export const podTemplates = resource<PodTemplate>('v1', 'PodTemplate', 'podtemplates', true);
export const endpoints = resource<Endpoints>('v1', 'Endpoints', 'endpoints', true);
export const limitRanges = resource<LimitRange>('v1', 'LimitRange', 'limitranges', true);
export const resourceQuotas = resource<ResourceQuota>('v1', 'ResourceQuota', 'resourcequotas', true);
export const persistentVolumes = resource<PersistentVolume>('v1', 'PersistentVolume', 'persistentvolumes', false);
export const persistentVolumeClaims = resource<PersistentVolumeClaim>(
  'v1',
  'PersistentVolumeClaim',
  'persistentvolumeclaims',
  true,
);
export const componentStatuses = resource<ComponentStatus>('v1', 'ComponentStatus', 'componentstatuses', false);
export const statefulSets = resource<StatefulSet>('apps/v1', 'StatefulSet', 'statefulsets', true);
export const daemonSets = resource<DaemonSet>('apps/v1', 'DaemonSet', 'daemonsets', true);
export const controllerRevisions = resource<ControllerRevision>(
  'apps/v1',
  'ControllerRevision',
  'controllerrevisions',
  true,
);
export const jobs = resource<Job>('batch/v1', 'Job', 'jobs', true);
export const cronJobs = resource<CronJob>('batch/v1', 'CronJob', 'cronjobs', true);
export const podDisruptionBudgets = resource<PodDisruptionBudget>(
  'policy/v1',
  'PodDisruptionBudget',
  'poddisruptionbudgets',
  true,
);
export const priorityClasses = resource<PriorityClass>(
  'scheduling.k8s.io/v1',
  'PriorityClass',
  'priorityclasses',
  false,
);
export const storageClasses = resource<StorageClass>('storage.k8s.io/v1', 'StorageClass', 'storageclasses', false);
export const csiDrivers = resource<CSIDriver>('storage.k8s.io/v1', 'CSIDriver', 'csidrivers', false);
export const csiNodes = resource<CSINode>('storage.k8s.io/v1', 'CSINode', 'csinodes', false);
export const csiStorageCapacities = resource<CSIStorageCapacity>(
  'storage.k8s.io/v1',
  'CSIStorageCapacity',
  'csistoragecapacities',
  true,
);
export const volumeAttachments = resource<VolumeAttachment>(
  'storage.k8s.io/v1',
  'VolumeAttachment',
  'volumeattachments',
  false,
);
export const networkPolicies = resource<NetworkPolicy>(
  'networking.k8s.io/v1',
  'NetworkPolicy',
  'networkpolicies',
  true,
);
export const ingresses = resource<Ingress>('networking.k8s.io/v1', 'Ingress', 'ingresses', true);
export const ingressClasses = resource<IngressClass>('networking.k8s.io/v1', 'IngressClass', 'ingressclasses', false);
export const flowSchemas = resource<FlowSchema>('flowcontrol.apiserver.k8s.io/v1', 'FlowSchema', 'flowschemas', false);
export const priorityLevelConfigurations = resource<PriorityLevelConfiguration>(
  'flowcontrol.apiserver.k8s.io/v1',
  'PriorityLevelConfiguration',
  'prioritylevelconfigurations',
  false,
);
export const apiServices = resource<APIService>('apiregistration.k8s.io/v1', 'APIService', 'apiservices', false);
export const horizontalPodAutoscalers = resource<HorizontalPodAutoscaler>(
  'autoscaling/v2',
  'HorizontalPodAutoscaler',
  'horizontalpodautoscalers',
  true,
);
export const horizontalPodAutoscalersV1 = resource<HorizontalPodAutoscalerV1>(
  'autoscaling/v1',
  'HorizontalPodAutoscaler',
  'horizontalpodautoscalers',
  true,
);
export const roles = resource<Role>('rbac.authorization.k8s.io/v1', 'Role', 'roles', true);
export const roleBindings = resource<RoleBinding>('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings', true);
export const clusterRoles = resource<ClusterRole>('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles', false);
export const clusterRoleBindings = resource<ClusterRoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'ClusterRoleBinding',
  'clusterrolebindings',
  false,
);
export const runtimeClasses = resource<RuntimeClass>('node.k8s.io/v1', 'RuntimeClass', 'runtimeclasses', false);
export const certificateSigningRequests = resource<CertificateSigningRequest>(
  'certificates.k8s.io/v1',
  'CertificateSigningRequest',
  'certificatesigningrequests',
  false,
);
export const eventsEvents = resource<EventsEvent>('events.k8s.io/v1', 'Event', 'events', true);
export const nodeMetrics = resource<NodeMetrics>('metrics.k8s.io/v1beta1', 'NodeMetrics', 'nodes', false);
export const podMetrics = resource<PodMetrics>('metrics.k8s.io/v1beta1', 'PodMetrics', 'pods', true);
const ADMISSION = 'admissionregistration.k8s.io/v1';
export const mutatingWebhookConfigurations = resource<MutatingWebhookConfiguration>(
  ADMISSION,
  'MutatingWebhookConfiguration',
  'mutatingwebhookconfigurations',
  false,
);
export const validatingWebhookConfigurations = resource<ValidatingWebhookConfiguration>(
  ADMISSION,
  'ValidatingWebhookConfiguration',
  'validatingwebhookconfigurations',
  false,
);
export const validatingAdmissionPolicies = resource<ValidatingAdmissionPolicy>(
  ADMISSION,
  'ValidatingAdmissionPolicy',
  'validatingadmissionpolicies',
  false,
);
export const validatingAdmissionPolicyBindings = resource<ValidatingAdmissionPolicyBinding>(
  ADMISSION,
  'ValidatingAdmissionPolicyBinding',
  'validatingadmissionpolicybindings',
  false,
);
