import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { serviceAccounts } from './resources.ts';
import type { ServiceAccount } from './types/core.ts';

export const serviceAccountKind = defineKind(serviceAccounts, {
  schemaName: 'io.k8s.api.core.v1.ServiceAccount',
  returnsDeleted: true,
  shortNames: ['sa'],
  columns: [
    nameColumn,
    column<ServiceAccount>('Secrets', 'integer', (account) => account.secrets?.length ?? 0),
    ageColumn,
  ],
});
