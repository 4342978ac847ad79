/** Every controller of the server, for the composition root. */
import { type AutoscalerOptions, createAutoscalerController } from './autoscaler.ts';
import { createBootstrapTokenCleaner } from './bootstrap-token-cleaner.ts';
import { type CertificateRequestOptions, createCertificateRequests } from './certificate-requests.ts';
import { createClusterRoleAggregation } from './cluster-role-aggregation.ts';
import { createClusterDns } from './cluster-dns.ts';
import type { Controller } from './controller.ts';
import { createCronJobController } from './cron-job.ts';
import { createDaemonSetController } from './daemon-set.ts';
import { createDefaultStorageClass } from './default-storage-class.ts';
import { createDeploymentController } from './deployment.ts';
import { createDisruptionController } from './disruption.ts';
import { createEndpointSliceController } from './endpoint-slice.ts';
import { createEndpointSliceMirroring } from './endpoint-slice-mirroring.ts';
import { createEndpointsController } from './endpoints.ts';
import { createEphemeralVolumes } from './ephemeral-volume.ts';
import { createEventExpiry } from './event-expiry.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { createJobController } from './job.ts';
import { createJobTtl } from './job-ttl.ts';
import { createLoadBalancerController } from './load-balancer.ts';
import { createNamespaceController } from './namespace.ts';
import { createNodeIpamController, type NodeIpamOptions } from './node-ipam.ts';
import { createNodeLifecycleController, type NodeLifecycleOptions } from './node-lifecycle.ts';
import { createPodCollector } from './pod-collector.ts';
import { createPolicyTypeChecking } from './policy-type-checking.ts';
import { createReplicaSetController, createReplicationController } from './replica-set.ts';
import { createResourceQuotaController } from './resource-quota.ts';
import { createRootCaPublisher } from './root-ca.ts';
import { createClaimProtection, createVolumeProtection } from './storage-protection.ts';
import { createStatefulSetController } from './stateful-set.ts';
import { createServiceAccountController } from './service-account.ts';
import { createServiceAccountTokens, type TokenSigner } from './service-account-token.ts';
import { createTaintEviction } from './taint-eviction.ts';
import { createVolumeAttachments } from './volume-attach.ts';
import { createVolumeBinder } from './volume-binder.ts';
import { createVolumeExpansion } from './volume-expand.ts';
import { createVolumeProvisioner } from './volume-provisioner.ts';
import { createVolumesAttached } from './volumes-attached.ts';

export interface ControllerOptions {
  /** Where the server gives out service account tokens: what signs those that a Secret holds, and the authority to trust. */
  tokens?: TokenSigner;
  /** Where nodes join by themselves: their ranges. */
  nodeRanges?: NodeIpamOptions;
  /** Where the server has the authority: who signs certificates, of nodes too. */
  certificates?: CertificateRequestOptions;
  nodeLifecycle?: NodeLifecycleOptions;
  autoscaler?: AutoscalerOptions;
  /** CIDRs that load balancers get their addresses from. */
  loadBalancerPool?: readonly string[];
  /** The address at which pods ask for names. */
  clusterDns?: string;
}

export function allControllers(options: ControllerOptions = {}): Controller[] {
  const { tokens, nodeRanges, certificates, nodeLifecycle, autoscaler, clusterDns, loadBalancerPool = [] } = options;
  return [
    createReplicaSetController(),
    createReplicationController(),
    createDeploymentController(),
    createStatefulSetController(),
    createDaemonSetController(),
    createJobController(),
    createJobTtl(),
    createCronJobController(),
    createDisruptionController(),
    createAutoscalerController(autoscaler),
    createEndpointSliceController(),
    createEndpointSliceMirroring(),
    createEndpointsController(),
    createLoadBalancerController(loadBalancerPool),
    createNamespaceController(),
    createServiceAccountController(),
    ...(tokens === undefined ? [] : [createServiceAccountTokens(tokens), createRootCaPublisher(tokens.ca)]),
    ...(clusterDns === undefined ? [] : [createClusterDns(clusterDns)]),
    createClusterRoleAggregation(),
    createResourceQuotaController(),
    createPolicyTypeChecking(),
    createGarbageCollector(),
    ...(nodeRanges === undefined ? [] : [createNodeIpamController(nodeRanges)]),
    ...(certificates === undefined ? [] : [createCertificateRequests(certificates), createBootstrapTokenCleaner()]),
    createNodeLifecycleController(nodeLifecycle),
    createTaintEviction(),
    createPodCollector(),
    ...storageControllers(),
    createEventExpiry(),
  ];
}

/** Claims and what they are bound to. They need each other: what one writes the next waits for. */
export function storageControllers(): Controller[] {
  return [
    createDefaultStorageClass(),
    createVolumeBinder(),
    createVolumeProvisioner(),
    createVolumeExpansion(),
    createVolumeAttachments(),
    createVolumesAttached(),
    createEphemeralVolumes(),
    createClaimProtection(),
    createVolumeProtection(),
  ];
}
