import { column, formatMap, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { templateChangeWarnings } from './pod-warnings.ts';
import { podTemplates } from './resources.ts';
import type { PodTemplate } from './types/core.ts';
import { templateColumns, validateTemplate } from './workload.ts';

export const podTemplateKind = defineKind(podTemplates, {
  schemaName: 'io.k8s.api.core.v1.PodTemplate',
  returnsDeleted: true,
  generation: true,
  columns: [
    nameColumn,
    ...templateColumns((object) => (object as PodTemplate).template, undefined, false),
    column<PodTemplate>('Pod Labels', 'string', ({ template }) => formatMap(template?.metadata?.labels)),
  ],
  defaults: (object) => {
    const { template } = object as PodTemplate;
    if (template?.spec !== undefined) defaultPodSpec(template.spec);
  },
  validate: (object) => validateTemplate((object as PodTemplate).template, 'template', true),
  warnings: (object, old) => templateChangeWarnings(object, old, (object as PodTemplate).template, 'template'),
});
