import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { invalid } from './field-errors.ts';
import { podDisruptionBudgets } from './resources.ts';
import { atMostHundredPercent, check, countOrPercent, labelSelector, oneOf, setDefaults } from './rules.ts';
import type { PodDisruptionBudget } from './types/policy.ts';

export const podDisruptionBudgetKind = defineKind(podDisruptionBudgets, {
  schemaName: 'io.k8s.api.policy.v1.PodDisruptionBudget',
  needsRevision: true,
  shortNames: ['pdb'],
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<PodDisruptionBudget>('Min Available', 'string', (one) => String(one.spec?.minAvailable ?? 'N/A')),
    column<PodDisruptionBudget>('Max Unavailable', 'string', (one) => String(one.spec?.maxUnavailable ?? 'N/A')),
    column<PodDisruptionBudget>('Allowed Disruptions', 'integer', (one) => one.status?.disruptionsAllowed ?? 0),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { spec: {} }),
  prepareForCreate: (object) => {
    (object as PodDisruptionBudget).status = {
      disruptionsAllowed: 0,
      currentHealthy: 0,
      desiredHealthy: 0,
      expectedPods: 0,
    };
  },
  validate: (object) => {
    const { spec } = object as PodDisruptionBudget;
    return [
      ...(spec?.minAvailable !== undefined && spec.maxUnavailable !== undefined
        ? [invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set')]
        : []),
      ...check(object, {
        'spec.minAvailable': [countOrPercent, atMostHundredPercent],
        'spec.maxUnavailable': [countOrPercent, atMostHundredPercent],
        'spec.unhealthyPodEvictionPolicy': oneOf('AlwaysAllow', 'IfHealthyBudget'),
        'spec.selector': labelSelector,
      }),
    ];
  },
});
