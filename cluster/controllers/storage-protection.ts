/**
 * What is used is not deleted: claims while a pod that has a node names them, volumes while they are bound (Kubernetes "Storage
 * Object in Use Protection"). Admission sets the finalizers; objects from before it did get them here.
 */
import { ApiError, type ClientObject, type Informer } from '../client/client.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { persistentVolumeClaims, persistentVolumes, pods as podResource } from '../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '../kinds/types/core.ts';
import { claimNameOf } from '../kinds/volume-match.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { keyOf, openInformer, splitKey } from './objects.ts';

const claimFinalizer = 'kubernetes.io/pvc-protection';
const volumeFinalizer = 'kubernetes.io/pv-protection';

export function createClaimProtection(): Controller {
  let claims: Informer<PersistentVolumeClaim>;
  let pods: Informer<Pod>;
  return {
    name: 'pvc-protection',
    async start(context, enqueue) {
      claims = openInformer(context, persistentVolumeClaims);
      pods = openInformer(context, podResource, { claims: (pod) => (pod.spec?.nodeName ? claimsOf(pod) : []) });
      claims.onChange((now) => {
        if (now) enqueue(keyOf(now.metadata));
      });
      pods.onChange((now, old) => {
        // Only the end of a use lets a claim go.
        if (!now && old) for (const key of claimsOf(old)) enqueue(key);
      });
      await Promise.all([claims.synced, pods.synced]);
      for (const { metadata } of claims.list()) enqueue(keyOf(metadata));
    },
    keys: () => claims.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, context) {
      const { namespace, name } = splitKey(key);
      const claim = claims.get(name, namespace);
      if (!claim) return;
      // A pod that its informer does not show yet uses it too: the claim was looked at later than the pod was written.
      const isUsed = async (): Promise<boolean> =>
        pods.byIndex('claims', key).length > 0 || (await isUsedNow(context, namespace, key));
      await settle(context, persistentVolumeClaims, claim, claimFinalizer, isUsed);
    },
  };
}

export function createVolumeProtection(): Controller {
  let volumes: Informer<PersistentVolume>;
  return {
    name: 'pv-protection',
    async start(context, enqueue) {
      volumes = openInformer(context, persistentVolumes);
      volumes.onChange((now) => {
        if (now) enqueue(now.metadata.name);
      });
      await volumes.synced;
      for (const { metadata } of volumes.list()) enqueue(metadata.name);
    },
    keys: () => volumes.list().map(({ metadata }) => metadata.name),
    async reconcile(name, context) {
      const volume = volumes.get(name);
      if (volume)
        await settle(context, persistentVolumes, volume, volumeFinalizer, async () => volume.status?.phase === 'Bound');
    },
  };
}

async function isUsedNow({ client }: ControllerContext, namespace: string, key: string): Promise<boolean> {
  const { items } = await client.list(podResource, { namespace });
  return items.some((pod) => pod.spec?.nodeName && claimsOf(pod).includes(key));
}

async function settle<T extends ClientObject>(
  { client }: ControllerContext,
  resource: TypedResource<T>,
  object: Stored<T>,
  finalizer: string,
  isUsed: () => Promise<boolean>,
): Promise<void> {
  const { name, namespace, uid, resourceVersion, deletionTimestamp, finalizers = [] } = object.metadata;
  const isDeleted = deletionTimestamp !== undefined;
  const isHeld = finalizers.includes(finalizer);
  if (isDeleted !== isHeld || (isDeleted && (await isUsed()))) return;
  const wanted = isDeleted ? finalizers.filter((one) => one !== finalizer) : [...finalizers, finalizer];
  const body = { metadata: { uid, resourceVersion, finalizers: wanted } };
  try {
    await client.patch(resource, name, { type: 'merge', body }, namespace === undefined ? {} : { namespace });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

/** Keys of the claims that a pod uses. */
function claimsOf({ metadata, spec }: Stored<Pod>): string[] {
  return (spec?.volumes ?? []).flatMap((volume) => {
    const claim = claimNameOf(metadata.name, volume);
    return claim === undefined ? [] : [`${metadata.namespace ?? ''}/${claim}`];
  });
}
