/**
 * What a node's writes may contain (Kubernetes "Using Node Authorization", NodeRestriction): a node that is taken over must
 * not draw other pods to itself, or give itself what its own pods do not have.
 */
import { volumeFinalizer, volumeMade } from '../../kinds/local-volume.ts';
import {
  csiNodes,
  leases,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  serviceAccounts,
} from '../../kinds/resources.ts';
import type { Node, PersistentVolumeClaim, Pod } from '../../kinds/types/core.ts';
import { isDeepStrictEqual } from 'node:util';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { nodeOf } from '../node-rights.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

const MIRROR = 'kubernetes.io/config.mirror';
const RESTRICTED_PREFIX = 'node-restriction.kubernetes.io/';
/** Labels of these domains are Kubernetes' own: a node sets only those that are known. */
const OWN_DOMAINS = /(^|\.)(kubernetes\.io|k8s\.io)$/;
const KNOWN_LABELS = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/arch',
  'kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
]);

export function nodeRestriction(_core: Core): AdmissionPlugin {
  return {
    name: 'NodeRestriction',
    validate(request) {
      const node = request.user === undefined ? undefined : nodeOf(request.user);
      if (node === undefined) return;
      if (isKind(request, nodes) || isKind(request, nodes, 'status')) checkNode(request, node);
      else if (isKind(request, leases)) checkLease(request, node);
      else if (isKind(request, csiNodes)) checkCsiNode(request, node);
      else if (isKind(request, pods)) checkPod(request, node);
      else if (isKind(request, pods, 'status')) checkPodStatus(request, node);
      else if (isKind(request, persistentVolumes)) checkVolume(request, node);
      else if (isKind(request, persistentVolumeClaims, 'status')) checkClaimStatus(request, node);
      else if (isKind(request, serviceAccounts, 'token')) return;
    },
  };
}

function refuse(request: AdmissionRequest, node: string, why: string) {
  return forbidden(request.kind, request.name, `node ${JSON.stringify(node)} ${why}`);
}

function checkNode(request: AdmissionRequest, node: string): void {
  if (request.name !== node)
    throw refuse(request, node, `is not allowed to modify node ${JSON.stringify(request.name)}`);
  if (request.operation === 'DELETE') throw refuse(request, node, 'is not allowed to delete nodes');
  const now = request.object as Node;
  const old = request.old as Node | undefined;
  if (now.spec?.configSource !== undefined && !isDeepStrictEqual(now.spec.configSource, old?.spec?.configSource))
    throw refuse(request, node, 'is not allowed to create pods with a non-nil configSource');
  if (
    old !== undefined &&
    request.subresource === '' &&
    !isDeepStrictEqual(now.spec?.taints ?? [], old.spec?.taints ?? [])
  )
    throw refuse(request, node, 'is not allowed to modify taints');
  const changed = changedLabels(now.metadata.labels ?? {}, old?.metadata.labels ?? {}).filter(forbiddenLabel);
  if (changed.length > 0)
    throw refuse(
      request,
      node,
      `is not allowed to ${old === undefined ? 'set' : 'modify'} the following labels: ${changed.sort().join(', ')}`,
    );
}

function changedLabels(now: Record<string, string>, old: Record<string, string>): string[] {
  return [...new Set([...Object.keys(now), ...Object.keys(old)])].filter((key) => now[key] !== old[key]);
}

function forbiddenLabel(key: string): boolean {
  const domain = key.includes('/') ? key.slice(0, key.indexOf('/')) : '';
  if (`${domain}/` === RESTRICTED_PREFIX || domain.endsWith(`.${RESTRICTED_PREFIX.slice(0, -1)}`)) return true;
  if (!OWN_DOMAINS.test(domain) || KNOWN_LABELS.has(key)) return false;
  return !/(^|\.)(kubelet|node)\.kubernetes\.io$/.test(domain);
}

function checkLease(request: AdmissionRequest, node: string): void {
  if (request.namespace !== 'kube-node-lease')
    throw forbidden(request.kind, request.name, 'can only access leases in the "kube-node-lease" system namespace');
  if (request.name !== node)
    throw forbidden(request.kind, request.name, 'can only access node lease with the same name as the requesting node');
}

function checkCsiNode(request: AdmissionRequest, node: string): void {
  if (request.name !== node)
    throw forbidden(request.kind, request.name, 'can only access CSINode with the same name as the requesting node');
}

/** A node makes only the mirrors of its own static pods, and those get nothing from the API. */
function checkPod(request: AdmissionRequest, node: string): void {
  const pod = request.object as Pod;
  if (request.operation === 'DELETE') {
    if (pod.spec?.nodeName !== node)
      throw refuse(request, node, 'can only delete pods with spec.nodeName set to itself');
    return;
  }
  if (request.operation !== 'CREATE') throw refuse(request, node, 'is not allowed to change pods');
  if (pod.metadata.annotations?.[MIRROR] === undefined)
    throw forbidden(
      request.kind,
      request.name,
      `pod does not have "${MIRROR}" annotation, node ${JSON.stringify(node)} can only create mirror pods`,
    );
  if (pod.spec?.nodeName !== node) throw refuse(request, node, 'can only create pods with spec.nodeName set to itself');
  if (pod.spec.serviceAccountName) throw refuse(request, node, 'can not create pods that reference a service account');
  const text = JSON.stringify(pod.spec);
  for (const [reference, what] of [
    ['secretRef', 'secrets'],
    ['secretKeyRef', 'secrets'],
    ['secretName', 'secrets'],
    ['configMapRef', 'configmaps'],
    ['configMapKeyRef', 'configmaps'],
    ['configMap', 'configmaps'],
    ['persistentVolumeClaim', 'persistentvolumeclaims'],
    ['nodePublishSecretRef', 'secrets'],
  ])
    if (text.includes(`"${reference}":`)) throw refuse(request, node, `can not create pods that reference ${what}`);
}

function checkPodStatus(request: AdmissionRequest, node: string): void {
  const [pod, old] = [request.object as Pod, request.old as Pod | undefined];
  if (old?.spec?.nodeName !== node)
    throw refuse(request, node, 'can only update pod status for pods with spec.nodeName set to itself');
  if (!isDeepStrictEqual(pod.metadata.labels ?? {}, old.metadata.labels ?? {}))
    throw refuse(request, node, 'cannot update labels through pod status');
}

/** Of a volume on its disk a node says that it made it, and, when it is deleted, that it is gone: nothing else. */
function checkVolume(request: AdmissionRequest, node: string): void {
  const rest = ({ metadata, ...object }: AdmissionRequest['object']) => ({
    ...object,
    metadata: {
      ...metadata,
      managedFields: [],
      resourceVersion: '',
      finalizers: metadata.finalizers?.filter((one) => one !== volumeFinalizer) ?? [],
      annotations: { ...metadata.annotations, [volumeMade]: 'true' },
    },
  });
  const { object, old } = request;
  const added =
    object.metadata.finalizers?.includes(volumeFinalizer) && !old?.metadata.finalizers?.includes(volumeFinalizer);
  if (request.operation !== 'UPDATE' || old === undefined || added || !isDeepStrictEqual(rest(object), rest(old)))
    throw refuse(
      request,
      node,
      `may of persistentvolumes only set the annotation "${volumeMade}" and take away the finalizer "${volumeFinalizer}"`,
    );
}

/** Of claims a node says how far their growth is. */
function checkClaimStatus(request: AdmissionRequest, node: string): void {
  const rest = ({ metadata, spec, status }: PersistentVolumeClaim) => [
    { ...metadata, managedFields: [], resourceVersion: '' },
    spec,
    {
      ...status,
      capacity: {},
      conditions: [],
      allocatedResources: {},
      allocatedResourceStatuses: {},
    },
  ];
  const [now, old] = [request.object as PersistentVolumeClaim, request.old as PersistentVolumeClaim];
  if (!isDeepStrictEqual(rest(now), rest(old)))
    throw refuse(
      request,
      node,
      'is not allowed to update fields other than status.quantity and status.conditions of a persistentvolumeclaim',
    );
}
