import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { resourceQuotas } from './resources.ts';
import { parseAmount } from './amount.ts';
import type { FieldError } from './field-error.ts';
import { invalid, required } from './field-errors.ts';
import { check, eachOf, immutable, oneOf, quantities, setDefaults } from './rules.ts';
import type { ResourceQuota, ResourceQuotaSpec } from './types/core.ts';

const SCOPES = [
  'BestEffort',
  'CrossNamespacePodAffinity',
  'NotBestEffort',
  'NotTerminating',
  'PriorityClass',
  'Terminating',
];

const NANO = 1_000_000_000n;
const COUNTED = new Set([
  'pods',
  'services',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'configmaps',
  'persistentvolumeclaims',
  'services.nodeports',
  'services.loadbalancers',
]);
/** Kubernetes' own, of which it is known whether pods use them. */
const STANDARD =
  /^(cpu|memory|ephemeral-storage|requests\..*|limits\..*|pods|services(\..*)?|replicationcontrollers|resourcequotas|secrets|configmaps|persistentvolumeclaims)$/;

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
  validate: (object) => [
    ...check(object, {
      'spec.hard': quantities,
      'spec.scopes': eachOf(...SCOPES),
      'spec.scopeSelector.matchExpressions[*].scopeName': oneOf(...SCOPES),
      'spec.scopeSelector.matchExpressions[*].operator': oneOf('DoesNotExist', 'Exists', 'In', 'NotIn'),
      'status.hard': quantities,
      'status.used': quantities,
    }),
    ...validateQuota((object as ResourceQuota).spec ?? {}),
  ],
  validateUpdate: immutable('spec.scopes'),
});

function validateQuota({ hard = {}, scopes = [], scopeSelector }: ResourceQuotaSpec): FieldError[] {
  const errors = Object.entries(hard).flatMap(([name, value]) =>
    isCount(name) && parseAmount(value).nano % NANO !== 0n
      ? [invalid(`spec.hard[${name}]`, value, 'must be an integer')]
      : [],
  );
  for (const scope of scopes)
    for (const name of Object.keys(hard))
      if (STANDARD.test(name) && !isLimited(scope, name))
        errors.push(invalid('spec.scopes', scopes, 'unsupported scope applied to resource'));
  for (const [one, other] of [
    ['BestEffort', 'NotBestEffort'],
    ['Terminating', 'NotTerminating'],
  ] as const)
    if (scopes.includes(one) && scopes.includes(other))
      errors.push(invalid('spec.scopes', scopes, 'conflicting scopes'));
  const at = 'spec.scopeSelector.matchExpressions';
  for (const { scopeName, operator, values = [] } of scopeSelector?.matchExpressions ?? []) {
    const hasValues = operator === 'In' || operator === 'NotIn';
    if (hasValues && values.length === 0)
      errors.push(
        required(`${at}.values`, "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
      );
    if (!hasValues && values.length > 0)
      errors.push(
        invalid(
          `${at}.values`,
          values,
          "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
        ),
      );
    if (scopeName !== 'PriorityClass' && operator !== 'Exists')
      errors.push(
        invalid(
          `${at}.operator`,
          operator,
          `must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity`,
        ),
      );
  }
  return errors;
}

/** Of whole things. */
function isCount(name: string): boolean {
  const isExtended = name.includes('/') && !name.includes('kubernetes.io/') && !name.startsWith('requests.');
  return COUNTED.has(name) || isExtended;
}

/** Scopes are of pods: what is no pod's is in none. */
function isLimited(scope: string, name: string): boolean {
  return name === 'pods' || (scope !== 'BestEffort' && /^((requests|limits)\.)?(cpu|memory)$/.test(name));
}

/** `pods: 3/10`, of what is limited in its limits, or of the rest. */
function usage({ status }: ResourceQuota, limits: boolean): string {
  return Object.entries(status?.hard ?? {})
    .filter(([name]) => name.startsWith('limits.') === limits)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, hard]) => `${name}: ${status?.used?.[name] ?? '0'}/${hard}`)
    .join(', ');
}
