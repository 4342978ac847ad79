import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { replicaSets } from './resources.ts';
import type { ReplicaSet } from './types/apps.ts';
import {
  defaultWorkload,
  validateWorkload,
  validateWorkloadUpdate,
  warnOfWorkload,
  workloadColumns,
  workloadScale,
} from './workload.ts';

export const replicaSetKind = defineKind(replicaSets, {
  schemaName: 'io.k8s.api.apps.v1.ReplicaSet',
  shortNames: ['rs'],
  categories: ['all'],
  subresources: { status: true, scale: workloadScale },
  generation: true,
  columns: [
    nameColumn,
    column<ReplicaSet>('Desired', 'integer', (set) => set.spec?.replicas ?? 0),
    column<ReplicaSet>('Current', 'integer', (set) => set.status?.replicas ?? 0),
    column<ReplicaSet>('Ready', 'integer', (set) => set.status?.readyReplicas ?? 0),
    ageColumn,
    ...workloadColumns,
  ],
  selectableFields: { 'status.replicas': (object) => String((object as ReplicaSet).status?.replicas ?? 0) },
  defaults: (object) => {
    defaultWorkload(object);
    (object as ReplicaSet).status ??= { replicas: 0 };
  },
  prepareForCreate: (object) => {
    (object as ReplicaSet).status = { replicas: 0 };
  },
  validate: validateWorkload,
  validateUpdate: validateWorkloadUpdate,
  warnings: warnOfWorkload,
});
