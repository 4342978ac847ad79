/** Small questions that several controllers ask of objects. */
import type { ObjectMeta, OwnerReference } from '../kinds/types/meta.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { Informer, ClientObject } from '../client/client.ts';
import { sharedInformer } from '../client/shared-informer.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import type { ControllerContext } from './controller.ts';

export function keyOf(metadata: ObjectMeta): string {
  return metadata.namespace ? `${metadata.namespace}/${metadata.name}` : (metadata.name ?? '');
}

export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, Math.max(0, slash)), name: key.slice(slash + 1) };
}

export function controllerOf(metadata: ObjectMeta): OwnerReference | undefined {
  return metadata.ownerReferences?.find((reference) => reference.controller);
}

/** Neither ended nor being deleted. */
export function isActive(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && !isFinished(pod);
}

export function isFinished(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Since when the pod has been ready, in milliseconds; undefined when it is not. */
export function readySince(pod: Pod): number | undefined {
  const ready = pod.status?.conditions?.find(({ type, status }) => type === 'Ready' && status === 'True');
  return ready && Date.parse(ready.lastTransitionTime ?? pod.metadata.creationTimestamp ?? '');
}

/** A shared informer that is closed with the controllers. */
export function openInformer<T extends ClientObject>(
  context: ControllerContext,
  resource: TypedResource<T>,
  indexes: Record<string, (object: Stored<T>) => string[]> = {},
): Informer<T> {
  const informer = sharedInformer(context.client, resource, indexes, (error) => {
    context.log('warn', `watch of ${resource.resource}: ${error instanceof Error ? error.message : String(error)}`);
  });
  context.signal.addEventListener('abort', () => informer.close(), { once: true });
  return informer;
}

/** Index of what a controller owns: `controllerIndex` holds owners' uids; objects without one are under `orphan:<namespace>`. */
export const controllerIndex = {
  controller: (object: { metadata: ObjectMeta }): string[] => [
    controllerOf(object.metadata)?.uid ?? `orphan:${object.metadata.namespace ?? ''}`,
  ],
};

/** Kubernetes' times have whole seconds. */
export function timestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** JSON equality that does not care about the order of fields or about absent against undefined ones. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((item, index) => sameJson(item, b[index]));
  }
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  for (const name of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (!sameJson(left[name], right[name])) return false;
  }
  return true;
}
