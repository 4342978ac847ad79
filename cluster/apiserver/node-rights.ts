/**
 * What a node may do: its own Node and Lease, the pods bound to it, and what those pods name. It may neither see nor change
 * another node's (Kubernetes "Using Node Authorization"). What its writes may contain is `admission/node-restriction.ts`'s.
 */
import { pods, volumeAttachments } from '../kinds/resources.ts';
import { volumeNodeLabel } from '../kinds/local-volume.ts';
import { parseFieldSelector } from '../kinds/selector.ts';
import type { PersistentVolume } from '../kinds/types/core.ts';
import type { VolumeAttachment } from '../kinds/types/storage.ts';
import type { Access } from './authorize.ts';
import { kindPrefix, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import type { User } from './exchange.ts';

const NODE_USER = 'system:node:';

/** The node that a user is, if it is one. */
export function nodeOf(user: User): string | undefined {
  return user.groups.includes('system:nodes') && user.name.startsWith(NODE_USER)
    ? user.name.slice(NODE_USER.length)
    : undefined;
}

export function nodeMay(core: Core, user: User, access: Access, query: URLSearchParams): boolean {
  const node = nodeOf(user);
  if (node === undefined) return false;
  const { group, resource, subresource, verb, name, namespace } = access;
  if (group === 'coordination.k8s.io' && resource === 'leases') {
    if (namespace !== 'kube-node-lease') return false;
    // A create names its object in its body only; the name is compared by admission.
    if (verb === 'create') return true;
    return name === node && ['get', 'update', 'patch', 'delete', 'watch'].includes(verb);
  }
  if (group === 'storage.k8s.io') return storageMay(core, node, access);
  if (group !== '') return false;
  switch (resource) {
    case 'nodes':
      if (verb === 'create') return subresource === '';
      return name === node && ['update', 'patch'].includes(verb) && (subresource === '' || subresource === 'status');
    case 'pods':
      return podsMay(core, node, access, query);
    case 'configmaps':
    case 'secrets': {
      if (subresource !== '' || name === '' || !['get', 'list', 'watch'].includes(verb)) return false;
      if (core.nodes.needsObject(node, resource, namespace, name)) return true;
      return resource === 'secrets' && verb === 'get' && volumeNeedsSecret(core, node, namespace, name);
    }
    case 'serviceaccounts':
      if (!(subresource === '' && verb === 'get') && !(subresource === 'token' && verb === 'create')) return false;
      return core.nodes.needsObject(node, resource, namespace, name);
    case 'persistentvolumeclaims': {
      if (name === '' || !core.nodes.needsObject(node, resource, namespace, name)) return false;
      if (subresource === '') return ['get', 'list', 'watch'].includes(verb);
      return subresource === 'status' && ['get', 'update', 'patch'].includes(verb);
    }
    case 'persistentvolumes':
      return subresource === '' && volumesMay(core, node, access, query);
    default:
      return false;
  }
}

function podsMay(
  core: Core,
  node: string,
  { verb, name, namespace, subresource }: Access,
  query: URLSearchParams,
): boolean {
  if (verb === 'create')
    return subresource === '' || (subresource === 'eviction' && isMine(core, node, namespace, name) === true);
  if ((verb === 'list' || verb === 'watch') && equalTo(query, 'spec.nodeName') === node) return true;
  if (name === '') return false;
  const mine = isMine(core, node, namespace, name);
  if (mine !== true) return verb === 'get' && subresource === '' && mine === undefined;
  if (subresource === 'status') return ['get', 'update', 'patch'].includes(verb);
  return subresource === '' && ['get', 'watch', 'delete'].includes(verb);
}

/** Is the pod bound to this node? Undefined when there is no such pod. */
export function isMine(core: Core, node: string, namespace: string, name: string): boolean | undefined {
  const prefix = kindPrefix(pods);
  const pod = core.cache.resource(prefix).objects.get(`${prefix}${namespace}/${name}`);
  return pod === undefined ? undefined : pod.fields['spec.nodeName'] === node;
}

/** Its own are those on its disk: it follows them, and lets them go when they are deleted. */
function volumesMay(core: Core, node: string, { verb, name }: Access, query: URLSearchParams): boolean {
  if (name === '')
    return (verb === 'list' || verb === 'watch') && query.get('labelSelector') === `${volumeNodeLabel}=${node}`;
  const prefix = kindPrefix({ group: '', resource: 'persistentvolumes' });
  const found = core.cache.resource(prefix).objects.get(prefix + name);
  if (found === undefined) return false;
  const volume = objectOf(found) as PersistentVolume;
  if (verb === 'patch') return volume.metadata.labels?.[volumeNodeLabel] === node;
  return verb === 'get' && needsVolume(core, node, volume);
}

/** Drivers, its own CSINode, and the attachments to it. */
function storageMay(core: Core, node: string, { resource, subresource, verb, name }: Access): boolean {
  if (subresource !== '') return false;
  switch (resource) {
    case 'csidrivers':
      return ['get', 'list', 'watch'].includes(verb);
    case 'csinodes':
      // A create names its object in its body only; the name is compared by admission.
      return verb === 'create' || (name === node && ['get', 'update', 'patch', 'delete'].includes(verb));
    case 'volumeattachments': {
      const prefix = kindPrefix(volumeAttachments);
      const found = core.cache.resource(prefix).objects.get(prefix + name);
      if (found === undefined || !['get', 'list', 'watch'].includes(verb)) return false;
      return (objectOf(found) as unknown as VolumeAttachment).spec.nodeName === node;
    }
    default:
      return false;
  }
}

/** Of a volume that a pod here has: what its driver is given on the node. */
function volumeNeedsSecret(core: Core, node: string, namespace: string, name: string): boolean {
  const prefix = kindPrefix({ group: '', resource: 'persistentvolumes' });
  for (const found of core.cache.resource(prefix).objects.values()) {
    const volume = objectOf(found) as PersistentVolume;
    const { nodeStageSecretRef, nodePublishSecretRef, nodeExpandSecretRef } = volume.spec?.csi ?? {};
    const isNamed = [nodeStageSecretRef, nodePublishSecretRef, nodeExpandSecretRef].some(
      (one) => one?.name === name && one.namespace === namespace,
    );
    if (isNamed && needsVolume(core, node, volume)) return true;
  }
  return false;
}

function needsVolume(core: Core, node: string, volume: PersistentVolume): boolean {
  const claim = volume.spec?.claimRef;
  return core.nodes.needsObject(node, 'persistentvolumeclaims', claim?.namespace ?? '', claim?.name ?? '');
}

/** What the field selector asks the field to be. */
export function equalTo(query: URLSearchParams, path: string): string | undefined {
  try {
    return parseFieldSelector(query.get('fieldSelector') ?? '').find((one) => one.path === path && one.equals)?.value;
  } catch {
    // A malformed selector selects nothing; the verb itself will say what is wrong with it.
    return undefined;
  }
}
