import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import type { ApiObject } from './kind.ts';
import { defaultClaim } from './persistent-volume-claim.ts';
import { templateChangeWarnings } from './pod-warnings.ts';
import { statefulSets } from './resources.ts';
import { atMostHundredPercent, check, countOrPercent, nonNegative, oneOf, setDefaults } from './rules.ts';
import type { StatefulSet } from './types/apps.ts';
import { claimSpecWarnings } from './volume-warnings.ts';
import { defaultWorkload, templateColumns, validateWorkload, workloadScale } from './workload.ts';

const CHANGEABLE = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

export const statefulSetKind = defineKind(statefulSets, {
  schemaName: 'io.k8s.api.apps.v1.StatefulSet',
  shortNames: ['sts'],
  categories: ['all'],
  subresources: { status: true, scale: workloadScale },
  generation: true,
  columns: [
    nameColumn,
    column<StatefulSet>('Ready', 'string', (set) => `${set.status?.readyReplicas ?? 0}/${set.spec?.replicas ?? 0}`),
    ageColumn,
    ...templateColumns((object) => (object as StatefulSet).spec?.template),
  ],
  defaults: (object) => {
    defaultWorkload(object);
    setDefaults(object, {
      'spec.serviceName': '',
      'spec.podManagementPolicy': 'OrderedReady',
      'spec.revisionHistoryLimit': 10,
      'spec.updateStrategy': {},
      'spec.updateStrategy.type': 'RollingUpdate',
      'spec.persistentVolumeClaimRetentionPolicy': {},
      'spec.persistentVolumeClaimRetentionPolicy.whenDeleted': 'Retain',
      'spec.persistentVolumeClaimRetentionPolicy.whenScaled': 'Retain',
    });
    const { spec } = object as StatefulSet;
    if (spec?.updateStrategy?.type === 'RollingUpdate')
      setDefaults(object, {
        'spec.updateStrategy.rollingUpdate': {},
        'spec.updateStrategy.rollingUpdate.partition': 0,
      });
    for (const claim of spec?.volumeClaimTemplates ?? []) {
      // A template is kept as a whole claim.
      claim.apiVersion = 'v1';
      claim.kind = 'PersistentVolumeClaim';
      defaultClaim(claim);
    }
  },
  prepareForCreate: (object) => {
    (object as StatefulSet).status = { replicas: 0, availableReplicas: 0 };
  },
  validate: (object) => {
    const errors = [
      ...validateWorkload(withClaims(object as StatefulSet) as ApiObject, 'statefulset'),
      ...check(object, {
        'spec.revisionHistoryLimit': nonNegative,
        'spec.ordinals.start': nonNegative,
        'spec.updateStrategy.rollingUpdate.partition': nonNegative,
        'spec.updateStrategy.rollingUpdate.maxUnavailable': [countOrPercent, atMostHundredPercent],
        'spec.persistentVolumeClaimRetentionPolicy.whenDeleted': oneOf('Retain', 'Delete'),
        'spec.persistentVolumeClaimRetentionPolicy.whenScaled': oneOf('Retain', 'Delete'),
      }),
    ];
    return [...errors, ...validateStrategy(object as StatefulSet)];
  },
  warnings: (object, old) => {
    const { spec } = object as StatefulSet;
    return [
      ...templateChangeWarnings(object, old, spec?.template),
      ...(spec?.volumeClaimTemplates ?? []).flatMap((claim, index) =>
        claimSpecWarnings(claim.spec ?? {}, `spec.volumeClaimTemplates[${index}]`),
      ),
    ];
  },
  validateUpdate: (object, old) => {
    const frozen = (set: StatefulSet) =>
      Object.fromEntries(Object.entries(set.spec ?? {}).filter(([key]) => !CHANGEABLE.includes(key)));
    return isDeepStrictEqual(frozen(object as StatefulSet), frozen(old as StatefulSet))
      ? []
      : [
          forbidden(
            'spec',
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
          ),
        ];
  },
});

/** Mounts of the template may name the claims that its pods get. */
function withClaims(set: StatefulSet): StatefulSet {
  const { spec } = set;
  if (spec?.template.spec === undefined) return set;
  const claims = (spec.volumeClaimTemplates ?? []).map(({ metadata: { name = '' } = {} }) => ({
    name,
    persistentVolumeClaim: { claimName: name },
  }));
  const others = (spec.template.spec.volumes ?? []).filter(({ name }) => !claims.some((claim) => claim.name === name));
  const podSpec = { ...spec.template.spec, volumes: [...others, ...claims] };
  return { ...set, spec: { ...spec, template: { ...spec.template, spec: podSpec } } };
}

function validateStrategy({ spec }: StatefulSet): FieldError[] {
  if (spec === undefined) return [required('spec')];
  const errors: FieldError[] = [];
  const { podManagementPolicy: policy, updateStrategy: strategy, template } = spec;
  if (policy !== 'OrderedReady' && policy !== 'Parallel')
    errors.push(invalid('spec.podManagementPolicy', policy, "must be 'OrderedReady' or 'Parallel'"));
  if (strategy?.type !== 'RollingUpdate' && strategy?.type !== 'OnDelete')
    errors.push(invalid('spec.updateStrategy', strategy, "must be 'RollingUpdate' or 'OnDelete'"));
  if (strategy?.type === 'OnDelete' && strategy.rollingUpdate !== undefined)
    errors.push(
      invalid(
        'spec.updateStrategy.rollingUpdate',
        strategy.rollingUpdate,
        "only allowed for updateStrategy 'RollingUpdate'",
      ),
    );
  if (template.spec?.activeDeadlineSeconds !== undefined)
    errors.push(
      forbidden('spec.template.spec.activeDeadlineSeconds', 'activeDeadlineSeconds in StatefulSet is not Supported'),
    );
  return errors;
}
