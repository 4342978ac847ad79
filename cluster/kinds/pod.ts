import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import { forbidden, required } from './field-errors.ts';
import { admitPod, defaultPodSpec } from './pod-defaults.ts';
import { summarizePod } from './pod-status.ts';
import { validatePodUpdate } from './pod-update-validate.ts';
import { validatePodSpec } from './pod-validate.ts';
import { podWarnings } from './pod-warnings.ts';
import { mergeMatchLabelKeys } from './match-label-keys.ts';
import { quantityValue } from './quantity.ts';
import { pods } from './resources.ts';
import { terminationGrace } from './termination-grace.ts';
import type { Pod, PodSpec } from './types/core.ts';

export const podKind = defineKind(pods, {
  schemaName: 'io.k8s.api.core.v1.Pod',
  returnsDeleted: true,
  shortNames: ['po'],
  categories: ['all'],
  subresources: { status: true },
  columns: [
    nameColumn,
    column<Pod>('Ready', 'string', (pod, now) => {
      const { ready, total } = summarizePod(pod, now);
      return `${ready}/${total}`;
    }),
    column<Pod>('Status', 'string', (pod, now) => summarizePod(pod, now).status),
    column<Pod>('Restarts', 'string', (pod, now) => summarizePod(pod, now).restarts),
    ageColumn,
    column<Pod>('IP', 'string', (pod) => pod.status?.podIP || '<none>', { wide: true }),
    column<Pod>('Node', 'string', (pod) => pod.spec?.nodeName || '<none>', { wide: true }),
    column<Pod>('Nominated Node', 'string', (pod) => pod.status?.nominatedNodeName || '<none>', { wide: true }),
    column<Pod>('Readiness Gates', 'string', readinessGates, { wide: true }),
  ],
  selectableFields: {
    'spec.nodeName': (object) => (object as Pod).spec?.nodeName ?? '',
    'spec.restartPolicy': (object) => (object as Pod).spec?.restartPolicy ?? '',
    'spec.schedulerName': (object) => (object as Pod).spec?.schedulerName ?? '',
    'spec.serviceAccountName': (object) => (object as Pod).spec?.serviceAccountName ?? '',
    'spec.hostNetwork': (object) => String((object as Pod).spec?.hostNetwork ?? false),
    'status.phase': (object) => (object as Pod).status?.phase ?? '',
    'status.podIP': (object) => (object as Pod).status?.podIP ?? '',
    'status.nominatedNodeName': (object) => (object as Pod).status?.nominatedNodeName ?? '',
  },
  defaults: (object) => {
    const { spec } = object as Pod;
    if (spec !== undefined) defaultPodSpec(spec);
  },
  prepareForCreate: (object) => {
    const pod = object as Pod;
    if (pod.spec === undefined) return;
    admitPod(pod.spec, pod.metadata.annotations);
    mergeMatchLabelKeys(pod);
    pod.status = { phase: 'Pending', qosClass: qosClass(pod.spec) };
    if ((pod.spec.schedulingGates ?? []).length > 0)
      pod.status.conditions = [
        {
          type: 'PodScheduled',
          status: 'False',
          reason: 'SchedulingGated',
          message: 'Scheduling is blocked due to non-empty scheduling gates',
        },
      ];
  },
  validate: (object) => {
    const { spec } = object as Pod;
    return spec === undefined ? [required('spec.containers')] : validatePodSpec(spec, 'spec');
  },
  validateCreate: (object) =>
    ((object as Pod).spec?.ephemeralContainers ?? []).length === 0
      ? []
      : [forbidden('spec.ephemeralContainers', 'cannot be set on create')],
  validateUpdate: (object, old) => validatePodUpdate(object as Pod, old as Pod),
  warnings: (object, old) => podWarnings(object as Pod, old as Pod | undefined),
  gracePeriod: (object) => {
    const pod = object as Pod;
    // Nothing runs that would need time to stop.
    if (!pod.spec?.nodeName || pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return undefined;
    return terminationGrace(pod.spec);
  },
});

/** Guaranteed: limits of cpu and memory equal to requests everywhere; BestEffort: none anywhere. */
export function qosClass(spec: PodSpec): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  // One without any is refused later.
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  const values = containers.flatMap(({ resources }) =>
    ['cpu', 'memory'].map((name) => ({
      limit: quantityValue(resources?.limits?.[name] ?? '0'),
      request: quantityValue(resources?.requests?.[name] ?? '0'),
    })),
  );
  if (values.every(({ limit, request }) => limit === 0 && request === 0)) return 'BestEffort';
  return values.every(({ limit, request }) => limit > 0 && limit === request) ? 'Guaranteed' : 'Burstable';
}

function readinessGates(pod: Pod): string {
  const gates = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  const met = gates.filter((gate) =>
    pod.status?.conditions?.some((condition) => condition.type === gate.conditionType && condition.status === 'True'),
  );
  return `${met.length}/${gates.length}`;
}
