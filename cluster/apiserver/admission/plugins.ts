/**
 * Every admission plugin, in the order in which they are asked: upstream's, so that what one sets the next sees. What counts
 * comes last, when nobody else can refuse any more.
 */
import type { Core } from '../core.ts';
import { newFlowSchema } from '../flow-control/dangling.ts';
import { certificates } from './certificates.ts';
import { defaultTolerationSeconds } from './default-toleration-seconds.ts';
import { defaultIngressClass, defaultStorageClass, runtimeClass } from './defaults.ts';
import { limitRanger } from './limit-ranger.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import { ownerReferences } from './owner-references.ts';
import type { AdmissionPlugin } from './plugin.ts';
import { type PodSecurityOptions, podSecurity } from './pod-security.ts';
import { priority } from './priority.ts';
import { resourceQuota } from './resource-quota.ts';
import { roleEscalation } from './role-escalation.ts';
import { serviceAccount } from './service-account.ts';
import { claimResize, storageObjectInUse } from './storage.ts';
import { taintNodes } from './taint-nodes.ts';
import { validatingPolicies } from './validating-policies.ts';
import { mutatingWebhooks, validatingWebhooks } from './webhooks.ts';

export interface AdmissionOptions {
  /** Present where the server gives out tokens: pods then get their account's. */
  serviceAccounts?: object;
  podSecurity?: PodSecurityOptions;
  /** Claims and volumes are held while they are used: something must let them go again. */
  protectStorage?: boolean;
  /** New nodes are tainted until they are ready: something must take that taint away again. */
  taintNewNodes?: boolean;
  /** How long a pod that does not say stays on a node that is gone; default 300 s. */
  defaultTolerationSeconds?: number;
}

export function admissionPlugins(core: Core, options: AdmissionOptions): AdmissionPlugin[] {
  return [
    namespaceLifecycle,
    limitRanger(core),
    ...(options.serviceAccounts === undefined ? [] : [serviceAccount(core)]),
    nodeRestriction(core),
    ...(options.taintNewNodes === true ? [taintNodes] : []),
    podSecurity(core, options.podSecurity ?? {}),
    priority(core),
    defaultTolerationSeconds(options.defaultTolerationSeconds ?? 300),
    defaultStorageClass(core),
    ...(options.protectStorage === true ? [storageObjectInUse] : []),
    ownerReferences(core),
    claimResize(core),
    runtimeClass(core),
    certificates(core),
    defaultIngressClass(core),
    newFlowSchema(core),
    roleEscalation(core),
    mutatingWebhooks(core),
    validatingPolicies(core),
    validatingWebhooks(core),
    resourceQuota(core),
  ];
}
