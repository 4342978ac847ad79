import { column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { componentStatuses } from './resources.ts';

/** Nothing registers itself as a component: the list is there for clients that still ask, and is empty. */
export const componentStatusKind = defineKind(componentStatuses, {
  schemaName: 'io.k8s.api.core.v1.ComponentStatus',
  shortNames: ['cs'],
  verbs: ['get', 'list'],
  deprecation: 'v1 ComponentStatus is deprecated in v1.19+',
  columns: [
    nameColumn,
    column('Status', 'string', () => 'Unknown'),
    column('Message', 'string', () => ''),
    column('Error', 'string', () => ''),
  ],
});
