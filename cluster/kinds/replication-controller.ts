import { ageColumn, column, formatMap, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { invalid, required } from './field-errors.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { replicationControllers } from './resources.ts';
import { check, nonNegative, setDefaults } from './rules.ts';
import type { ReplicationController } from './types/core.ts';
import { alwaysRestarts, templateColumns, validateTemplate, warnOfWorkload } from './workload.ts';

export const replicationControllerKind = defineKind(replicationControllers, {
  schemaName: 'io.k8s.api.core.v1.ReplicationController',
  orphansByDefault: true,
  shortNames: ['rc'],
  categories: ['all'],
  subresources: {
    status: true,
    scale: {
      specReplicas: '.spec.replicas',
      statusReplicas: '.status.replicas',
      selector: (object) => {
        const { selector } = (object as ReplicationController).spec ?? {};
        return selector === undefined ? '' : formatMap(selector);
      },
    },
  },
  generation: true,
  columns: [
    nameColumn,
    column<ReplicationController>('Desired', 'integer', (one) => one.spec?.replicas ?? 0),
    column<ReplicationController>('Current', 'integer', (one) => one.status?.replicas ?? 0),
    column<ReplicationController>('Ready', 'integer', (one) => one.status?.readyReplicas ?? 0),
    ageColumn,
    ...templateColumns(
      (object) => (object as ReplicationController).spec?.template,
      (object) => formatMap((object as ReplicationController).spec?.selector),
    ),
  ],
  selectableFields: { 'status.replicas': (object) => String((object as ReplicationController).status?.replicas ?? 0) },
  defaults: (object) => {
    const { spec, metadata } = object as ReplicationController;
    setDefaults(object, { 'spec.replicas': 1, status: { replicas: 0 } });
    const labels = spec?.template?.metadata?.labels;
    if (spec === undefined || labels === undefined) return;
    if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
    if (Object.keys(metadata.labels ?? {}).length === 0) metadata.labels = { ...labels };
    if (spec.template?.spec !== undefined) defaultPodSpec(spec.template.spec);
  },
  prepareForCreate: (object) => {
    (object as ReplicationController).status = { replicas: 0 };
  },
  validate: (object) => {
    const { spec } = object as ReplicationController;
    if (spec === undefined) return [required('spec')];
    const errors = check(object, { 'spec.replicas': nonNegative, 'spec.minReadySeconds': nonNegative });
    const selector = Object.entries(spec.selector ?? {});
    if (selector.length === 0) errors.push(required('spec.selector'));
    if (spec.template === undefined) return [...errors, required('spec.template')];
    const labels = spec.template.metadata?.labels ?? {};
    if (!selector.every(([key, value]) => labels[key] === value))
      errors.push(invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'));
    return [...errors, ...validateTemplate(spec.template, 'spec.template', true), ...alwaysRestarts(spec.template)];
  },
  warnings: warnOfWorkload,
});
