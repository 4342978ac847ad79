import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { accessModesRule, accessModesText } from './persistent-volume-claim.ts';
import { persistentVolumes } from './resources.ts';
import { check, dnsSubdomain, immutable, oneOf, present, quantities, setDefaults } from './rules.ts';
import type { PersistentVolume } from './types/core.ts';
import { persistentVolumeWarnings } from './volume-warnings.ts';

/** Everything of a spec that is no kind of volume. */
const COMMON = [
  'accessModes',
  'capacity',
  'claimRef',
  'mountOptions',
  'nodeAffinity',
  'persistentVolumeReclaimPolicy',
  'storageClassName',
  'volumeAttributesClassName',
  'volumeMode',
];

export const persistentVolumeKind = defineKind(persistentVolumes, {
  schemaName: 'io.k8s.api.core.v1.PersistentVolume',
  returnsDeleted: true,
  shortNames: ['pv'],
  subresources: { status: true },
  columns: [
    nameColumn,
    column<PersistentVolume>('Capacity', 'string', (one) => one.spec?.capacity?.['storage'] ?? '0'),
    column<PersistentVolume>('Access Modes', 'string', (one) => accessModesText(one.spec?.accessModes)),
    column<PersistentVolume>('Reclaim Policy', 'string', (one) => one.spec?.persistentVolumeReclaimPolicy ?? ''),
    column<PersistentVolume>('Status', 'string', ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
    ),
    column<PersistentVolume>('Claim', 'string', ({ spec }) =>
      spec?.claimRef === undefined ? '' : `${spec.claimRef.namespace ?? ''}/${spec.claimRef.name ?? ''}`,
    ),
    column<PersistentVolume>('StorageClass', 'string', (one) => one.spec?.storageClassName ?? ''),
    column<PersistentVolume>('VolumeAttributesClass', 'string', ({ spec }) =>
      spec?.volumeAttributesClassName === undefined ? '<unset>' : spec.volumeAttributesClassName,
    ),
    column<PersistentVolume>('Reason', 'string', (one) => one.status?.reason ?? ''),
    ageColumn,
    column<PersistentVolume>('VolumeMode', 'string', (one) => one.spec?.volumeMode ?? '<unset>', { wide: true }),
  ],
  selectableFields: { name: (object) => object.metadata.name ?? '' },
  defaults: (object) =>
    setDefaults(object, {
      'spec.persistentVolumeReclaimPolicy': 'Retain',
      'spec.volumeMode': 'Filesystem',
      'spec.hostPath.type': '',
      status: {},
      'status.phase': 'Pending',
    }),
  prepareForCreate: (object) => {
    (object as PersistentVolume).status = { phase: 'Pending' };
  },
  validate: (object) => {
    const { spec } = object as PersistentVolume;
    if (spec === undefined) return [required('spec')];
    const sources = sourcesOf(object as PersistentVolume);
    const errors: FieldError[] = [...accessModesRule(spec.accessModes, 'spec.accessModes')];
    if ((spec.accessModes ?? []).length === 0) errors.unshift(required('spec.accessModes'));
    if (spec.capacity?.['storage'] === undefined || Object.keys(spec.capacity).length > 1)
      errors.push(
        spec.capacity === undefined
          ? required('spec.capacity')
          : invalid('spec.capacity', spec.capacity, 'must specify exactly one resource, storage'),
      );
    if (sources.length === 0) errors.push(required('spec', 'must specify a volume type'));
    for (const [name] of sources.slice(1))
      errors.push(forbidden(`spec.${name}`, 'may not specify more than 1 volume type'));
    return [
      ...errors,
      ...check(object, {
        'spec.capacity': quantities,
        'spec.persistentVolumeReclaimPolicy': oneOf('Delete', 'Recycle', 'Retain'),
        'spec.volumeMode': oneOf('Block', 'Filesystem'),
        'spec.storageClassName': dnsSubdomain,
        'spec.hostPath.path': present(),
        'spec.local.path': present(),
        'spec.csi.driver': present(),
        'spec.csi.volumeHandle': present(),
        'spec.local': (value) =>
          value !== undefined && spec.nodeAffinity === undefined
            ? [required('spec.nodeAffinity', 'Local volume requires node affinity')]
            : [],
      }),
    ];
  },
  warnings: (object) => persistentVolumeWarnings(object as PersistentVolume),
  validateUpdate: (object, old) => {
    const errors = immutable('spec.volumeMode')(object, old);
    if (!isDeepStrictEqual(sourcesOf(object as PersistentVolume), sourcesOf(old as PersistentVolume)))
      errors.unshift(
        forbidden('spec.persistentvolumesource', 'spec.persistentvolumesource is immutable after creation'),
      );
    if ((old as PersistentVolume).spec?.nodeAffinity !== undefined)
      errors.push(...immutable('spec.nodeAffinity')(object, old));
    return errors;
  },
});

function sourcesOf({ spec }: PersistentVolume): [string, unknown][] {
  return Object.entries(spec ?? {}).filter(([key]) => !COMMON.includes(key));
}
