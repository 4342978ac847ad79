import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { namespaces } from './resources.ts';
import type { Namespace } from './types/core.ts';

export const namespaceKind = defineKind(namespaces, {
  schemaName: 'io.k8s.api.core.v1.Namespace',
  returnsDeleted: true,
  shortNames: ['ns'],
  // One by one only: a namespace is not lost by a slip.
  verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
  nameRule: 'dns-label',
  subresources: { status: true },
  columns: [
    nameColumn,
    column<Namespace>('Status', 'string', (namespace) => namespace.status?.phase ?? '', {
      description: 'The phase of its life.',
    }),
    ageColumn,
  ],
  selectableFields: {
    name: (object) => object.metadata.name ?? '',
    'status.phase': (object) => (object as Namespace).status?.phase ?? '',
  },
  prepareForCreate: (object) => {
    const namespace = object as Namespace;
    namespace.spec = {
      ...namespace.spec,
      finalizers: [...new Set([...(namespace.spec?.finalizers ?? []), 'kubernetes'])],
    };
    namespace.status = { phase: 'Active' };
  },
  /** Its finalizers change through `/finalize` only. */
  prepareForUpdate: (object, old) => {
    object['spec'] = structuredClone(old['spec']);
  },
  defaults: (object) => {
    const { metadata } = object;
    metadata.labels = { ...metadata.labels, 'kubernetes.io/metadata.name': metadata.name ?? '' };
  },
});
