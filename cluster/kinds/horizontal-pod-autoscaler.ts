import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, required } from './field-errors.ts';
import { sourceOf, SOURCES, validateMetric } from './horizontal-pod-autoscaler-metric.ts';
import { readVersion1, writeVersion1 } from './horizontal-pod-autoscaler-v1.ts';
import { horizontalPodAutoscalers, horizontalPodAutoscalersV1 } from './resources.ts';
import { atMost, check, oneOf, pathSegment, present, type Rule, setDefaults } from './rules.ts';
import type { HorizontalPodAutoscaler, MetricSpec, MetricStatus } from './types/autoscaling-v2.ts';

const METRICS_SHOWN = 2;
const CPU_UTILIZATION = 80;

const autoscaler = {
  shortNames: ['hpa'],
  categories: ['all'],
  subresources: { status: true },
  columns: [
    nameColumn,
    column<HorizontalPodAutoscaler>('Reference', 'string', ({ spec }) =>
      spec === undefined ? '' : `${spec.scaleTargetRef.kind}/${spec.scaleTargetRef.name}`,
    ),
    column<HorizontalPodAutoscaler>('Targets', 'string', ({ spec, status }) =>
      targetsText(spec?.metrics ?? [], status?.currentMetrics ?? []),
    ),
    column<HorizontalPodAutoscaler>('MinPods', 'string', ({ spec }) => String(spec?.minReplicas ?? '<unset>')),
    column<HorizontalPodAutoscaler>('MaxPods', 'string', ({ spec }) => spec?.maxReplicas ?? 0),
    column<HorizontalPodAutoscaler>('Replicas', 'string', ({ status }) => status?.currentReplicas ?? 0),
    ageColumn,
  ],
};

export const horizontalPodAutoscalerKind = defineKind(horizontalPodAutoscalers, {
  ...autoscaler,
  schemaName: 'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler',
  defaults: (object) => {
    const { spec } = object as HorizontalPodAutoscaler;
    setDefaults(object, {
      'spec.minReplicas': 1,
      'spec.behavior.scaleUp': {},
      'spec.behavior.scaleDown': {},
      'spec.behavior.scaleUp.stabilizationWindowSeconds': 0,
      'spec.behavior.scaleUp.selectPolicy': 'Max',
      'spec.behavior.scaleUp.policies': [
        { type: 'Pods', value: 4, periodSeconds: 15 },
        { type: 'Percent', value: 100, periodSeconds: 15 },
      ],
      'spec.behavior.scaleDown.selectPolicy': 'Max',
      'spec.behavior.scaleDown.policies': [{ type: 'Percent', value: 100, periodSeconds: 15 }],
    });
    if (spec !== undefined && (spec.metrics ?? []).length === 0)
      spec.metrics = [
        {
          type: 'Resource',
          resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: CPU_UTILIZATION } },
        },
      ];
  },
  prepareForCreate: (object) => {
    (object as HorizontalPodAutoscaler).status = { currentMetrics: [], desiredReplicas: 0 };
  },
  validate: (object) => {
    const { spec } = object as HorizontalPodAutoscaler;
    if (spec === undefined) return [required('spec')];
    const errors: FieldError[] = [];
    if ((spec.minReplicas ?? 1) < 1)
      errors.push(invalid('spec.minReplicas', spec.minReplicas, 'must be greater than or equal to 1'));
    if (spec.maxReplicas < 1) errors.push(invalid('spec.maxReplicas', spec.maxReplicas, 'must be greater than 0'));
    else if (spec.maxReplicas < (spec.minReplicas ?? 1))
      errors.push(invalid('spec.maxReplicas', spec.maxReplicas, 'must be greater than or equal to `minReplicas`'));
    return [
      ...errors,
      ...check(object, {
        'spec.scaleTargetRef.kind': [present(), pathSegment],
        'spec.scaleTargetRef.name': [present(), pathSegment],
        'spec.metrics[*].type': [present('must specify a metric source type'), oneOf(...Object.keys(SOURCES))],
        ...behaviorRules('scaleUp'),
        ...behaviorRules('scaleDown'),
      }),
      ...(spec.metrics ?? []).flatMap((metric, index) => validateMetric(metric, `spec.metrics[${index}]`)),
    ];
  },
});

/** The same objects, with nothing but a target for the cpu. */
export const horizontalPodAutoscalerV1Kind = defineKind(horizontalPodAutoscalersV1, {
  ...autoscaler,
  schemaName: 'io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler',
  stored: { as: horizontalPodAutoscalers, read: readVersion1, write: writeVersion1 },
});

const notNegative: Rule = (value, field) =>
  Number(value) < 0 ? [invalid(field, value, 'must be greater than or equal to zero')] : [];
const aboveZero: Rule = (value, field) =>
  Number(value) <= 0 ? [invalid(field, value, 'must be greater than zero')] : [];

function behaviorRules(direction: 'scaleUp' | 'scaleDown') {
  const at = `spec.behavior.${direction}`;
  return {
    [`${at}.stabilizationWindowSeconds`]: [notNegative, atMost(3600)],
    [`${at}.selectPolicy`]: oneOf('Disabled', 'Max', 'Min'),
    [`${at}.policies`]: present('must specify at least one Policy'),
    [`${at}.policies[*].type`]: oneOf('Percent', 'Pods'),
    [`${at}.policies[*].value`]: aboveZero,
    [`${at}.policies[*].periodSeconds`]: [aboveZero, atMost(1800)],
  };
}

function targetsText(metrics: MetricSpec[], statuses: MetricStatus[]): string {
  if (metrics.length === 0) return '<none>';
  const texts = metrics.slice(0, METRICS_SHOWN).map((metric, index) => metricText(metric, statuses[index]));
  const more = metrics.length > METRICS_SHOWN ? ` + ${metrics.length - METRICS_SHOWN} more...` : '';
  return `${texts.join(', ')}${more}`;
}

function metricText(metric: MetricSpec, status: MetricStatus | undefined): string {
  const source = sourceOf(metric);
  if (source === undefined) return '<unknown type>';
  const [target, current] = [metric[source]?.target, status?.[source]?.current];
  if (source === 'resource' || source === 'containerResource') {
    const name = metric[source]?.name ?? '';
    if (target?.averageValue !== undefined)
      return `${name}: ${current?.averageValue ?? '<unknown>'}/${target.averageValue}`;
    const percent = (value: number | undefined, none: string) => (value === undefined ? none : `${value}%`);
    return `${name}: ${percent(current?.averageUtilization, '<unknown>')}/${percent(target?.averageUtilization, '<auto>')}`;
  }
  if (source === 'pods') return `${current?.averageValue ?? '<unknown>'}/${target?.averageValue ?? ''}`;
  return target?.averageValue === undefined
    ? `${current?.value ?? '<unknown>'}/${target?.value ?? ''}`
    : `${current?.averageValue ?? '<unknown>'}/${target.averageValue} (avg)`;
}
