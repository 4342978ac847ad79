import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { accessModesRule, accessModesText } from './persistent-volume-claim.ts';
import { driverName } from './csi-driver.ts';
import { quantityValue } from './quantity.ts';
import { persistentVolumes } from './resources.ts';
import {
  check,
  dnsLabel,
  dnsSubdomain,
  immutable,
  oneOf,
  present,
  quantities,
  type Rule,
  setDefaults,
} from './rules.ts';
import { validateNodeSelector } from './scheduling-validate.ts';
import type { PersistentVolume, VolumeNodeAffinity } from './types/core.ts';
import { HOST_PATH_TYPES } from './volume-validate.ts';
import { persistentVolumeWarnings } from './volume-warnings.ts';

const CSI_SECRETS = [
  'controllerPublishSecretRef',
  'nodePublishSecretRef',
  'controllerExpandSecretRef',
  'nodeExpandSecretRef',
];

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
    const { creationTimestamp } = object.metadata;
    (object as PersistentVolume).status = {
      phase: 'Pending',
      ...(creationTimestamp !== undefined && { lastPhaseTransitionTime: creationTimestamp }),
    };
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
        'spec.capacity.storage': positive,
        'spec.persistentVolumeReclaimPolicy': oneOf('Delete', 'Recycle', 'Retain'),
        'spec.volumeMode': oneOf('Block', 'Filesystem'),
        'spec.storageClassName': dnsSubdomain,
        'spec.hostPath.path': [present(), noBackstep],
        'spec.hostPath.type': oneOf(...HOST_PATH_TYPES),
        'spec.local.path': [present(), noBackstep],
        'spec.csi.driver': driverName,
        'spec.csi.volumeHandle': present(),
        ...Object.fromEntries(CSI_SECRETS.map((name) => [`spec.csi.${name}`, secretReference])),
        'spec.nodeAffinity': nodeAffinity,
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

const positive: Rule = (value, field) =>
  value === undefined || quantityValue(String(value)) > 0
    ? []
    : [invalid(field.replace(/\.storage$/, '[storage]'), value, 'must be greater than zero')];

const noBackstep: Rule = (value, field) =>
  String(value).split('/').includes('..') ? [invalid(field, value, "must not contain '..'")] : [];

const secretReference: Rule = (value, field) =>
  value === undefined
    ? []
    : check(value as object, { name: [present(), dnsSubdomain], namespace: [present(), dnsLabel] }, field);

const nodeAffinity: Rule = (value, field) => {
  if (value === undefined) return [];
  const { required: needed } = value as VolumeNodeAffinity;
  return needed === undefined
    ? [required(`${field}.required`, 'must specify required node constraints')]
    : validateNodeSelector(needed, `${field}.required`);
};

function sourcesOf({ spec }: PersistentVolume): [string, unknown][] {
  return Object.entries(spec ?? {}).filter(([key]) => !COMMON.includes(key));
}
