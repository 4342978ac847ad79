/**
 * What a node may do: its own Node and Lease, the pods bound to it, and the ConfigMaps, Secrets and ServiceAccounts that
 * those pods name. It may neither see nor change another node's.
 */
import { configMaps, pods, secrets } from '../kinds/resources.ts';
import { parseFieldSelector } from '../kinds/selector.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { Access } from './authorize.ts';
import { kindPrefix, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import type { User } from './exchange.ts';

const NODE_USER = 'system:node:';

export function nodeMay(core: Core, user: User, access: Access, query: URLSearchParams): boolean {
  if (!user.name.startsWith(NODE_USER)) return false;
  const node = user.name.slice(NODE_USER.length);
  const { group, resource, subresource, verb, name, namespace } = access;
  if (group === '' && resource === 'nodes') {
    if (verb === 'create') return subresource === '';
    return name === node && ['update', 'patch'].includes(verb) && (subresource === '' || subresource === 'status');
  }
  if (group === 'coordination.k8s.io' && resource === 'leases') {
    if (namespace !== 'kube-node-lease') return false;
    // A create names its object in its body only; the name is compared by `nodeMayCreate`.
    if (verb === 'create') return true;
    return name === node && ['get', 'update', 'patch', 'delete', 'watch'].includes(verb);
  }
  if (group !== '') return false;
  if (resource === 'pods') return podsMay(core, node, access, query);
  if ((resource === 'configmaps' || resource === 'secrets') && subresource === '') {
    const wanted = name !== '' ? name : equalTo(query, 'metadata.name');
    if (!['get', 'list', 'watch'].includes(verb) || wanted === undefined || namespace === '') return false;
    return podsOf(core, node, namespace).some((pod) => names(pod, resource, wanted));
  }
  return false;
}

/** A node's create names only itself. */
export function nodeMayCreate(user: User, resource: string, name: string): boolean {
  if (!user.groups.includes('system:nodes') || user.groups.includes('system:masters')) return true;
  if (resource !== 'nodes' && resource !== 'leases') return true;
  return name === user.name.slice(NODE_USER.length);
}

function podsMay(
  core: Core,
  node: string,
  { verb, name, namespace, subresource }: Access,
  query: URLSearchParams,
): boolean {
  if (name === '') return (verb === 'list' || verb === 'watch') && equalTo(query, 'spec.nodeName') === node;
  const bound = core.cache.resource(kindPrefix(pods)).objects.get(`${kindPrefix(pods)}${namespace}/${name}`);
  const mine = bound?.fields['spec.nodeName'] === node;
  if (!mine) return verb === 'get' && bound === undefined;
  if (subresource === 'status') return ['get', 'update', 'patch'].includes(verb);
  return subresource === '' && ['get', 'watch', 'delete'].includes(verb);
}

function equalTo(query: URLSearchParams, path: string): string | undefined {
  try {
    return parseFieldSelector(query.get('fieldSelector') ?? '').find((one) => one.path === path && one.equals)?.value;
  } catch {
    // A malformed selector selects nothing; the verb itself will say what is wrong with it.
    return undefined;
  }
}

function podsOf(core: Core, node: string, namespace: string): Pod[] {
  const found: Pod[] = [];
  for (const object of core.cache.resource(kindPrefix(pods)).list(namespace))
    if (object.fields['spec.nodeName'] === node) found.push(objectOf(object) as Pod);
  return found;
}

/** Does the pod refer to the object, in volumes, environment or pull secrets? */
function names(pod: Pod, resource: string, name: string): boolean {
  const spec = pod.spec;
  if (spec === undefined) return false;
  const config = resource === configMaps.resource;
  for (const volume of spec.volumes ?? []) {
    if ((config ? volume.configMap?.name : volume.secret?.secretName) === name) return true;
    for (const source of volume.projected?.sources ?? [])
      if ((config ? source.configMap?.name : source.secret?.name) === name) return true;
  }
  for (const container of [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])]) {
    for (const from of container.envFrom ?? [])
      if ((config ? from.configMapRef?.name : from.secretRef?.name) === name) return true;
    for (const { valueFrom } of container.env ?? [])
      if ((config ? valueFrom?.configMapKeyRef?.name : valueFrom?.secretKeyRef?.name) === name) return true;
  }
  return resource === secrets.resource && (spec.imagePullSecrets ?? []).some((one) => one.name === name);
}
