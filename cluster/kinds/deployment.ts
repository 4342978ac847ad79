import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported } from './field-errors.ts';
import { keepsMetadata } from './metadata.ts';
import { deployments } from './resources.ts';
import { check, nonNegative } from './rules.ts';
import type { Deployment } from './types/apps.ts';
import {
  defaultWorkload,
  validateWorkload,
  validateWorkloadUpdate,
  warnOfWorkload,
  workloadColumns,
  workloadScale,
} from './workload.ts';

const STRATEGIES = ['Recreate', 'RollingUpdate'];

export const deploymentKind = defineKind(deployments, {
  schemaName: 'io.k8s.api.apps.v1.Deployment',
  shortNames: ['deploy'],
  categories: ['all'],
  subresources: { status: true, scale: workloadScale },
  generation: true,
  columns: [
    nameColumn,
    column<Deployment>('Ready', 'string', (one) => `${one.status?.readyReplicas ?? 0}/${one.spec?.replicas ?? 0}`),
    column<Deployment>('Up-to-date', 'integer', (one) => one.status?.updatedReplicas ?? 0),
    column<Deployment>('Available', 'integer', (one) => one.status?.availableReplicas ?? 0),
    ageColumn,
    ...workloadColumns,
  ],
  defaults: (object) => {
    defaultWorkload(object);
    const { spec } = object as Deployment;
    if (spec === undefined) return;
    spec.progressDeadlineSeconds ??= 600;
    spec.revisionHistoryLimit ??= 10;
    spec.strategy ??= {};
    spec.strategy.type ??= 'RollingUpdate';
    if (spec.strategy.type === 'RollingUpdate')
      spec.strategy.rollingUpdate = { maxUnavailable: '25%', maxSurge: '25%', ...spec.strategy.rollingUpdate };
  },
  prepareForCreate: (object) => {
    (object as Deployment).status = {};
  },
  prepareStatus: keepsMetadata('labels'),
  validate: (object) => [
    ...validateWorkload(object),
    ...check(object, { 'spec.revisionHistoryLimit': nonNegative, 'spec.progressDeadlineSeconds': nonNegative }),
    ...validateDeadline(object as Deployment),
    ...validateStrategy(object as Deployment),
  ],
  validateUpdate: validateWorkloadUpdate,
  warnings: warnOfWorkload,
});

/** Pods that must be ready for longer than that would never be in time. */
function validateDeadline({ spec }: Deployment): FieldError[] {
  const { progressDeadlineSeconds: deadline = Number.POSITIVE_INFINITY, minReadySeconds = 0 } = spec ?? {};
  if (deadline > minReadySeconds) return [];
  return [invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds')];
}

function validateStrategy({ spec }: Deployment): FieldError[] {
  const strategy = spec?.strategy;
  const errors: FieldError[] = [];
  if (!STRATEGIES.includes(strategy?.type ?? ''))
    errors.push(notSupported('spec.strategy.type', strategy?.type, STRATEGIES));
  const rolling = strategy?.rollingUpdate;
  if (strategy?.type === 'Recreate' && rolling !== undefined)
    errors.push(forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'"));
  for (const field of ['maxSurge', 'maxUnavailable'] as const) {
    const value = rolling?.[field];
    if (value === undefined) continue;
    if (!(typeof value === 'number' ? value >= 0 : /^\d+%$/.test(value)))
      errors.push(
        invalid(
          `spec.strategy.rollingUpdate.${field}`,
          value,
          "must be a non-negative integer or a percentage (e.g. '25%')",
        ),
      );
  }
  if (rolling !== undefined && isZero(rolling.maxSurge) && isZero(rolling.maxUnavailable))
    errors.push(
      invalid(
        'spec.strategy.rollingUpdate.maxUnavailable',
        rolling.maxUnavailable,
        'may not be 0 when `maxSurge` is 0',
      ),
    );
  return errors;
}

function isZero(value: number | string | undefined): boolean {
  return value === 0 || value === '0%';
}
