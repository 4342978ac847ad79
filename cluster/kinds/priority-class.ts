import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden } from './field-errors.ts';
import { priorityClasses } from './resources.ts';
import { check, frozen, immutable, oneOf, setDefaults } from './rules.ts';
import type { PriorityClass } from './types/scheduling.ts';

const HIGHEST = 1_000_000_000;

/** Those of the system itself, by their values: nobody else may be above `HIGHEST`. */
export const SYSTEM_PRIORITIES: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2 * HIGHEST,
  'system-node-critical': 2 * HIGHEST + 1000,
};

export const priorityClassKind = defineKind(priorityClasses, {
  schemaName: 'io.k8s.api.scheduling.v1.PriorityClass',
  shortNames: ['pc'],
  generation: true,
  columns: [
    nameColumn,
    column<PriorityClass>('Value', 'integer', (one) => one.value),
    column<PriorityClass>('Global-Default', 'boolean', (one) => one.globalDefault ?? false),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { value: 0, preemptionPolicy: 'PreemptLowerPriority' }),
  validate: (object) => {
    const { metadata, value } = object as unknown as PriorityClass;
    const name = metadata.name ?? '';
    const errors: FieldError[] = [];
    if (name.startsWith('system-')) {
      if (SYSTEM_PRIORITIES[name] !== value)
        errors.push(
          forbidden(
            'metadata.name',
            `priority class names with 'system-' prefix are reserved for system use only. error: ${name} is not a known system priority class`,
          ),
        );
    } else if (value > HIGHEST)
      errors.push(forbidden('value', `maximum allowed value of a user defined priority is ${HIGHEST}`));
    return [...errors, ...check(object, { preemptionPolicy: oneOf('Never', 'PreemptLowerPriority') })];
  },
  validateUpdate: (object, old) => [
    ...frozen({ value: 'may not be changed in an update.' })(object, old),
    ...immutable('preemptionPolicy')(object, old),
  ],
});
