/** Every kind that the server has from the start; of a kind's versions the one that is stored comes first. */
import { apiServiceKind } from './api-service.ts';
import { certificateSigningRequestKind } from './certificate-signing-request.ts';
import { componentStatusKind } from './component-status.ts';
import { configMapKind } from './config-map.ts';
import { controllerRevisionKind } from './controller-revision.ts';
import { cronJobKind } from './cron-job.ts';
import { csiDriverKind } from './csi-driver.ts';
import { csiNodeKind } from './csi-node.ts';
import { csiStorageCapacityKind } from './csi-storage-capacity.ts';
import { customResourceDefinitionKind } from './custom-resource-definition.ts';
import { daemonSetKind } from './daemon-set.ts';
import { deploymentKind } from './deployment.ts';
import { endpointSliceKind } from './endpoint-slice.ts';
import { endpointsKind } from './endpoints.ts';
import { eventKind } from './event.ts';
import { eventsEventKind } from './events-event.ts';
import { flowSchemaKind } from './flow-schema.ts';
import { horizontalPodAutoscalerKind, horizontalPodAutoscalerV1Kind } from './horizontal-pod-autoscaler.ts';
import { ingressClassKind, ingressKind } from './ingress.ts';
import { jobKind } from './job.ts';
import type { KindDefinition } from './kind.ts';
import { leaseKind } from './lease.ts';
import { limitRangeKind } from './limit-range.ts';
import { nodeMetricsKind, podMetricsKind } from './metrics.ts';
import { namespaceKind } from './namespace.ts';
import { networkPolicyKind } from './network-policy.ts';
import { nodeKind } from './node.ts';
import { persistentVolumeKind } from './persistent-volume.ts';
import { persistentVolumeClaimKind } from './persistent-volume-claim.ts';
import { podKind } from './pod.ts';
import { podDisruptionBudgetKind } from './pod-disruption-budget.ts';
import { podTemplateKind } from './pod-template.ts';
import { priorityClassKind } from './priority-class.ts';
import { priorityLevelConfigurationKind } from './priority-level-configuration.ts';
import { replicaSetKind } from './replica-set.ts';
import { replicationControllerKind } from './replication-controller.ts';
import { resourceQuotaKind } from './resource-quota.ts';
import { clusterRoleBindingKind, clusterRoleKind, roleBindingKind, roleKind } from './roles.ts';
import { runtimeClassKind } from './runtime-class.ts';
import { secretKind } from './secret.ts';
import { serviceKind } from './service.ts';
import { serviceAccountKind } from './service-account.ts';
import { statefulSetKind } from './stateful-set.ts';
import { storageClassKind } from './storage-class.ts';
import { validatingAdmissionPolicyBindingKind, validatingAdmissionPolicyKind } from './validating-admission-policy.ts';
import { volumeAttachmentKind } from './volume-attachment.ts';
import { mutatingWebhookConfigurationKind, validatingWebhookConfigurationKind } from './webhook-configuration.ts';

export const builtinKinds: readonly KindDefinition[] = [
  namespaceKind,
  nodeKind,
  podKind,
  serviceKind,
  configMapKind,
  secretKind,
  serviceAccountKind,
  eventKind,
  replicationControllerKind,
  podTemplateKind,
  endpointsKind,
  limitRangeKind,
  resourceQuotaKind,
  persistentVolumeKind,
  persistentVolumeClaimKind,
  componentStatusKind,
  replicaSetKind,
  deploymentKind,
  statefulSetKind,
  daemonSetKind,
  controllerRevisionKind,
  jobKind,
  cronJobKind,
  horizontalPodAutoscalerKind,
  horizontalPodAutoscalerV1Kind,
  podDisruptionBudgetKind,
  priorityClassKind,
  storageClassKind,
  csiDriverKind,
  csiNodeKind,
  csiStorageCapacityKind,
  volumeAttachmentKind,
  apiServiceKind,
  flowSchemaKind,
  priorityLevelConfigurationKind,
  networkPolicyKind,
  ingressKind,
  ingressClassKind,
  roleKind,
  roleBindingKind,
  clusterRoleKind,
  clusterRoleBindingKind,
  runtimeClassKind,
  certificateSigningRequestKind,
  endpointSliceKind,
  leaseKind,
  eventsEventKind,
  customResourceDefinitionKind,
  mutatingWebhookConfigurationKind,
  validatingWebhookConfigurationKind,
  validatingAdmissionPolicyKind,
  validatingAdmissionPolicyBindingKind,
  nodeMetricsKind,
  podMetricsKind,
];
