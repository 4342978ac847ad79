/** The writes of the volume binder, each seen by its informer before the next decision: nothing is promised twice. */
import type { Informer } from '../client/client.ts';
import type { EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { persistentVolumeClaims, persistentVolumes } from '../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../kinds/types/core.ts';
import type { StorageClass } from '../kinds/types/storage.ts';
import { bindCompleted, boundByController, reservedFor, sizeOf } from '../kinds/volume-match.ts';
import { quantityValue } from '../kinds/quantity.ts';
import type { ControllerContext } from './controller.ts';
import { sameJson, timestamp } from './objects.ts';

export interface VolumeRoom {
  context: ControllerContext;
  volumes: Informer<PersistentVolume>;
  claims: Informer<PersistentVolumeClaim>;
  classes: Informer<StorageClass>;
  recorder: EventRecorder;
}

type Volume = Stored<PersistentVolume>;
type Claim = Stored<PersistentVolumeClaim>;

/** Both sides, volume first: a binder that is killed between two of the four writes goes on where it was. */
export async function bind(room: VolumeRoom, volume: Volume, claim: Claim): Promise<void> {
  const reserved = await reserve(room, volume, claim);
  const bound = await setVolumeStatus(room, reserved, { phase: 'Bound' });
  const named = await nameVolume(room, claim, bound);
  await setClaimBound(room, named, bound);
}

async function reserve(room: VolumeRoom, volume: Volume, claim: Claim): Promise<Volume> {
  if (volume.spec?.claimRef?.uid === claim.metadata.uid) return volume;
  return await updateVolume(room, reservedFor(volume, claim));
}

async function nameVolume(room: VolumeRoom, claim: Claim, volume: Volume): Promise<Claim> {
  const { annotations = {} } = claim.metadata;
  const byUs: Record<string, string> = claim.spec?.volumeName ? {} : { [boundByController]: 'yes' };
  if (claim.spec?.volumeName === volume.metadata.name && annotations[bindCompleted] !== undefined) return claim;
  return await updateClaim(room, {
    ...claim,
    metadata: { ...claim.metadata, annotations: { ...annotations, ...byUs, [bindCompleted]: 'yes' } },
    spec: { ...claim.spec, volumeName: volume.metadata.name },
  });
}

/** The capacity is said when it becomes bound; from then on it grows when the file system has (see `volume-expand.ts`). */
async function setClaimBound(room: VolumeRoom, claim: Claim, volume: Volume): Promise<void> {
  const { phase, capacity } = claim.status ?? {};
  const storage = volume.spec?.capacity?.['storage'];
  const said = capacity?.['storage'];
  const isNews = phase !== 'Bound' && (said === undefined || quantityValue(said) !== sizeOf(volume));
  const size = isNews && storage !== undefined ? { storage } : capacity;
  await setClaimStatus(room, claim, {
    phase: 'Bound',
    accessModes: volume.spec?.accessModes ?? [],
    ...(size && { capacity: size }),
  });
}

export async function setClaimStatus(
  room: VolumeRoom,
  claim: Claim,
  change: NonNullable<PersistentVolumeClaim['status']>,
): Promise<void> {
  const status = { ...claim.status, ...change };
  if (sameJson(status, claim.status)) return;
  const { client, signal } = room.context;
  const written = await client.updateStatus(persistentVolumeClaims, { ...claim, status });
  await room.claims.reached(written.metadata.resourceVersion, signal);
}

export async function setVolumeStatus(
  room: VolumeRoom,
  volume: Volume,
  { phase, message }: { phase: string; message?: string },
): Promise<Volume> {
  // What others said of it in the same phase stays.
  if (volume.status?.phase === phase) return volume;
  const { client, signal, now } = room.context;
  const { message: _old, ...rest } = volume.status ?? {};
  const said = message === undefined ? {} : { message };
  const status = { ...rest, ...said, phase, lastPhaseTransitionTime: timestamp(now()) };
  const written = await client.updateStatus(persistentVolumes, { ...volume, status });
  await room.volumes.reached(written.metadata.resourceVersion, signal);
  return written;
}

export async function updateVolume(room: VolumeRoom, volume: Volume): Promise<Volume> {
  const written = await room.context.client.update(persistentVolumes, volume);
  await room.volumes.reached(written.metadata.resourceVersion, room.context.signal);
  return written;
}

export async function updateClaim(room: VolumeRoom, claim: Claim): Promise<Claim> {
  const written = await room.context.client.update(persistentVolumeClaims, claim);
  await room.claims.reached(written.metadata.resourceVersion, room.context.signal);
  return written;
}

export function tell(
  room: VolumeRoom,
  object: Volume | Claim,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
): void {
  const kind = object.metadata.namespace === undefined ? 'PersistentVolume' : 'PersistentVolumeClaim';
  room.recorder.record({ apiVersion: 'v1', kind, metadata: object.metadata }, { type, reason, message });
}
