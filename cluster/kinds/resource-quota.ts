import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { resourceQuotas } from './resources.ts';
import { check, eachOf, immutable, oneOf, quantities, setDefaults } from './rules.ts';
import type { ResourceQuota } from './types/core.ts';

const SCOPES = [
  'BestEffort',
  'CrossNamespacePodAffinity',
  'NotBestEffort',
  'NotTerminating',
  'PriorityClass',
  'Terminating',
];

export const resourceQuotaKind = defineKind(resourceQuotas, {
  schemaName: 'io.k8s.api.core.v1.ResourceQuota',
  returnsDeleted: true,
  shortNames: ['quota'],
  subresources: { status: true },
  columns: [
    nameColumn,
    ageColumn,
    column<ResourceQuota>('Request', 'string', (quota) => usage(quota, false)),
    column<ResourceQuota>('Limit', 'string', (quota) => usage(quota, true)),
  ],
  defaults: (object) => setDefaults(object, { spec: {} }),
  prepareForCreate: (object) => {
    (object as ResourceQuota).status = {};
  },
  validate: (object) =>
    check(object, {
      'spec.hard': quantities,
      'spec.scopes': eachOf(...SCOPES),
      'spec.scopeSelector.matchExpressions[*].scopeName': oneOf(...SCOPES),
      'spec.scopeSelector.matchExpressions[*].operator': oneOf('DoesNotExist', 'Exists', 'In', 'NotIn'),
      'status.hard': quantities,
      'status.used': quantities,
    }),
  validateUpdate: immutable('spec.scopes'),
});

/** `pods: 3/10`, of what is limited in its limits, or of the rest. */
function usage({ status }: ResourceQuota, limits: boolean): string {
  return Object.entries(status?.hard ?? {})
    .filter(([name]) => name.startsWith('limits.') === limits)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, hard]) => `${name}: ${status?.used?.[name] ?? '0'}/${hard}`)
    .join(', ');
}
