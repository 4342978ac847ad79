/** Generic ephemeral volumes: each pod gets a claim for each of them, which goes with the pod (its owner). */
import { ApiError, type Informer } from '../client/client.ts';
import { type EventRecorder, createEventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { persistentVolumeClaims, pods as podResource } from '../kinds/resources.ts';
import type { PersistentVolumeClaim, Pod, Volume } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { controllerOf, keyOf, openInformer, splitKey } from './objects.ts';

export function createEphemeralVolumes(): Controller {
  let pods: Informer<Pod>;
  let claims: Informer<PersistentVolumeClaim>;
  let recorder: EventRecorder;
  return {
    name: 'ephemeral-volume',
    async start(context, enqueue) {
      const onError = (error: unknown): void => context.log('warn', `ephemeral volumes: ${String(error)}`);
      recorder = createEventRecorder({ client: context.client, component: 'ephemeral_volume', onError });
      pods = openInformer(context, podResource);
      claims = openInformer(context, persistentVolumeClaims);
      pods.onChange((now) => {
        if (now && hasEphemeral(now)) enqueue(keyOf(now.metadata));
      });
      claims.onChange((now, old) => {
        const owner = old && controllerOf(old.metadata);
        if (!now && owner?.kind === 'Pod') enqueue(`${old?.metadata.namespace ?? ''}/${owner.name}`);
      });
      await Promise.all([pods.synced, claims.synced]);
      for (const pod of pods.list()) if (hasEphemeral(pod)) enqueue(keyOf(pod.metadata));
    },
    keys: () => pods.list().flatMap((pod) => (hasEphemeral(pod) ? [keyOf(pod.metadata)] : [])),
    async reconcile(key, context) {
      const { namespace, name } = splitKey(key);
      const pod = pods.get(name, namespace);
      if (!pod || pod.metadata.deletionTimestamp !== undefined) return;
      for (const volume of pod.spec?.volumes ?? []) {
        if (!volume.ephemeral) continue;
        const claim = claims.get(`${name}-${volume.name}`, namespace) ?? (await create(context, pod, volume));
        if (!claim || controllerOf(claim.metadata)?.uid === pod.metadata.uid) continue;
        const message = `ephemeral volume controller: PVC ${namespace}/${claim.metadata.name} was not created for pod ${key} (pod is not owner)`;
        recorder.record(
          { apiVersion: 'v1', kind: 'Pod', metadata: pod.metadata },
          { type: 'Warning', reason: 'FailedBinding', message },
        );
      }
    },
  };
}

function hasEphemeral({ spec }: Pod): boolean {
  return spec?.volumes?.some(({ ephemeral }) => ephemeral !== undefined) ?? false;
}

async function create(
  { client }: ControllerContext,
  pod: Stored<Pod>,
  { name, ephemeral }: Volume,
): Promise<Stored<PersistentVolumeClaim> | undefined> {
  const template = ephemeral?.volumeClaimTemplate;
  if (template === undefined) return undefined;
  const { annotations, labels } = template.metadata ?? {};
  const { namespace = '', uid } = pod.metadata;
  const claimName = `${pod.metadata.name}-${name}`;
  const owner = {
    apiVersion: 'v1',
    kind: 'Pod',
    name: pod.metadata.name,
    uid,
    controller: true,
    blockOwnerDeletion: true,
  };
  try {
    return await client.create(persistentVolumeClaims, {
      metadata: {
        name: claimName,
        namespace,
        ...(annotations && { annotations }),
        ...(labels && { labels }),
        ownerReferences: [owner],
      },
      spec: template.spec,
    });
  } catch (error) {
    if (error instanceof ApiError && error.reason === 'AlreadyExists')
      return await client.get(persistentVolumeClaims, claimName, namespace);
    throw error;
  }
}
