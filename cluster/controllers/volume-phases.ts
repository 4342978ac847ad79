/** What the binder does for one volume: its phase follows its claim. */
import { orUndefined } from '../client/api-errors.ts';
import type { Stored } from '../kinds/kind.ts';
import { persistentVolumeClaims } from '../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../kinds/types/core.ts';
import { boundByController } from '../kinds/volume-match.ts';
import { type VolumeRoom, setVolumeStatus, tell, updateVolume } from './volume-writes.ts';

type Volume = Stored<PersistentVolume>;

export const provisionedBy = 'pv.kubernetes.io/provisioned-by';

export async function syncVolume(room: VolumeRoom, volume: Volume): Promise<void> {
  const reference = volume.spec?.claimRef;
  // Without a uid it waits for the claim that it was reserved for.
  if (reference === undefined || !reference.uid)
    return void (await setVolumeStatus(room, volume, { phase: 'Available' }));
  const claim = await claimOf(room, reference.namespace ?? '', reference.name ?? '');
  if (claim?.metadata.uid !== reference.uid) return await release(room, volume);
  const chosen = claim.spec?.volumeName;
  if (chosen === volume.metadata.name) return void (await setVolumeStatus(room, volume, { phase: 'Bound' }));
  // A claim that has not chosen yet is about to: it is looked at when its volume changes.
  if (!chosen) return;
  if (volume.metadata.annotations?.[provisionedBy] !== undefined && reclaims(volume))
    return await release(room, volume);
  await unreserve(room, volume);
}

/** What the informer does not show yet is not gone. */
async function claimOf(
  { claims, context }: VolumeRoom,
  namespace: string,
  name: string,
): Promise<Stored<PersistentVolumeClaim> | undefined> {
  const shown = claims.get(name, namespace);
  if (shown !== undefined) return shown;
  return await orUndefined(context.client.get(persistentVolumeClaims, name, namespace));
}

/** Its claim is gone: it is kept, or deleted by who provisioned it. */
async function release(room: VolumeRoom, volume: Volume): Promise<void> {
  const { phase } = volume.status ?? {};
  const released = phase === 'Failed' ? volume : await setVolumeStatus(room, volume, { phase: 'Released' });
  const { persistentVolumeReclaimPolicy: policy } = volume.spec ?? {};
  if (policy === 'Retain' || volume.metadata.annotations?.[provisionedBy] !== undefined || phase === 'Failed') return;
  const name = volume.metadata.name;
  const [reason, message] =
    policy === 'Recycle'
      ? ['VolumeFailedRecycle', 'No recycler plugin found for the volume!']
      : [
          'VolumeFailedDelete',
          `error getting deleter volume plugin for volume "${name}": no deletable volume plugin matched`,
        ];
  tell(room, volume, 'Warning', reason, message);
  await setVolumeStatus(room, released, { phase: 'Failed', message });
}

function reclaims({ spec }: Volume): boolean {
  return spec?.persistentVolumeReclaimPolicy === 'Delete';
}

/** The claim went with another volume: this one is free again, but for what its user reserved it for. */
async function unreserve(room: VolumeRoom, volume: Volume): Promise<void> {
  const { [boundByController]: byUs, ...annotations } = volume.metadata.annotations ?? {};
  const { claimRef, ...spec } = volume.spec ?? {};
  const { uid: _uid, resourceVersion: _version, ...byHand } = claimRef ?? {};
  const free = await updateVolume(room, {
    ...volume,
    metadata: { ...volume.metadata, annotations },
    spec: byUs === undefined ? { ...spec, claimRef: byHand } : spec,
  });
  await setVolumeStatus(room, free, { phase: 'Available' });
}
