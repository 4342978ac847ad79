/** What the kinds that make pods from a template have in common. */
import { column } from './columns.ts';
import type { FieldError } from './field-error.ts';
import { invalid, notSupported, required } from './field-errors.ts';
import type { ApiObject, PrinterColumn, ScalePaths } from './kind.ts';
import { validateAnnotations } from './metadata.ts';
import { validateLabels } from './names.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { validatePodSpec } from './pod-validate.ts';
import { workloadWarnings } from './pod-warnings.ts';
import { check, nonNegative } from './rules.ts';
import {
  formatLabelSelector,
  labelSelectorProblems,
  labelSelectorRequirements,
  matchesLabelSelector,
} from './selector.ts';
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

/** Of the containers of a template, and the selector: `kubectl get -o wide`. */
export function templateColumns(
  templateOf: (object: ApiObject) => PodTemplateSpec | undefined,
  selectorOf?: (object: ApiObject) => string,
  wide = true,
): PrinterColumn[] {
  const of = (object: ApiObject) => templateOf(object)?.spec?.containers ?? [];
  return [
    column(
      'Containers',
      'string',
      (object) =>
        of(object)
          .map((one) => one.name)
          .join(','),
      {
        wide,
        description: 'Names of the containers of the template.',
      },
    ),
    column(
      'Images',
      'string',
      (object) =>
        of(object)
          .map((one) => one.image ?? '')
          .join(','),
      {
        wide,
        description: 'Images of the containers of the template.',
      },
    ),
    ...(selectorOf === undefined ? [] : [column('Selector', 'string', selectorOf, { wide })]),
  ];
}

const templateOf = (object: ApiObject) => (object as unknown as Workload).spec?.template;

export const workloadColumns: PrinterColumn[] = templateColumns(templateOf, (object) =>
  formatLabelSelector((object as unknown as Workload).spec?.selector),
);

export function defaultWorkload(object: ApiObject): void {
  const { spec } = object as unknown as Workload;
  if (spec === undefined) return;
  spec.replicas ??= 1;
  if (spec.template?.spec !== undefined) defaultPodSpec(spec.template.spec);
}

export function warnOfWorkload(object: ApiObject, old?: ApiObject): string[] {
  return workloadWarnings(object, old, templateOf(object));
}

/** @param subject  what upstream calls the kind where a selector is empty */
export function validateWorkload(object: ApiObject, subject = 'deployment'): FieldError[] {
  const { spec } = object as unknown as Workload;
  if (spec === undefined) return [required('spec')];
  const errors = check(object, { 'spec.replicas': nonNegative, 'spec.minReadySeconds': nonNegative });
  if (spec.selector === undefined) errors.push(required('spec.selector'));
  else {
    errors.push(...labelSelectorProblems(spec.selector, 'spec.selector'));
    if (labelSelectorRequirements(spec.selector).length === 0)
      errors.push(invalid('spec.selector', spec.selector, `empty selector is invalid for ${subject}`));
  }
  const matches = spec.selector === undefined || matchesLabelSelector(spec.selector, spec.template?.metadata?.labels);
  return [...errors, ...validateTemplate(spec.template, 'spec.template', matches), ...alwaysRestarts(spec.template)];
}

export function validateTemplate(
  template: PodTemplateSpec | undefined,
  at: string,
  selectorMatches: boolean,
): FieldError[] {
  const labels = template?.metadata?.labels;
  const errors = [
    ...validateLabels(labels, `${at}.labels`),
    ...validateAnnotations(template?.metadata?.annotations, `${at}.annotations`),
  ];
  if (!selectorMatches)
    errors.push(invalid(`${at}.metadata.labels`, labels ?? null, '`selector` does not match template `labels`'));
  if (template?.spec === undefined) return [...errors, required(`${at}.spec.containers`)];
  return [...errors, ...validatePodSpec(template.spec, `${at}.spec`)];
}

export function alwaysRestarts(template: PodTemplateSpec | undefined): FieldError[] {
  const policy = template?.spec?.restartPolicy;
  if (policy === 'Always' || template?.spec === undefined) return [];
  return [notSupported('spec.template.spec.restartPolicy', policy, ['Always'])];
}

export function validateWorkloadUpdate(object: ApiObject, old: ApiObject): FieldError[] {
  const [now, before] = [(object as unknown as Workload).spec?.selector, (old as unknown as Workload).spec?.selector];
  if (formatLabelSelector(now) === formatLabelSelector(before)) return [];
  return [invalid('spec.selector', now, 'field is immutable')];
}
