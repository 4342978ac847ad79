/** What the binder does for one claim. */
import type { Stored } from '../kinds/kind.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../kinds/types/core.ts';
import { isDefaultClass } from '../kinds/storage-class.ts';
import type { StorageClass } from '../kinds/types/storage.ts';
import { bindCompleted, classOf, findVolume, isReservedFor, mismatch, selectedNode } from '../kinds/volume-match.ts';
import { type VolumeRoom, bind, setClaimStatus, tell, updateClaim } from './volume-writes.ts';

type Claim = Stored<PersistentVolumeClaim>;

const PROVISIONERS = ['volume.beta.kubernetes.io/storage-provisioner', 'volume.kubernetes.io/storage-provisioner'];

export async function syncClaim(room: VolumeRoom, claim: Claim): Promise<void> {
  if (claim.metadata.annotations?.[bindCompleted] !== undefined) await syncBound(room, claim);
  else if (claim.metadata.deletionTimestamp !== undefined) return;
  else if (claim.spec?.volumeName) await syncNamed(room, claim, claim.spec.volumeName);
  else await syncUnbound(room, claim);
}

async function syncUnbound(room: VolumeRoom, claim: Claim): Promise<void> {
  const name = classOf(claim);
  const storageClass = name === '' ? undefined : room.classes.get(name);
  const isDelayed =
    storageClass?.volumeBindingMode === 'WaitForFirstConsumer' &&
    claim.metadata.annotations?.[selectedNode] === undefined;
  // For one that waits, only what was reserved by hand does.
  const volume = findVolume(room.volumes.list(), claim, () => isDelayed) as Stored<PersistentVolume> | undefined;
  if (volume !== undefined) return await bind(room, volume, claim);
  if (await takeDefaultClass(room, claim)) return;
  if (isDelayed)
    tell(room, claim, 'Normal', 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding');
  else if (name === '')
    tell(
      room,
      claim,
      'Normal',
      'FailedBinding',
      'no persistent volumes available for this claim and no storage class is set',
    );
  else if (storageClass === undefined)
    tell(room, claim, 'Warning', 'ProvisioningFailed', `storageclass.storage.k8s.io "${name}" not found`);
  else return await askProvisioner(room, claim, storageClass.provisioner);
  await setClaimStatus(room, claim, { phase: 'Pending' });
}

/** A claim from before there was a default class gets it now; one that wants none says so by an empty name. */
async function takeDefaultClass(room: VolumeRoom, claim: Claim): Promise<boolean> {
  if (claim.spec?.storageClassName !== undefined || classOf(claim) !== '') return false;
  const storageClassName = defaultClassOf(room.classes.list());
  if (storageClassName === undefined) return false;
  await updateClaim(room, { ...claim, spec: { ...claim.spec, storageClassName } });
  return true;
}

/** The newest; of those of one second the first by name. */
function defaultClassOf(classes: Stored<StorageClass>[]): string | undefined {
  const created = ({ metadata }: Stored<StorageClass>): number => Date.parse(metadata.creationTimestamp);
  return classes
    .filter(isDefaultClass)
    .sort((a, b) => created(b) - created(a) || (a.metadata.name < b.metadata.name ? -1 : 1))[0]?.metadata.name;
}

async function askProvisioner(room: VolumeRoom, claim: Claim, provisioner: string): Promise<void> {
  const { annotations = {} } = claim.metadata;
  tell(
    room,
    claim,
    'Normal',
    'ExternalProvisioning',
    `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`,
  );
  if (PROVISIONERS.every((key) => annotations[key] === provisioner)) return;
  const asked = Object.fromEntries(PROVISIONERS.map((key) => [key, provisioner]));
  await updateClaim(room, { ...claim, metadata: { ...claim.metadata, annotations: { ...annotations, ...asked } } });
}

/** The user chose the volume. */
async function syncNamed(room: VolumeRoom, claim: Claim, name: string): Promise<void> {
  const volume = room.volumes.get(name);
  const wait = async (reason?: string, message = ''): Promise<void> => {
    if (reason !== undefined) tell(room, claim, 'Warning', reason, message);
    await setClaimStatus(room, claim, { phase: 'Pending' });
  };
  if (volume === undefined) return await wait();
  if (volume.spec?.claimRef !== undefined && !isReservedFor(volume, claim))
    return await wait('FailedBinding', `volume "${name}" already bound to a different claim.`);
  const why = mismatch(volume, claim);
  if (why !== undefined) return await wait('VolumeMismatch', `Cannot bind to requested volume "${name}": ${why}`);
  await bind(room, volume, claim);
}

async function syncBound(room: VolumeRoom, claim: Claim): Promise<void> {
  const lost = async (reason: string, message: string): Promise<void> => {
    if (claim.status?.phase !== 'Lost') tell(room, claim, 'Warning', reason, message);
    await setClaimStatus(room, claim, { phase: 'Lost' });
  };
  const name = claim.spec?.volumeName;
  if (!name)
    return await lost('ClaimLost', 'Bound claim has lost reference to PersistentVolume. Data on the volume is lost!');
  const volume = room.volumes.get(name);
  if (volume === undefined)
    return await lost('ClaimLost', 'Bound claim has lost its PersistentVolume. Data on the volume is lost!');
  if (volume.spec?.claimRef !== undefined && volume.spec.claimRef.uid !== claim.metadata.uid)
    return await lost('ClaimMisbound', 'Two claims are bound to the same volume, this one is bound incorrectly');
  await bind(room, volume, claim);
}
