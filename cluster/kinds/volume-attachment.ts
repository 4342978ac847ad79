/** Asks a CSI driver to attach a volume to a node: a controller of ours writes it, the driver's external-attacher answers. */
import { ageColumn, column, nameColumn } from './columns.ts';
import { driverName } from './csi-driver.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, required } from './field-errors.ts';
import { keepsMetadata } from './metadata.ts';
import { volumeAttachments } from './resources.ts';
import { check, dnsSubdomain, immutable } from './rules.ts';
import type { VolumeAttachment } from './types/storage.ts';

export const volumeAttachmentKind = defineKind(volumeAttachments, {
  schemaName: 'io.k8s.api.storage.v1.VolumeAttachment',
  returnsDeleted: true,
  needsRevision: true,
  subresources: { status: true },
  columns: [
    nameColumn,
    column<VolumeAttachment>('Attacher', 'string', ({ spec }) => spec.attacher),
    column<VolumeAttachment>('PV', 'string', ({ spec }) => spec.source.persistentVolumeName ?? ''),
    column<VolumeAttachment>('Node', 'string', ({ spec }) => spec.nodeName),
    column<VolumeAttachment>('Attached', 'boolean', ({ status }) => status?.attached ?? false),
    ageColumn,
  ],
  prepareForCreate: (object) => {
    (object as unknown as VolumeAttachment).status = { attached: false };
  },
  prepareStatus: keepsMetadata('labels', 'annotations', 'finalizers'),
  validate: (object) => [
    ...check(object, { 'spec.attacher': driverName }),
    ...sourceErrors(object as unknown as VolumeAttachment),
    ...check(object, { 'spec.source.persistentVolumeName': dnsSubdomain, 'spec.nodeName': dnsSubdomain }),
  ],
  validateUpdate: immutable('spec'),
});

function sourceErrors({ spec }: VolumeAttachment): FieldError[] {
  const { inlineVolumeSpec: inline, persistentVolumeName: name } = spec.source;
  const text = 'must specify exactly one of inlineVolumeSpec and persistentVolumeName';
  if (inline === undefined && name === undefined) return [required('spec.source', text)];
  if (inline !== undefined && name !== undefined) return [forbidden('spec.source', text)];
  if (name === '') return [required('spec.source.persistentVolumeName', 'must specify non empty persistentVolumeName')];
  return [];
}
