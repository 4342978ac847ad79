/** What the kinds that make pods from a template have in common. */
import { column } from './columns.ts';
import type { FieldError } from './field-error.ts';
import { invalid, required } from './field-errors.ts';
import type { ApiObject, PrinterColumn, ScalePaths } from './kind.ts';
import { validateLabels } from './names.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { validatePodSpec } from './pod-validate.ts';
import { formatLabelSelector, labelSelectorRequirements, matchesLabelSelector } from './selector.ts';
import type { PodTemplateSpec } from './types/core.ts';
import type { LabelSelector } from './types/meta.ts';

interface Workload {
  spec?: { replicas?: number; selector: LabelSelector; template?: PodTemplateSpec; minReadySeconds?: number };
}

export const workloadScale: ScalePaths = {
  specReplicas: '.spec.replicas',
  statusReplicas: '.status.replicas',
  selector: (object) => {
    const text = formatLabelSelector((object as unknown as Workload).spec?.selector);
    return text === '<none>' ? '' : text;
  },
};

export const workloadColumns: PrinterColumn[] = [
  column<Workload>(
    'Containers',
    'string',
    (object) =>
      containers(object)
        .map((one) => one.name)
        .join(','),
    { wide: true },
  ),
  column<Workload>(
    'Images',
    'string',
    (object) =>
      containers(object)
        .map((one) => one.image ?? '')
        .join(','),
    { wide: true },
  ),
  column<Workload>('Selector', 'string', (object) => formatLabelSelector(object.spec?.selector), { wide: true }),
];

export function defaultWorkload(object: ApiObject): void {
  const { spec } = object as unknown as Workload;
  if (spec === undefined) return;
  spec.replicas ??= 1;
  if (spec.template?.spec !== undefined) defaultPodSpec(spec.template.spec);
}

export function validateWorkload(object: ApiObject): FieldError[] {
  const { spec } = object as unknown as Workload;
  if (spec === undefined) return [required('spec')];
  const errors: FieldError[] = [];
  if ((spec.replicas ?? 0) < 0)
    errors.push(invalid('spec.replicas', spec.replicas, 'must be greater than or equal to 0'));
  if ((spec.minReadySeconds ?? 0) < 0)
    errors.push(invalid('spec.minReadySeconds', spec.minReadySeconds, 'must be greater than or equal to 0'));
  if (spec.selector === undefined) errors.push(required('spec.selector'));
  else if (labelSelectorRequirements(spec.selector).length === 0)
    errors.push(invalid('spec.selector', spec.selector, 'empty selector is invalid for deployment'));
  const labels = spec.template?.metadata?.labels;
  errors.push(...validateLabels(labels, 'spec.template.metadata.labels'));
  if (spec.selector !== undefined && !matchesLabelSelector(spec.selector, labels))
    errors.push(
      invalid('spec.template.metadata.labels', labels ?? null, '`selector` does not match template `labels`'),
    );
  if (spec.template?.spec === undefined) errors.push(required('spec.template.spec.containers'));
  else {
    errors.push(...validatePodSpec(spec.template.spec, 'spec.template.spec'));
    const policy = spec.template.spec.restartPolicy;
    if (policy !== 'Always')
      errors.push({
        reason: 'FieldValueNotSupported',
        field: 'spec.template.spec.restartPolicy',
        message: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Always"`,
      });
  }
  return errors;
}

export function validateWorkloadUpdate(object: ApiObject, old: ApiObject): FieldError[] {
  const [now, before] = [(object as unknown as Workload).spec?.selector, (old as unknown as Workload).spec?.selector];
  if (formatLabelSelector(now) === formatLabelSelector(before)) return [];
  return [invalid('spec.selector', now, 'field is immutable')];
}

function containers(object: Workload) {
  return object.spec?.template?.spec?.containers ?? [];
}
