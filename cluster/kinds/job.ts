import { isDeepStrictEqual } from 'node:util';
import { age, ageColumn, column, duration, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, invalid, notSupported, required } from './field-errors.ts';
import type { ApiObject } from './kind.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { workloadWarnings } from './pod-warnings.ts';
import { jobs } from './resources.ts';
import {
  atMost,
  check,
  immutable,
  labelSelector,
  nonNegative,
  oneOf,
  present,
  qualifiedName,
  setDefaults,
} from './rules.ts';
import { formatLabelSelector, matchesLabelSelector } from './selector.ts';
import type { Job, JobSpec, JobStatus, PodFailurePolicyOnExitCodesRequirement } from './types/batch.ts';
import { templateColumns, validateTemplate } from './workload.ts';

const CONTROLLER_UID = 'batch.kubernetes.io/controller-uid';
const JOB_NAME = 'batch.kubernetes.io/job-name';
const INT32_MAX = 2 ** 31 - 1;
const INDEXED_PARALLELISM = 100_000;
const COMPLETIONS_SOFT_LIMIT = 100_000;
const PARALLELISM_SOFT_LIMIT = 10_000;
const HUGE_TEXT =
  'In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail';

export const jobKind = defineKind(jobs, {
  schemaName: 'io.k8s.api.batch.v1.Job',
  orphansByDefault: true,
  categories: ['all'],
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<Job>('Status', 'string', statusText),
    column<Job>('Completions', 'string', completionsText),
    column<Job>('Duration', 'string', durationText),
    ageColumn,
    ...templateColumns(
      (object) => (object as Job).spec?.template,
      (object) => formatLabelSelector((object as Job).spec?.selector),
    ),
  ],
  selectableFields: { 'status.successful': (object) => String((object as Job).status?.succeeded ?? 0) },
  defaults: (object) => {
    const { metadata, spec } = object as Job;
    if (spec === undefined) return;
    if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
    setDefaults(object, {
      'spec.parallelism': 1,
      'spec.backoffLimit': spec.backoffLimitPerIndex === undefined ? 6 : INT32_MAX,
      'spec.completionMode': 'NonIndexed',
      'spec.suspend': false,
      'spec.manualSelector': false,
      'spec.podReplacementPolicy': spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed',
    });
    for (const rule of spec.podFailurePolicy?.rules ?? [])
      for (const pattern of rule.onPodConditions ?? []) pattern.status ||= 'True';
    const labels = spec.template?.metadata?.labels;
    if (labels !== undefined && Object.keys(metadata.labels ?? {}).length === 0) metadata.labels = { ...labels };
    if (spec.template?.spec !== undefined) defaultPodSpec(spec.template.spec);
  },
  prepareForCreate: (object) => {
    const job = object as Job;
    job.status = {};
    if (job.spec?.manualSelector !== true) generateSelector(job);
  },
  validate: (object) => {
    const { spec } = object as Job;
    if (spec === undefined) return [required('spec')];
    const matches = spec.selector === undefined || matchesLabelSelector(spec.selector, spec.template.metadata?.labels);
    return [
      ...check(object, { 'spec.selector': [present(), labelSelector] }),
      ...validateJobSpec(spec, 'spec'),
      ...validateTemplate(spec.template, 'spec.template', matches),
    ];
  },
  warnings: (object, old) => jobWarnings(object, old, (object as Job).spec, 'spec'),
  validateUpdate: (object, old) => [
    ...validateCompletionsUpdate((object as Job).spec, (old as Job).spec),
    ...immutable('spec.selector')(object, old),
    ...validateTemplateUpdate(object as Job, old as Job),
    ...immutable(
      'spec.completionMode',
      'spec.podFailurePolicy',
      'spec.backoffLimitPerIndex',
      'spec.managedBy',
      'spec.successPolicy',
    )(object, old),
  ],
});

/** @param spec  of the job, or of those that the object makes */
export function jobWarnings(
  object: ApiObject,
  old: ApiObject | undefined,
  spec: JobSpec | undefined,
  at: string,
): string[] {
  const { completionMode, completions = 0, parallelism = 0 } = spec ?? {};
  const isSame = old !== undefined && old.metadata.generation === object.metadata.generation;
  const isHuge = completions > COMPLETIONS_SOFT_LIMIT && parallelism > PARALLELISM_SOFT_LIMIT;
  return [
    ...(completionMode === 'Indexed' && isHuge && !isSame ? [`${at}: ${HUGE_TEXT}`] : []),
    ...workloadWarnings(object, old, spec?.template, `${at}.template`),
  ];
}

/** Each job has a selector of its own, so that no two ever count the same pods. */
function generateSelector({ metadata, spec }: Job): void {
  if (spec?.template === undefined) return;
  const uid = metadata.uid ?? '';
  const [name, before] = [metadata.name ?? '', spec.template.metadata?.labels];
  const labels = { ...before, 'job-name': name, 'controller-uid': uid, [JOB_NAME]: name, [CONTROLLER_UID]: uid };
  spec.template.metadata = { ...spec.template.metadata, labels };
  // A job that has its labels of its template has these too.
  if (before !== undefined && isDeepStrictEqual(metadata.labels, before)) metadata.labels = { ...labels };
  const given = spec.selector;
  spec.selector = { ...given, matchLabels: { ...given?.matchLabels, [CONTROLLER_UID]: uid } };
}

/** Without selector and template labels, which a CronJob's job gets only when it is made. */
export function validateJobSpec(spec: JobSpec, at: string): FieldError[] {
  const errors = check(
    spec,
    {
      parallelism: nonNegative,
      completions: nonNegative,
      activeDeadlineSeconds: nonNegative,
      backoffLimit: nonNegative,
      ttlSecondsAfterFinished: nonNegative,
      backoffLimitPerIndex: nonNegative,
      maxFailedIndexes: nonNegative,
      completionMode: oneOf('NonIndexed', 'Indexed'),
      podReplacementPolicy:
        spec.podFailurePolicy === undefined ? oneOf('Failed', 'TerminatingOrFailed') : oneOf('Failed'),
    },
    at,
  );
  const restart = spec.template?.spec?.restartPolicy;
  if (restart === 'Always')
    errors.push(required(`${at}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"'));
  else if (restart !== 'OnFailure' && restart !== 'Never')
    errors.push(notSupported(`${at}.template.spec.restartPolicy`, restart, ['OnFailure', 'Never']));
  if (spec.completionMode === 'Indexed') {
    if (spec.completions === undefined) errors.push(required(`${at}.completions`, 'when completion mode is Indexed'));
    errors.push(...check(spec, { parallelism: atMost(INDEXED_PARALLELISM) }, at));
  } else
    for (const field of ['backoffLimitPerIndex', 'maxFailedIndexes', 'successPolicy'] as const)
      if (spec[field] !== undefined)
        errors.push(invalid(`${at}.${field}`, spec[field], 'requires indexed completion mode'));
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined)
    errors.push(required(`${at}.backoffLimitPerIndex`, 'when maxFailedIndexes is specified'));
  if ((spec.maxFailedIndexes ?? 0) > (spec.completions ?? Number.POSITIVE_INFINITY))
    errors.push(invalid(`${at}.maxFailedIndexes`, spec.maxFailedIndexes, 'must be less than or equal to completions'));
  return [...errors, ...validateFailurePolicy(spec, at)];
}

function validateFailurePolicy(spec: JobSpec, at: string): FieldError[] {
  if (spec.podFailurePolicy === undefined) return [];
  const rules = `${at}.podFailurePolicy.rules`;
  const errors = check(
    spec,
    {
      'podFailurePolicy.rules[*].action': [present(), oneOf('Count', 'FailIndex', 'FailJob', 'Ignore')],
      'podFailurePolicy.rules[*].onExitCodes.operator': [present(), oneOf('In', 'NotIn')],
      'podFailurePolicy.rules[*].onExitCodes.values': (value, field) =>
        Array.isArray(value) && value.length > 0 ? [] : [invalid(field, value, 'at least one value is required')],
      'podFailurePolicy.rules[*].onPodConditions[*].type': [present(), qualifiedName],
      'podFailurePolicy.rules[*].onPodConditions[*].status': oneOf('False', 'True', 'Unknown'),
    },
    at,
  );
  for (const [index, rule] of spec.podFailurePolicy.rules.entries()) {
    const [codes, conditions] = [rule.onExitCodes !== undefined, (rule.onPodConditions ?? []).length > 0];
    if (codes && conditions)
      errors.push(
        invalid(`${rules}[${index}]`, rule, 'specifying both OnExitCodes and OnPodConditions is not supported'),
      );
    if (!codes && !conditions)
      errors.push(invalid(`${rules}[${index}]`, rule, 'specifying one of OnExitCodes and OnPodConditions is required'));
    if (rule.onExitCodes !== undefined)
      errors.push(...validateExitCodes(rule.onExitCodes, spec, `${rules}[${index}].onExitCodes`));
  }
  if (spec.template.spec?.restartPolicy !== 'Never')
    errors.push(
      invalid(
        `${at}.template.spec.restartPolicy`,
        spec.template.spec?.restartPolicy,
        'only "Never" is supported when podFailurePolicy is specified',
      ),
    );
  return errors;
}

function validateExitCodes(
  { containerName, operator, values }: PodFailurePolicyOnExitCodesRequirement,
  { template }: JobSpec,
  at: string,
): FieldError[] {
  const errors: FieldError[] = [];
  const { containers = [], initContainers = [] } = template.spec ?? {};
  if (containerName !== undefined && ![...containers, ...initContainers].some(({ name }) => name === containerName))
    errors.push(
      invalid(
        `${at}.containerName`,
        containerName,
        'must be one of the container or initContainer names in the pod template',
      ),
    );
  if (operator === 'In' && values.includes(0))
    errors.push(invalid(`${at}.values`, 0, 'must not be 0 for the In operator'));
  for (const [index, value] of values.entries())
    if (values.indexOf(value) < index) errors.push(duplicate(`${at}.values[${index}]`, value));
  if (values.some((value, index) => value < (values[index - 1] ?? value)))
    errors.push(invalid(`${at}.values`, values, 'must be ordered'));
  return errors;
}

/** An indexed job grows and shrinks with its parallelism. */
function validateCompletionsUpdate(now: JobSpec | undefined, old: JobSpec | undefined): FieldError[] {
  if (now?.completions === old?.completions) return [];
  const elastic =
    now?.completionMode === 'Indexed' && now.completions !== undefined && now.completions === now.parallelism;
  return elastic ? [] : [invalid('spec.completions', now?.completions ?? null, 'field is immutable')];
}

/** Where the pods may run can change while the job is suspended and has not started. */
function validateTemplateUpdate(now: Job, old: Job): FieldError[] {
  const stopped = old.spec?.suspend === true && old.status?.startTime === undefined;
  const frozen = (job: Job): object => {
    const template = structuredClone(job.spec?.template ?? {}) as NonNullable<Job['spec']>['template'];
    if (!stopped) return template;
    for (const field of ['nodeSelector', 'affinity', 'tolerations', 'schedulingGates'] as const)
      delete template.spec?.[field];
    delete template.metadata?.labels;
    delete template.metadata?.annotations;
    return template;
  };
  return isDeepStrictEqual(frozen(now), frozen(old))
    ? []
    : [invalid('spec.template', now.spec?.template, 'field is immutable')];
}

function has(status: JobStatus | undefined, type: string): boolean {
  return status?.conditions?.some((one) => one.type === type && one.status === 'True') === true;
}

function statusText({ metadata, status }: Job): string {
  if (has(status, 'Complete')) return 'Complete';
  if (has(status, 'Failed')) return 'Failed';
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (has(status, 'Suspended')) return 'Suspended';
  return has(status, 'FailureTarget') ? 'FailureTarget' : 'Running';
}

function completionsText({ spec, status }: Job): string {
  const done = status?.succeeded ?? 0;
  if (spec?.completions !== undefined) return `${done}/${spec.completions}`;
  const parallelism = spec?.parallelism ?? 0;
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
}

function durationText({ status }: Job, now: number): string {
  if (status?.startTime === undefined) return '';
  if (status.completionTime === undefined) return age(status.startTime, now);
  return duration((Date.parse(status.completionTime) - Date.parse(status.startTime)) / 1000);
}
