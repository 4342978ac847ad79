/** What the metrics of an autoscaler must be, in upstream's words. */
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, required } from './field-errors.ts';
import { quantityValue } from './quantity.ts';
import { resourceNameProblem } from './resource-names.ts';
import { check, dnsLabel, pathSegment, present, type Rule } from './rules.ts';
import type { MetricSpec, MetricTarget } from './types/autoscaling-v2.ts';

/** The field of each type. */
export const SOURCES = {
  ContainerResource: 'containerResource',
  External: 'external',
  Object: 'object',
  Pods: 'pods',
  Resource: 'resource',
} as const;

type Source = (typeof SOURCES)[keyof typeof SOURCES];

export function sourceOf({ type }: { type: string }): Source | undefined {
  return Object.hasOwn(SOURCES, type) ? SOURCES[type as keyof typeof SOURCES] : undefined;
}

const TARGET_TYPES = ['AverageValue', 'Utilization', 'Value'];
const EITHER_RESOURCE = 'must set either a target raw value or a target utilization';
const BOTH_RESOURCE = 'may not set both a target raw value and a target utilization';
const EITHER_VALUE = 'must set either a target value for metric or a per-pod target';
const BOTH_VALUE = 'may not set both a target value for metric and a per-pod target';

/** Its type is for the caller to check. */
export function validateMetric(metric: MetricSpec, at: string): FieldError[] {
  const source = sourceOf(metric);
  if (source === undefined) return [];
  const surplus = Object.values(SOURCES)
    .filter((one) => one !== source && metric[one] !== undefined)
    .map((one) => forbidden(`${at}.${one}`, 'must populate the given metric source only'));
  const found = metric[source];
  if (found === undefined)
    return [...surplus, required(`${at}.${source}`, 'must populate information for the given metric source')];
  const place = `${at}.${source}`;
  return [
    ...surplus,
    ...check(found, namesOf(source), place),
    ...validateTarget(found.target, `${place}.target`),
    ...validateChoice(source, found.target, `${place}.target`),
  ];
}

function namesOf(source: Source): Parameters<typeof check>[1] {
  if (source === 'resource') return { name: present('must specify a resource name') };
  if (source === 'containerResource')
    return {
      name: [present('must specify a resource name'), resourceName],
      container: [present('must specify a container'), dnsLabel],
    };
  const metric = { 'metric.name': [present('must specify a metric name'), pathSegment] };
  if (source !== 'object') return metric;
  return {
    'describedObject.kind': [present(), pathSegment],
    'describedObject.name': [present(), pathSegment],
    ...metric,
  };
}

const resourceName: Rule = (value, field) => {
  const problem = resourceNameProblem(String(value));
  return problem === undefined ? [] : [invalid(field, value, problem)];
};

function validateTarget({ type, value, averageValue, averageUtilization }: MetricTarget, at: string): FieldError[] {
  const errors: FieldError[] = [];
  if (type === '') errors.push(required(`${at}.type`, 'must specify a metric target type'));
  else if (!TARGET_TYPES.includes(type))
    errors.push(invalid(`${at}.type`, type, 'must be either Utilization, Value, or AverageValue'));
  for (const [field, quantity] of Object.entries({ value, averageValue }))
    if (quantity !== undefined && !isPositive(quantity))
      errors.push(invalid(`${at}.${field}`, quantity, 'must be positive'));
  if (averageUtilization !== undefined && averageUtilization < 1)
    errors.push(invalid(`${at}.averageUtilization`, averageUtilization, 'must be greater than 0'));
  return errors;
}

/** Which of a target's figures are given. */
function validateChoice(source: Source, target: MetricTarget, at: string): FieldError[] {
  const { value, averageValue, averageUtilization } = target;
  if (source === 'pods')
    return averageValue === undefined || !isPositive(averageValue)
      ? [required(`${at}.averageValue`, 'must specify a positive target averageValue')]
      : [];
  if (source === 'resource' || source === 'containerResource') {
    if (averageUtilization === undefined && averageValue === undefined)
      return [required(`${at}.averageUtilization`, EITHER_RESOURCE)];
    const both = averageUtilization !== undefined && averageValue !== undefined;
    return both ? [forbidden(`${at}.averageValue`, BOTH_RESOURCE)] : [];
  }
  if (value === undefined && averageValue === undefined) return [required(`${at}.averageValue`, EITHER_VALUE)];
  const both = source === 'external' && value !== undefined && averageValue !== undefined;
  return both ? [forbidden(`${at}.value`, BOTH_VALUE)] : [];
}

function isPositive(quantity: string): boolean {
  return quantityValue(String(quantity)) > 0;
}
