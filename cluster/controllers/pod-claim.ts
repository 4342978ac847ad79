/** Which pods belong to a controller's object: adopts those without an owner that match, lets go of own ones that match no more. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { pods as podResource } from '../kinds/resources.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { LabelSelector } from '../kinds/types/meta.ts';
import { isActive } from './objects.ts';
import { type PodOwner, referenceTo } from './pod-control.ts';

interface Claim {
  client: Client;
  pods: Informer<Pod>;
  owner: PodOwner;
  selector: LabelSelector | undefined;
  /** What a pod has for as long as it is the owner's. */
  finalizer?: string | undefined;
  /** Of an orphan that matches: is it one to take? Default: every one that has not ended. */
  adopts?: (pod: Stored<Pod>) => boolean;
}

/** False where the pod is gone, or another under its name: not ours to change any more. */
async function changeOwners(client: Client, pod: Stored<Pod>, change: Record<string, unknown[]>): Promise<boolean> {
  const lists = Object.entries(change).map(([name, list]) => [name, list.length > 0 ? list : null]);
  const { uid, resourceVersion } = pod.metadata;
  const body = { metadata: { uid, resourceVersion, ...Object.fromEntries(lists) } };
  try {
    await client.patch(
      podResource,
      pod.metadata.name,
      { type: 'merge', body },
      { namespace: pod.metadata.namespace ?? '' },
    );
    return true;
  } catch (error) {
    if (error instanceof ApiError && (error.code === 404 || error.code === 422)) return false;
    throw error;
  }
}

export async function claimPods({ client, pods, owner, selector, finalizer, adopts }: Claim): Promise<Stored<Pod>[]> {
  const { uid, namespace = '', deletionTimestamp } = owner.metadata;
  const selects = (pod: Pod): boolean => selector !== undefined && matchesLabelSelector(selector, pod.metadata.labels);
  const owned = pods.byIndex('controller', uid);
  const ours = owned.filter(selects);
  if (deletionTimestamp !== undefined) return ours;
  for (const pod of owned) {
    if (ours.includes(pod) || pod.metadata.deletionTimestamp !== undefined) continue;
    const ownerReferences = pod.metadata.ownerReferences?.filter((reference) => reference.uid !== uid) ?? [];
    const finalizers = pod.metadata.finalizers?.filter((one) => one !== finalizer) ?? [];
    await changeOwners(client, pod, { ownerReferences, ...(finalizer !== undefined && { finalizers }) });
  }
  for (const pod of pods.byIndex('controller', `orphan:${namespace}`)) {
    if (!isActive(pod) || !selects(pod) || adopts?.(pod) === false) continue;
    const ownerReferences = [...(pod.metadata.ownerReferences ?? []), referenceTo(owner)];
    const finalizers = [...new Set([...(pod.metadata.finalizers ?? []), ...(finalizer ? [finalizer] : [])])];
    if (await changeOwners(client, pod, { ownerReferences, ...(finalizer !== undefined && { finalizers }) })) {
      ours.push(pod);
    }
  }
  return ours;
}
