/**
 * Claims that ask for more than they have: the PersistentVolume of our own provisioner is made larger, and the claim says that its
 * file system still is to grow. The node does that, at once where a pod uses it, else when one does, and says so in the claim.
 */
import type { Informer } from '../client/client.ts';
import { type EventRecorder, createEventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { localProvisioner } from '../kinds/local-volume.ts';
import { persistentVolumeClaims, persistentVolumes } from '../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../kinds/types/core.ts';
import { requestOf, sizeOf } from '../kinds/volume-match.ts';
import { quantityValue } from '../kinds/quantity.ts';
import type { Controller } from './controller.ts';
import { keyOf, openInformer, splitKey, timestamp } from './objects.ts';
import { provisionedBy } from './volume-phases.ts';

const PENDING = 'FileSystemResizePending';

export function createVolumeExpansion(): Controller {
  let claims: Informer<PersistentVolumeClaim>;
  let volumes: Informer<PersistentVolume>;
  let recorder: EventRecorder;
  return {
    name: 'volume-expand',
    async start(context, enqueue) {
      const onError = (error: unknown): void => context.log('warn', `volume expansion: ${String(error)}`);
      recorder = createEventRecorder({ client: context.client, component: 'volume_expand', onError });
      claims = openInformer(context, persistentVolumeClaims);
      volumes = openInformer(context, persistentVolumes);
      claims.onChange((now) => {
        if (now && asksForMore(now)) enqueue(keyOf(now.metadata));
      });
      await Promise.all([claims.synced, volumes.synced]);
      for (const claim of claims.list()) if (asksForMore(claim)) enqueue(keyOf(claim.metadata));
    },
    keys: () => claims.list().flatMap((claim) => (asksForMore(claim) ? [keyOf(claim.metadata)] : [])),
    async reconcile(key, { client, now }) {
      const { namespace, name } = splitKey(key);
      const claim = claims.get(name, namespace);
      const volume = claim && volumes.get(claim.spec?.volumeName ?? '');
      if (!claim || !volume || !asksForMore(claim)) return;
      if (volume.metadata.annotations?.[provisionedBy] !== localProvisioner) {
        const message = 'waiting for an external controller to expand this PVC';
        const object = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: claim.metadata };
        recorder.record(object, { type: 'Normal', reason: 'ExternalExpanding', message });
        return;
      }
      // First what the claim waits for, then what wakes the node: it may be done before this is.
      if (!claim.status?.conditions?.some(({ type }) => type === PENDING)) {
        const condition = {
          type: PENDING,
          status: 'True',
          message: 'Waiting for user to (re-)start a pod to finish file system resize of volume on node.',
          lastTransitionTime: timestamp(now()),
        };
        const conditions = [...(claim.status?.conditions ?? []), condition];
        await client.updateStatus(persistentVolumeClaims, { ...claim, status: { ...claim.status, conditions } });
      }
      if (sizeOf(volume) >= requestOf(claim)) return;
      const storage = claim.spec?.resources?.requests?.['storage'];
      const body = { metadata: { resourceVersion: volume.metadata.resourceVersion }, spec: { capacity: { storage } } };
      await client.patch(persistentVolumes, volume.metadata.name, { type: 'merge', body });
    },
  };
}

function asksForMore({ status, ...claim }: Stored<PersistentVolumeClaim>): boolean {
  const has = status?.capacity?.['storage'];
  return status?.phase === 'Bound' && has !== undefined && requestOf(claim) > quantityValue(has);
}
