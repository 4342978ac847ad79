import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, formatMap, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import type { ApiObject } from './kind.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { daemonSets } from './resources.ts';
import { atMostHundredPercent, check, countOrPercent, nonNegative, oneOf, setDefaults } from './rules.ts';
import type { DaemonSet } from './types/apps.ts';
import { templateChangeWarnings } from './pod-warnings.ts';
import { validateWorkload, validateWorkloadUpdate, workloadColumns } from './workload.ts';

/** Counts the template's changes; older clients look at it. */
const TEMPLATE_GENERATION = 'deprecated.daemonset.template.generation';
const ROLLING = 'spec.updateStrategy.rollingUpdate';

export const daemonSetKind = defineKind(daemonSets, {
  schemaName: 'io.k8s.api.apps.v1.DaemonSet',
  shortNames: ['ds'],
  categories: ['all'],
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<DaemonSet>('Desired', 'integer', (set) => set.status?.desiredNumberScheduled ?? 0),
    column<DaemonSet>('Current', 'integer', (set) => set.status?.currentNumberScheduled ?? 0),
    column<DaemonSet>('Ready', 'integer', (set) => set.status?.numberReady ?? 0),
    column<DaemonSet>('Up-to-date', 'integer', (set) => set.status?.updatedNumberScheduled ?? 0),
    column<DaemonSet>('Available', 'integer', (set) => set.status?.numberAvailable ?? 0),
    column<DaemonSet>('Node Selector', 'string', (set) => formatMap(set.spec?.template?.spec?.nodeSelector)),
    ageColumn,
    ...workloadColumns,
  ],
  defaults: (object) => {
    setDefaults(object, {
      'spec.updateStrategy': {},
      'spec.updateStrategy.type': 'RollingUpdate',
      'spec.revisionHistoryLimit': 10,
    });
    const { spec } = object as DaemonSet;
    if (spec?.updateStrategy?.type === 'RollingUpdate')
      setDefaults(object, { [ROLLING]: {}, [`${ROLLING}.maxUnavailable`]: 1, [`${ROLLING}.maxSurge`]: 0 });
    if (spec?.template?.spec !== undefined) defaultPodSpec(spec.template.spec);
  },
  prepareForCreate: (object) => {
    (object as DaemonSet).status = {
      currentNumberScheduled: 0,
      numberMisscheduled: 0,
      desiredNumberScheduled: 0,
      numberReady: 0,
    };
    setTemplateGeneration(object, 1);
  },
  prepareForUpdate: (object, old) => {
    const before = Number(old.metadata.annotations?.[TEMPLATE_GENERATION] ?? 1);
    const changed = !isDeepStrictEqual((object as DaemonSet).spec?.template, (old as DaemonSet).spec?.template);
    setTemplateGeneration(object, changed ? before + 1 : before);
  },
  validate: (object) => [
    ...validateWorkload(object, 'daemonset'),
    ...check(object, {
      'spec.revisionHistoryLimit': nonNegative,
      'spec.updateStrategy.type': oneOf('RollingUpdate', 'OnDelete'),
      [`${ROLLING}.maxUnavailable`]: [countOrPercent, atMostHundredPercent],
      [`${ROLLING}.maxSurge`]: [countOrPercent, atMostHundredPercent],
    }),
    ...validateRolling(object as DaemonSet),
  ],
  validateUpdate: validateWorkloadUpdate,
  warnings: (object, old) => templateChangeWarnings(object, old, (object as DaemonSet).spec?.template),
});

function validateRolling({ spec }: DaemonSet): FieldError[] {
  const errors: FieldError[] = [];
  const strategy = spec?.updateStrategy;
  if (spec?.template?.spec?.activeDeadlineSeconds !== undefined)
    errors.push(
      forbidden('spec.template.spec.activeDeadlineSeconds', 'activeDeadlineSeconds in DaemonSet is not Supported'),
    );
  if (strategy?.type !== 'RollingUpdate') return errors;
  if (strategy.rollingUpdate === undefined) return [...errors, required(ROLLING)];
  const isZero = (value: number | string | undefined) =>
    value === undefined || Number.parseInt(String(value), 10) === 0;
  const { maxUnavailable, maxSurge } = strategy.rollingUpdate;
  if (isZero(maxUnavailable) && isZero(maxSurge))
    errors.push(invalid(`${ROLLING}.maxUnavailable`, maxUnavailable, 'cannot be 0 when maxSurge is 0'));
  if (!isZero(maxUnavailable) && !isZero(maxSurge))
    errors.push(invalid(`${ROLLING}.maxSurge`, maxSurge, 'may not be set when maxUnavailable is non-zero'));
  return errors;
}

function setTemplateGeneration({ metadata }: ApiObject, generation: number): void {
  metadata.annotations = { ...metadata.annotations, [TEMPLATE_GENERATION]: String(generation) };
}
