/**
 * Metrics of autoscalers in the form of autoscaling/v1, which no field there has: they are text in annotations, and clients of
 * that version read them. One target or value there is several fields here.
 */
import type { MetricSpec, MetricStatus, MetricTarget, MetricValueStatus } from './types/autoscaling-v2.ts';
import type { LabelSelector } from './types/meta.ts';

/** Of a spec or, with `current` for `target` in the names, of a status. Fields by the source's type: see `SHAPES`. */
export interface Version1Metric {
  type: string;
  [source: string]: unknown;
}

type Source = Record<string, unknown>;

interface Shape {
  source: keyof Omit<MetricSpec, 'type'>;
  /** What the fields of a target, and of a current value, are called. */
  target: Partial<Record<keyof MetricTarget, string>>;
  current: Partial<Record<keyof MetricValueStatus, string>>;
  /** Quantities that are there even where they are not known. */
  always: readonly string[];
  selector: string;
}

const AVERAGES = {
  target: { averageUtilization: 'targetAverageUtilization', averageValue: 'targetAverageValue' },
  current: { averageUtilization: 'currentAverageUtilization', averageValue: 'currentAverageValue' },
};

const SHAPES: Record<string, Shape> = {
  Resource: { source: 'resource', ...AVERAGES, always: ['currentAverageValue'], selector: '' },
  ContainerResource: { source: 'containerResource', ...AVERAGES, always: ['currentAverageValue'], selector: '' },
  Pods: { source: 'pods', ...AVERAGES, always: [], selector: 'selector' },
  Object: {
    source: 'object',
    target: { value: 'targetValue', averageValue: 'averageValue' },
    current: { value: 'currentValue', averageValue: 'averageValue' },
    always: ['targetValue', 'currentValue'],
    selector: 'selector',
  },
  External: {
    source: 'external',
    target: { value: 'targetValue', averageValue: 'targetAverageValue' },
    current: { value: 'currentValue', averageValue: 'currentAverageValue' },
    always: ['currentValue'],
    selector: 'metricSelector',
  },
};

export function toVersion1Metric(metric: MetricSpec | MetricStatus, side: 'target' | 'current'): Version1Metric {
  const shape = SHAPES[metric.type];
  const source = shape && (metric[shape.source] as Source | undefined);
  if (shape === undefined || source === undefined) return { type: metric.type };
  const { metric: identifier, describedObject, [side]: values, ...rest } = source;
  const { name, selector } = (identifier ?? {}) as { name?: string; selector?: LabelSelector };
  const made: Source = { ...rest };
  if (describedObject !== undefined) made['target'] = describedObject;
  if (name !== undefined) made['metricName'] = name;
  if (selector !== undefined) made[shape.selector] = selector;
  for (const [field, old] of Object.entries(shape[side])) {
    const value = (values as Source | undefined)?.[field];
    if (value !== undefined) made[old] = value;
    else if (shape.always.includes(old)) made[old] = '0';
  }
  return { type: metric.type, [shape.source]: made };
}

export function fromVersion1Metric(metric: Version1Metric, side: 'target' | 'current'): MetricSpec & MetricStatus {
  const shape = SHAPES[metric.type];
  const source = shape && metric[shape.source];
  // Whoever wrote the annotation: what it lacks is for validation to tell.
  if (shape === undefined || typeof source !== 'object' || source === null) return { type: metric.type };
  const { metricName, [shape.selector]: selector, target: describedObject, ...rest } = source as Source;
  const values: Source = {};
  for (const [field, old] of Object.entries(shape[side])) {
    const value = rest[old];
    delete rest[old];
    // No target is zero; a current value may be.
    if (value !== undefined && !(side === 'target' && value === '0')) values[field] = value;
  }
  if (side === 'target') values['type'] = targetType(values);
  const identifier = { name: metricName, ...(selector !== undefined && { selector }) };
  const made = {
    ...rest,
    ...(metricName !== undefined && { metric: identifier }),
    ...(describedObject !== undefined && { describedObject }),
    [side]: values,
  };
  return { type: metric.type, [shape.source]: made };
}

function targetType(values: Source): string {
  if (values['averageUtilization'] !== undefined) return 'Utilization';
  return values['averageValue'] === undefined ? 'Value' : 'AverageValue';
}
