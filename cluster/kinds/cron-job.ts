import { age, ageColumn, column, nameColumn } from './columns.ts';
import { scheduleProblem } from './cron-schedule.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { invalid, required } from './field-errors.ts';
import { jobWarnings, validateJobSpec } from './job.ts';
import { defaultPodSpec } from './pod-defaults.ts';
import { cronJobs } from './resources.ts';
import { check, nonNegative, oneOf, present, setDefaults } from './rules.ts';
import { formatLabelSelector } from './selector.ts';
import type { CronJob } from './types/batch.ts';
import { templateColumns, validateTemplate } from './workload.ts';

/** The job's name is this one's with 11 characters more, and is a label's value. */
const NAME_LIMIT = 52;

export const cronJobKind = defineKind(cronJobs, {
  schemaName: 'io.k8s.api.batch.v1.CronJob',
  shortNames: ['cj'],
  categories: ['all'],
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<CronJob>('Schedule', 'string', (job) => job.spec?.schedule ?? ''),
    column<CronJob>('Timezone', 'string', (job) => job.spec?.timeZone ?? '<none>'),
    column<CronJob>('Suspend', 'boolean', (job) => (job.spec?.suspend === true ? 'True' : 'False')),
    column<CronJob>('Active', 'integer', (job) => job.status?.active?.length ?? 0),
    column<CronJob>('Last Schedule', 'string', (job, now) =>
      job.status?.lastScheduleTime === undefined ? '<none>' : age(job.status.lastScheduleTime, now),
    ),
    ageColumn,
    ...templateColumns(
      (object) => (object as CronJob).spec?.jobTemplate?.spec?.template,
      (object) => formatLabelSelector((object as CronJob).spec?.jobTemplate?.spec?.selector),
    ),
  ],
  defaults: (object) => {
    setDefaults(object, {
      'spec.concurrencyPolicy': 'Allow',
      'spec.suspend': false,
      'spec.successfulJobsHistoryLimit': 3,
      'spec.failedJobsHistoryLimit': 1,
    });
    const template = (object as CronJob).spec?.jobTemplate?.spec?.template?.spec;
    if (template !== undefined) defaultPodSpec(template);
  },
  prepareForCreate: (object) => {
    (object as CronJob).status = {};
  },
  validate: (object) => {
    const { metadata, spec } = object as CronJob;
    if (spec === undefined) return [required('spec')];
    const errors: FieldError[] = [];
    if ((metadata.name ?? '').length > NAME_LIMIT)
      errors.push(invalid('metadata.name', metadata.name, `must be no more than ${NAME_LIMIT} characters`));
    errors.push(
      ...check(object, {
        'spec.schedule': [present(), scheduleRule],
        'spec.timeZone': timeZoneRule,
        'spec.startingDeadlineSeconds': nonNegative,
        'spec.concurrencyPolicy': oneOf('Allow', 'Forbid', 'Replace'),
        'spec.successfulJobsHistoryLimit': nonNegative,
        'spec.failedJobsHistoryLimit': nonNegative,
      }),
    );
    const job = spec.jobTemplate?.spec;
    if (job === undefined) return [...errors, required('spec.jobTemplate.spec.template.spec.containers')];
    if (job.manualSelector === true)
      errors.push(invalid('spec.jobTemplate.spec.manualSelector', true, 'must be unset or false'));
    return [
      ...errors,
      ...validateJobSpec(job, 'spec.jobTemplate.spec'),
      ...validateTemplate(job.template, 'spec.jobTemplate.spec.template', true),
    ];
  },
  warnings: (object, old) =>
    jobWarnings(object, old, (object as CronJob).spec?.jobTemplate?.spec, 'spec.jobTemplate.spec'),
});

function scheduleRule(value: unknown, field: string): FieldError[] {
  const text = String(value);
  if (text.includes('TZ'))
    return [invalid(field, text, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead')];
  const problem = scheduleProblem(text);
  return problem === undefined ? [] : [invalid(field, text, problem)];
}

function timeZoneRule(value: unknown, field: string): FieldError[] {
  if (value === undefined) return [];
  const zone = String(value);
  if (zone === '') return [invalid(field, zone, 'timeZone must be nil or non-empty string')];
  if (zone.toLowerCase() === 'local')
    return [
      invalid(field, zone, 'timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones'),
    ];
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    // Offsets are zones to JavaScript, but to no database of them.
    if (/^[A-Za-z_]+[A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/.test(zone)) return [];
  } catch {
    // Falls through: no such zone.
  }
  return [invalid(field, zone, `unknown time zone ${zone}`)];
}
