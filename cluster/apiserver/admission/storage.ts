/** Claims and volumes are held while they are used, and grow only where their class lets them. */
import type { ResourceRef } from '../../kinds/kind.ts';
import { parseAmount } from '../../kinds/amount.ts';
import { persistentVolumeClaims, persistentVolumes, storageClasses } from '../../kinds/resources.ts';
import type { PersistentVolumeClaim } from '../../kinds/types/core.ts';
import type { Core } from '../core.ts';
import { forbidden } from '../errors.ts';
import { find } from './lookup.ts';
import { type AdmissionPlugin, isKind } from './plugin.ts';

const PROTECTION: readonly (readonly [ResourceRef, string])[] = [
  [persistentVolumeClaims, 'kubernetes.io/pvc-protection'],
  [persistentVolumes, 'kubernetes.io/pv-protection'],
];

/**
 * Something must lift the protection again when a claim or volume is used no more; without it nothing could be deleted,
 * so this is asked for by an option.
 */
export const storageObjectInUse: AdmissionPlugin = {
  name: 'StorageObjectInUseProtection',
  mutate(request) {
    if (request.operation !== 'CREATE') return;
    for (const [ref, finalizer] of PROTECTION) {
      const { metadata } = request.object;
      if (!isKind(request, ref) || metadata.finalizers?.includes(finalizer) === true) continue;
      metadata.finalizers = [...(metadata.finalizers ?? []), finalizer];
    }
  },
};

export function claimResize(core: Core): AdmissionPlugin {
  return {
    name: 'PersistentVolumeClaimResize',
    validate(request) {
      if (request.operation !== 'UPDATE' || !isKind(request, persistentVolumeClaims)) return;
      const sizeOf = (claim: PersistentVolumeClaim) =>
        parseAmount(claim.spec?.resources?.requests?.['storage'] ?? '0').nano;
      const [now, old] = [request.object as PersistentVolumeClaim, request.old as PersistentVolumeClaim];
      if (sizeOf(now) <= sizeOf(old)) return;
      const name = now.spec?.storageClassName;
      if (name && find(core, storageClasses, '', name)?.allowVolumeExpansion === true) return;
      throw forbidden(
        request.kind,
        request.name,
        'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
      );
    },
  };
}
