import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { ApiObject } from './kind.ts';
import { controllerRevisions } from './resources.ts';
import { check, immutable, nonNegative, present, setDefaults } from './rules.ts';

export const controllerRevisionKind = defineKind(controllerRevisions, {
  schemaName: 'io.k8s.api.apps.v1.ControllerRevision',
  columns: [
    nameColumn,
    column('Controller', 'string', controllerText),
    column('Revision', 'string', (object) => Number(object['revision'] ?? 0)),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, { revision: 0 }),
  validate: (object) => check(object, { data: present('data is mandatory'), revision: nonNegative }),
  validateUpdate: immutable('data'),
});

/** `statefulset.apps/web` */
function controllerText({ metadata }: ApiObject): string {
  const owner = metadata.ownerReferences?.find((one) => one.controller === true);
  if (owner === undefined) return '<none>';
  const group = owner.apiVersion.includes('/') ? `.${owner.apiVersion.split('/')[0]}` : '';
  return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
}
