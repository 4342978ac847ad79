/** Which PersistentVolumes do for a claim (Kubernetes "Persistent Volumes", binding). Pure; the binder and the scheduler both ask. */
import { quantityValue } from './quantity.ts';
import { matchesLabelSelector } from './selector.ts';
import type { PersistentVolume, PersistentVolumeClaim, Volume } from './types/core.ts';

const OLD_CLASS = 'volume.beta.kubernetes.io/storage-class';
export const bindCompleted = 'pv.kubernetes.io/bind-completed';
export const boundByController = 'pv.kubernetes.io/bound-by-controller';
export const selectedNode = 'volume.kubernetes.io/selected-node';

/** Empty: without a class. */
export function classOf({ metadata, spec }: PersistentVolumeClaim | PersistentVolume): string {
  return metadata.annotations?.[OLD_CLASS] ?? spec?.storageClassName ?? '';
}

/** Does the volume name this claim as its own? Without a uid it was named by hand, before the claim was there. */
export function isReservedFor({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const reference = spec?.claimRef;
  if (reference?.name !== metadata.name || (reference?.namespace ?? '') !== (metadata.namespace ?? '')) return false;
  return !reference?.uid || reference.uid === metadata.uid;
}

/** The volume as it is when the claim has it. Who chose it by hand finds no note of ours. */
export function reservedFor<T extends PersistentVolume>(volume: T, { metadata }: PersistentVolumeClaim): T {
  const { name = '', namespace = '', uid = '', resourceVersion = '' } = metadata;
  const claimRef = { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace, uid, resourceVersion };
  const byUs: Record<string, string> = volume.spec?.claimRef === undefined ? { [boundByController]: 'yes' } : {};
  const annotations = { ...volume.metadata.annotations, ...byUs };
  return { ...volume, metadata: { ...volume.metadata, annotations }, spec: { ...volume.spec, claimRef } };
}

/** The claim that a pod's volume stands for; undefined where it is of another kind. */
export function claimNameOf(podName: string, { name, persistentVolumeClaim, ephemeral }: Volume): string | undefined {
  return persistentVolumeClaim?.claimName ?? (ephemeral && `${podName}-${name}`);
}

/** Why the volume cannot be this claim's, in upstream's words; undefined where it can. */
export function mismatch(volume: PersistentVolume, claim: PersistentVolumeClaim): string | undefined {
  if (volume.metadata.deletionTimestamp !== undefined)
    return `the volume is marked for deletion "${volume.metadata.name}"`;
  if (sizeOf(volume) < requestOf(claim)) return 'requested PV is too small';
  if (classOf(volume) !== classOf(claim)) return 'storageClassName does not match';
  if (modeOf(volume) !== modeOf(claim)) return 'incompatible volumeMode';
  const modes = volume.spec?.accessModes ?? [];
  return (claim.spec?.accessModes ?? []).every((mode) => modes.includes(mode)) ? undefined : 'incompatible accessMode';
}

/**
 * The volume that was reserved for the claim, else the smallest that does.
 * @param isTaken  volumes that are promised already
 */
export function findVolume(
  volumes: Iterable<PersistentVolume>,
  claim: PersistentVolumeClaim,
  isTaken: (volume: PersistentVolume) => boolean = () => false,
): PersistentVolume | undefined {
  const { selector } = claim.spec ?? {};
  let best: PersistentVolume | undefined;
  for (const volume of volumes) {
    if (mismatch(volume, claim) !== undefined) continue;
    if (isReservedFor(volume, claim)) return volume;
    if (volume.spec?.claimRef !== undefined || volume.status?.phase !== 'Available' || isTaken(volume)) continue;
    if (selector !== undefined && !matchesLabelSelector(selector, volume.metadata.labels)) continue;
    if (best === undefined || sizeOf(volume) < sizeOf(best)) best = volume;
  }
  return best;
}

export function sizeOf({ spec }: PersistentVolume): number {
  return quantityValue(spec?.capacity?.['storage'] ?? '0');
}

export function requestOf({ spec }: PersistentVolumeClaim): number {
  return quantityValue(spec?.resources?.requests?.['storage'] ?? '0');
}

function modeOf({ spec }: PersistentVolume | PersistentVolumeClaim): string {
  return spec?.volumeMode ?? 'Filesystem';
}
