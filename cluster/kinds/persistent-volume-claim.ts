import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { quantityProblem, quantityValue } from './quantity.ts';
import { persistentVolumeClaims } from './resources.ts';
import { check, dnsSubdomain, labelSelector, oneOf, setDefaults } from './rules.ts';
import type { PersistentVolumeClaim, PersistentVolumeClaimSpec } from './types/core.ts';
import { claimWarnings } from './volume-warnings.ts';

/** By their short forms, in the order of `kubectl get`. */
const MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

export const persistentVolumeClaimKind = defineKind(persistentVolumeClaims, {
  schemaName: 'io.k8s.api.core.v1.PersistentVolumeClaim',
  returnsDeleted: true,
  shortNames: ['pvc'],
  subresources: { status: true },
  columns: [
    nameColumn,
    column<PersistentVolumeClaim>('Status', 'string', ({ metadata, status }) =>
      metadata.deletionTimestamp === undefined ? (status?.phase ?? '') : 'Terminating',
    ),
    column<PersistentVolumeClaim>('Volume', 'string', (claim) => claim.spec?.volumeName ?? ''),
    column<PersistentVolumeClaim>('Capacity', 'string', ({ spec, status }) =>
      spec?.volumeName ? (status?.capacity?.['storage'] ?? '0') : '',
    ),
    column<PersistentVolumeClaim>('Access Modes', 'string', ({ spec, status }) =>
      spec?.volumeName ? accessModesText(status?.accessModes) : '',
    ),
    column<PersistentVolumeClaim>('StorageClass', 'string', (claim) => claim.spec?.storageClassName ?? ''),
    column<PersistentVolumeClaim>('VolumeAttributesClass', 'string', ({ spec }) =>
      spec?.volumeAttributesClassName === undefined ? '<unset>' : spec.volumeAttributesClassName,
    ),
    ageColumn,
    column<PersistentVolumeClaim>('VolumeMode', 'string', (claim) => claim.spec?.volumeMode ?? '<unset>', {
      wide: true,
    }),
  ],
  selectableFields: { name: (object) => object.metadata.name ?? '' },
  defaults: (object) => {
    defaultClaim(object);
    const { spec } = object as PersistentVolumeClaim;
    if (spec !== undefined) Object.assign(spec, sourcesOf(spec));
  },
  prepareForCreate: (object) => {
    (object as PersistentVolumeClaim).status = { phase: 'Pending' };
  },
  validate: (object) => {
    const { spec } = object as PersistentVolumeClaim;
    return spec === undefined ? [required('spec')] : validateClaimSpec(spec, 'spec');
  },
  warnings: (object) => claimWarnings(object as PersistentVolumeClaim),
  validateUpdate: (object, old) => {
    const [now, before] = [object as PersistentVolumeClaim, old as PersistentVolumeClaim];
    const [asked, was] = [requested(now), requested(before)];
    const frozen = ({ volumeAttributesClassName: _class, ...spec }: Partial<PersistentVolumeClaimSpec>) => ({
      ...spec,
      // Claims are there that have one of its names alone.
      ...sourcesOf(spec),
      // The volume is named once; a bound claim may ask for more.
      ...(before.spec?.volumeName ? {} : { volumeName: '' }),
      ...(before.spec?.storageClassName === undefined ? { storageClassName: '' } : {}),
      ...(before.status?.phase === 'Bound' ? { resources: {} } : {}),
    });
    if (!isDeepStrictEqual(frozen(now.spec ?? {}), frozen(before.spec ?? {})))
      return [
        forbidden(
          'spec',
          'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
        ),
      ];
    return asked < was
      ? [forbidden('spec.resources.requests.storage', 'field can not be less than previous value')]
      : [];
  },
});

export function defaultClaim(claim: object): void {
  setDefaults(claim, { 'spec.volumeMode': 'Filesystem', 'spec.resources': {}, status: {}, 'status.phase': 'Pending' });
}

/** Where a claim's data come from has an older and a newer name: whoever knows one of them alone finds it. */
function sourcesOf({
  dataSource,
  dataSourceRef,
}: Partial<PersistentVolumeClaimSpec>): Pick<PersistentVolumeClaimSpec, 'dataSource' | 'dataSourceRef'> {
  if (dataSource !== undefined) return { dataSource, dataSourceRef: dataSourceRef ?? { ...dataSource } };
  if (dataSourceRef === undefined) return {};
  const { namespace, ...source } = dataSourceRef;
  return { dataSourceRef, ...(!namespace && { dataSource: source }) };
}

export function validateClaimSpec(spec: PersistentVolumeClaimSpec, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if ((spec.accessModes ?? []).length === 0)
    errors.push(required(`${at}.accessModes`, 'at least 1 access mode is required'));
  errors.push(...accessModesRule(spec.accessModes, `${at}.accessModes`));
  const storage = spec.resources?.requests?.['storage'];
  const field = `${at}.resources[storage]`;
  if (storage === undefined) errors.push(required(field));
  else if (quantityProblem(storage) !== undefined) errors.push(invalid(field, storage, quantityProblem(storage) ?? ''));
  else if (quantityValue(storage) <= 0) errors.push(invalid(field, storage, 'must be greater than zero'));
  return [
    ...errors,
    ...check(
      spec,
      { selector: labelSelector, storageClassName: dnsSubdomain, volumeMode: oneOf('Block', 'Filesystem') },
      at,
    ),
  ];
}

export function accessModesRule(modes: string[] | undefined, field: string): FieldError[] {
  const supported = Object.keys(MODES);
  const errors = (modes ?? []).flatMap((mode) =>
    supported.includes(mode) ? [] : [notSupported(field, mode, supported.toSorted())],
  );
  if (modes?.includes('ReadWriteOncePod') === true && modes.length > 1)
    errors.push(forbidden(field, 'may not use ReadWriteOncePod with other access modes'));
  return errors;
}

export function accessModesText(modes: string[] | undefined): string {
  return Object.entries(MODES)
    .filter(([mode]) => modes?.includes(mode) === true)
    .map(([, short]) => short)
    .join(',');
}

function requested(claim: PersistentVolumeClaim): number {
  return quantityValue(claim.spec?.resources?.requests?.['storage'] ?? '0');
}
