import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { duplicate, invalid } from './field-errors.ts';
import { storageClasses } from './resources.ts';
import { check, frozen, immutable, oneOf, present, qualifiedName, type Rule, setDefaults, unique } from './rules.ts';
import type { TopologySelectorTerm } from './types/core.ts';
import type { StorageClass } from './types/storage.ts';
import { storageClassWarnings } from './volume-warnings.ts';

const DEFAULT_CLASS = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
];

export const storageClassKind = defineKind(storageClasses, {
  schemaName: 'io.k8s.api.storage.v1.StorageClass',
  returnsDeleted: true,
  shortNames: ['sc'],
  columns: [
    {
      ...nameColumn,
      value: ({ metadata }) => {
        return `${metadata.name ?? ''}${isDefaultClass({ metadata }) ? ' (default)' : ''}`;
      },
    },
    column<StorageClass>('Provisioner', 'string', (one) => one.provisioner),
    column<StorageClass>('ReclaimPolicy', 'string', (one) => one.reclaimPolicy ?? 'Delete'),
    column<StorageClass>('VolumeBindingMode', 'string', (one) => one.volumeBindingMode ?? 'Immediate'),
    column<StorageClass>('AllowVolumeExpansion', 'string', (one) => one.allowVolumeExpansion ?? false),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' }),
  validate: (object) => [
    ...check(object, {
      provisioner: [present(), (value, field) => qualifiedName(String(value).toLowerCase(), field)],
      reclaimPolicy: oneOf('Delete', 'Retain'),
      volumeBindingMode: oneOf('Immediate', 'WaitForFirstConsumer'),
      allowedTopologies: distinctTerms,
      'allowedTopologies[*].matchLabelExpressions': unique('key'),
      'allowedTopologies[*].matchLabelExpressions[*].key': qualifiedName,
      'allowedTopologies[*].matchLabelExpressions[*].values': [present(), distinct],
    }),
    ...(Object.hasOwn((object['parameters'] as object | undefined) ?? {}, '')
      ? [invalid('parameters', '', 'field can not be empty.')]
      : []),
  ],
  warnings: (object) => storageClassWarnings(object as unknown as StorageClass),
  validateUpdate: (object, old) => [
    ...frozen({
      parameters: 'updates to parameters are forbidden.',
      provisioner: 'updates to provisioner are forbidden.',
      reclaimPolicy: 'updates to reclaimPolicy are forbidden.',
    })(object, old),
    ...immutable('volumeBindingMode')(object, old),
  ],
});

const distinct: Rule = (value, field) =>
  (value as string[]).flatMap((one, index, all) =>
    all.indexOf(one) < index ? [duplicate(`${field}[${index}]`, one)] : [],
  );

/** No two terms say the same: a volume is where all expressions of one of them hold. */
const distinctTerms: Rule = (value, field) =>
  ((value ?? []) as TopologySelectorTerm[]).flatMap((term, index, all) =>
    all.findIndex((other) => isDeepStrictEqual(other, term)) < index
      ? [duplicate(`${field}[${index}].matchLabelExpressions`, '')]
      : [],
  );

/** Claims that name no class get it. */
export function isDefaultClass({ metadata }: Pick<StorageClass, 'metadata'>): boolean {
  return DEFAULT_CLASS.some((key) => metadata.annotations?.[key] === 'true');
}
