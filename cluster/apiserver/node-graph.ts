/**
 * Which node needs which objects: the Secrets, ConfigMaps, ServiceAccounts and claims that the pods bound to it name. Kept up
 * to date by the watch cache, so that a node's read is one look-up.
 */
import type { ApiObject } from '../kinds/kind.ts';
import { pods } from '../kinds/resources.ts';
import type { Pod } from '../kinds/types/core.ts';
import { type Cache, type CachedObject, kindPrefix, objectOf } from './cache.ts';

export class NodeGraph {
  /** By node and `resource/namespace/name`: how many pods name it. */
  private readonly needs = new Map<string, Map<string, number>>();
  private readonly ofPod = new Map<string, { node: string; uid: string; names: string[] }>();

  /** Call when the cache is filled. */
  constructor(cache: Cache) {
    const resource = cache.resource(kindPrefix(pods));
    for (const object of resource.objects.values()) this.put(object, false);
    resource.listeners.add(({ type, object, parsed }) => this.put(object, type === 'delete', parsed));
  }

  needsObject(node: string, resource: string, namespace: string, name: string): boolean {
    return this.needs.get(node)?.has(`${resource}/${namespace}/${name}`) === true;
  }

  private put(object: CachedObject, gone: boolean, parsed?: ApiObject): void {
    const before = this.ofPod.get(object.key);
    const node = gone ? undefined : object.fields['spec.nodeName'];
    if (before === undefined && node === undefined) return;
    if (before !== undefined) this.count(before.node, before.names, -1);
    this.ofPod.delete(object.key);
    if (node === undefined) return;
    const pod = (parsed ?? objectOf(object)) as Pod;
    const names = namesIn(pod);
    this.ofPod.set(object.key, { node, uid: pod.metadata.uid ?? '', names });
    this.count(node, names, 1);
  }

  private count(node: string, names: string[], by: number): void {
    const needs = this.needs.get(node) ?? new Map<string, number>();
    this.needs.set(node, needs);
    for (const name of names) {
      const now = (needs.get(name) ?? 0) + by;
      if (now > 0) needs.set(name, now);
      else needs.delete(name);
    }
    if (needs.size === 0) this.needs.delete(node);
  }
}

/** What the pod names, as `resource/namespace/name`, each once. */
function namesIn(pod: Pod): string[] {
  const { spec } = pod;
  const found = new Set<string>();
  const namespace = pod.metadata.namespace ?? '';
  const add = (resource: string, name: string | undefined) => {
    if (name) found.add(`${resource}/${namespace}/${name}`);
  };
  if (spec === undefined) return [];
  add('serviceaccounts', spec.serviceAccountName);
  for (const { name } of spec.imagePullSecrets ?? []) add('secrets', name);
  for (const volume of spec.volumes ?? []) {
    add('configmaps', volume.configMap?.name);
    add('secrets', volume.secret?.secretName);
    add('secrets', volume.csi?.nodePublishSecretRef?.name);
    add('persistentvolumeclaims', volume.persistentVolumeClaim?.claimName);
    if (volume.ephemeral !== undefined) add('persistentvolumeclaims', `${pod.metadata.name}-${volume.name}`);
    for (const source of volume.projected?.sources ?? []) {
      add('configmaps', source.configMap?.name);
      add('secrets', source.secret?.name);
    }
  }
  for (const container of [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])]) {
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      add('configmaps', configMapRef?.name);
      add('secrets', secretRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add('configmaps', valueFrom?.configMapKeyRef?.name);
      add('secrets', valueFrom?.secretKeyRef?.name);
    }
  }
  return [...found];
}
