import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { nodeLabelsWarnings } from './node-label-warnings.ts';
import { runtimeClasses } from './resources.ts';
import { check, dnsLabel, immutable, labels, present, quantities } from './rules.ts';
import { validateTolerations } from './scheduling-validate.ts';
import type { RuntimeClass } from './types/node.ts';

export const runtimeClassKind = defineKind(runtimeClasses, {
  schemaName: 'io.k8s.api.node.v1.RuntimeClass',
  needsRevision: true,
  createOnUpdate: true,
  columns: [nameColumn, column('Handler', 'string', (object) => String(object['handler'] ?? '')), ageColumn],
  validate: (object) => [
    ...check(object, {
      handler: [present(), dnsLabel],
      'overhead.podFixed': quantities,
      'scheduling.nodeSelector': labels,
    }),
    ...validateTolerations((object as unknown as RuntimeClass).scheduling?.tolerations, 'scheduling.tolerations'),
  ],
  warnings: (object) =>
    nodeLabelsWarnings((object as unknown as RuntimeClass).scheduling?.nodeSelector, () => 'scheduling.nodeSelector'),
  validateUpdate: immutable('handler'),
});
