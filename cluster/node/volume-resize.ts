/** The last step of a claim's growth: the file system has its new size, and the claim says so. */
import { ApiError, type Client } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { persistentVolumeClaims } from '../kinds/resources.ts';
import type { PersistentVolume } from '../kinds/types/core.ts';
import type { EventRecorder } from './events.ts';
import { bytesOf } from './quantity.ts';

const RESIZE_CONDITIONS = ['Resizing', 'FileSystemResizePending'];

/** Nothing where the claim says so already. */
export async function finishResize(
  client: Client,
  recorder: EventRecorder,
  volume: Stored<PersistentVolume>,
): Promise<void> {
  const { name = '', namespace = '', uid } = volume.spec?.claimRef ?? {};
  const storage = volume.spec?.capacity?.['storage'];
  if (name === '' || storage === undefined) return;
  const claim = await client.get(persistentVolumeClaims, name, namespace);
  const known = claim.status?.capacity?.['storage'];
  if (claim.metadata.uid !== uid || known === undefined || bytesOf(known) >= bytesOf(storage)) return;
  const conditions = (claim.status?.conditions ?? []).filter(({ type }) => !RESIZE_CONDITIONS.includes(type));
  const { resourceVersion } = claim.metadata;
  const body = { metadata: { resourceVersion }, status: { capacity: { storage }, conditions } };
  try {
    await client.patch(persistentVolumeClaims, name, { type: 'merge', body }, { namespace, subresource: 'status' });
  } catch (error) {
    if (error instanceof ApiError && error.code === 409) return await finishResize(client, recorder, volume);
    throw error;
  }
  recorder.record({
    type: 'Normal',
    reason: 'FileSystemResizeSuccessful',
    message: `MountVolume.NodeExpandVolume succeeded for volume "${volume.metadata.name}"`,
    object: { kind: 'PersistentVolumeClaim', apiVersion: 'v1', name, namespace, uid: claim.metadata.uid },
  });
}
