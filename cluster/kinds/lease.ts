import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid } from './field-errors.ts';
import { leases } from './resources.ts';
import type { Lease } from './types/coordination.ts';

export const leaseKind = defineKind(leases, {
  schemaName: 'io.k8s.api.coordination.v1.Lease',
  needsRevision: true,
  createOnUpdate: true,
  columns: [nameColumn, column<Lease>('Holder', 'string', (lease) => lease.spec?.holderIdentity ?? ''), ageColumn],
  defaults: (object) => {
    (object as Lease).spec ??= {};
  },
  validate: (object) => {
    const { spec } = object as Lease;
    const errors: FieldError[] = [];
    if (spec?.leaseDurationSeconds !== undefined && spec.leaseDurationSeconds <= 0)
      errors.push(invalid('spec.leaseDurationSeconds', spec.leaseDurationSeconds, 'must be greater than 0'));
    if (spec?.leaseTransitions !== undefined && spec.leaseTransitions < 0)
      errors.push(invalid('spec.leaseTransitions', spec.leaseTransitions, 'must be greater than or equal to 0'));
    return errors;
  },
});
