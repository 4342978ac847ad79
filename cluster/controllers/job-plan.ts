/** What a Job needs next. Pure: looks at the job and its pods, says what to write. The rules are those of Kubernetes, "Jobs". */
import type { RecordedEvent } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import type { Job, JobCondition, JobStatus } from '../kinds/types/batch.ts';
import type { Pod } from '../kinds/types/core.ts';
import { inDeletionOrder } from './deletion-order.ts';
import { countPods, isDecided, type JobCount, newestOf } from './job-count.ts';
import { formatIndexes, indexOf } from './job-indexes.ts';
import {
  type Backoff,
  backoffLeft,
  byIndex,
  failuresOf,
  indexBackoffLeft,
  isTracked,
  type NewPod,
  outcomeOf,
  restartsOf,
} from './job-pods.ts';
import { failureVerdict, successRule } from './job-policy.ts';
import { isReady, timestamp } from './objects.ts';

/** At most so many pods are made in one step. */
const burst = 500;

export interface JobInput {
  job: Stored<Job>;
  pods: Stored<Pod>[];
  /** Those of them that have not ended, and that nobody stops. */
  active: Stored<Pod>[];
  backoff: Backoff;
  now: number;
}

export interface JobPlan {
  /** `active` without the pods that are to be made. */
  status: JobStatus;
  /** Too many: they go without being counted. */
  surplus: Stored<Pod>[];
  /** The job ended: what still runs goes, and counts as it ends. */
  stop: Stored<Pod>[];
  create: NewPod[];
  /** Counted in `status`: they let go of their finalizer when it is written. */
  release: Stored<Pod>[];
  events: RecordedEvent[];
  /** Milliseconds after which something changes by time alone. */
  again: number | undefined;
}

interface Ending {
  type: 'FailureTarget' | 'SuccessCriteriaMet';
  reason: string;
  message: string;
}

const failure = (reason: string, message: string): Ending => ({ type: 'FailureTarget', reason, message });

export function isFinishedJob(job: Job): boolean {
  return isDecided(job, 'Complete', 'Failed');
}

/** Why the job is to end now; undefined while it goes on. */
function endingOf({ job, pods, active, now }: JobInput, count: JobCount): Ending | undefined {
  const { spec, status } = job;
  for (const type of ['FailureTarget', 'SuccessCriteriaMet'] as const) {
    const old = status?.conditions?.find((one) => one.type === type && one.status === 'True');
    if (old) return { type, reason: old.reason ?? '', message: old.message ?? '' };
  }
  if (count.failJob !== undefined) return failure('PodFailurePolicy', count.failJob);
  const rule = successRule(spec, count.succeededIndexes);
  if (rule !== undefined) return { type: 'SuccessCriteriaMet', reason: 'SuccessPolicy', message: rule };
  const limit = spec?.backoffLimit ?? 6;
  const restarts =
    spec?.template.spec?.restartPolicy === 'OnFailure'
      ? restartsOf(pods.filter((pod) => outcomeOf(job, pod) === undefined))
      : 0;
  if (count.failed > limit || (restarts > 0 && restarts >= limit)) {
    return failure('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  }
  const deadline = deadlineLeft(job, now);
  if (deadline !== undefined && deadline <= 0) {
    return failure('DeadlineExceeded', 'Job was active longer than specified deadline');
  }
  if (spec?.maxFailedIndexes !== undefined && count.failedIndexes.size > spec.maxFailedIndexes) {
    return failure('MaxFailedIndexesExceeded', 'Job has exceeded the specified maximal number of failed indexes');
  }
  if (count.failedIndexes.size > 0 && count.failedIndexes.size + count.succeeded >= (spec?.completions ?? 0)) {
    return failure('FailedIndexes', 'Job has failed indexes');
  }
  const reached = spec?.completions === undefined ? count.succeeded > 0 : count.succeeded >= spec.completions;
  if (!reached || active.length > 0) return undefined;
  const message = 'Reached expected number of succeeded pods';
  return { type: 'SuccessCriteriaMet', reason: 'CompletionsReached', message };
}

function deadlineLeft({ spec, status }: Job, now: number): number | undefined {
  if (spec?.activeDeadlineSeconds === undefined || status?.startTime === undefined || spec.suspend) return undefined;
  return Date.parse(status.startTime) + spec.activeDeadlineSeconds * 1000 - now;
}

/** How many pods should be running. */
function wantedPods({ spec }: Job, active: number, { succeeded, failedIndexes }: JobCount): number {
  const parallelism = spec?.parallelism ?? 1;
  if (spec?.suspend) return 0;
  // A queue that one worker found empty has no work for a new one.
  if (spec?.completions === undefined) return succeeded > 0 ? active : parallelism;
  return Math.min(parallelism, Math.max(0, spec.completions - succeeded - failedIndexes.size));
}

/** Of an indexed job: pods that do what another one does, or what nobody needs. */
function misplacedPods(job: Job, active: Stored<Pod>[], count: JobCount): Stored<Pod>[] {
  if (job.spec?.completionMode !== 'Indexed') return [];
  const groups = byIndex(active);
  return active.filter((pod) => {
    const index = indexOf(pod);
    if (index === undefined || index >= (job.spec?.completions ?? 0)) return true;
    if (count.succeededIndexes.has(index) || count.failedIndexes.has(index)) return true;
    return inDeletionOrder(groups.get(index) ?? []).at(-1) !== pod;
  });
}

interface Making {
  create: NewPod[];
  again: number | undefined;
}

/** Which pods to make, at most `room`. */
function newPods(input: JobInput, count: JobCount, room: number): Making {
  const { job, pods, backoff, now } = input;
  const { completionMode, completions = 0, backoffLimitPerIndex } = job.spec ?? {};
  if (backoffLimitPerIndex === undefined) {
    const wait = backoffLeft(job, pods, backoff, now);
    if (wait > 0) return { create: [], again: wait };
    if (completionMode !== 'Indexed') return { create: Array.from({ length: room }, () => ({})), again: undefined };
  }
  const groups = byIndex(pods);
  const create: NewPod[] = [];
  let again: number | undefined;
  for (let index = 0; index < completions && create.length < room; index++) {
    if (count.succeededIndexes.has(index) || count.failedIndexes.has(index)) continue;
    const group = groups.get(index) ?? [];
    if (group.some((pod) => outcomeOf(job, pod) === undefined)) continue;
    if (backoffLimitPerIndex === undefined) {
      create.push({ index });
      continue;
    }
    const newest = newestOf(group);
    const wait = indexBackoffLeft(newest, backoff, now);
    if (wait > 0) again = Math.min(again ?? wait, wait);
    else {
      const ignored = newest && failureVerdict(job.spec, newest)?.action === 'Ignore';
      create.push({ index, failures: newest ? failuresOf(newest) + (ignored ? 0 : 1) : 0 });
    }
  }
  return { create, again };
}

function condition(type: string, status: string, reason: string, message: string, now: number): JobCondition {
  const at = timestamp(now);
  return { type, status, reason, message, lastProbeTime: at, lastTransitionTime: at };
}

/** Puts the condition in the place of one of its type. */
function withCondition(conditions: JobCondition[], fresh: JobCondition): JobCondition[] {
  const at = conditions.findIndex(({ type }) => type === fresh.type);
  return at < 0 ? [...conditions, fresh] : conditions.with(at, fresh);
}

interface Told {
  conditions: JobCondition[];
  events: RecordedEvent[];
  startTime: string | undefined;
  completionTime: string | undefined;
}

function tellSuspension({ job, now }: JobInput, told: Told): void {
  const suspended = job.status?.conditions?.find(({ type }) => type === 'Suspended')?.status === 'True';
  const wanted = job.spec?.suspend === true;
  if (!wanted) told.startTime ??= timestamp(now);
  else told.startTime = undefined;
  if (wanted === suspended) return;
  const [reason, message] = wanted ? ['JobSuspended', 'Job suspended'] : ['JobResumed', 'Job resumed'];
  if (!wanted) told.startTime = timestamp(now);
  told.conditions = withCondition(
    told.conditions,
    condition('Suspended', wanted ? 'True' : 'False', reason, message, now),
  );
  told.events.push({ type: 'Normal', reason: wanted ? 'Suspended' : 'Resumed', message });
}

/** First what the job comes to; then, when its last pod has stopped and is counted, that it came to it. */
function tellEnding({ job, pods, now }: JobInput, ending: Ending, settled: boolean, told: Told): void {
  const { type, reason, message } = ending;
  if (!isDecided(job, type)) {
    told.conditions = withCondition(told.conditions, condition(type, 'True', reason, message, now));
  }
  if (!settled || pods.some((pod) => isTracked(pod) || outcomeOf(job, pod) === undefined)) return;
  const complete = type === 'SuccessCriteriaMet';
  const final = condition(complete ? 'Complete' : 'Failed', 'True', reason, message, now);
  told.conditions = withCondition(told.conditions, final);
  if (complete) told.completionTime = timestamp(now);
  told.events.push(
    complete ? { type: 'Normal', reason: 'Completed', message: 'Job completed' } : { type: 'Warning', reason, message },
  );
}

function statusOf({ job, pods }: JobInput, count: JobCount, left: Stored<Pod>[], told: Told): JobStatus {
  const terminating = pods.filter(
    (pod) => pod.metadata.deletionTimestamp !== undefined && !['Succeeded', 'Failed'].includes(pod.status?.phase ?? ''),
  ).length;
  const names = { succeeded: [...count.succeededNames], failed: [...count.failedNames] };
  const indexed = job.spec?.completionMode === 'Indexed';
  return {
    ...(told.conditions.length > 0 && { conditions: told.conditions }),
    ...(told.startTime !== undefined && { startTime: told.startTime }),
    ...(told.completionTime !== undefined && { completionTime: told.completionTime }),
    ...(left.length > 0 && { active: left.length }),
    ...(count.succeededBefore > 0 && { succeeded: count.succeededBefore }),
    ...(count.failedBefore > 0 && { failed: count.failedBefore }),
    terminating,
    ready: left.filter(isReady).length,
    ...(indexed && count.succeededIndexes.size > 0 && { completedIndexes: formatIndexes(count.succeededIndexes) }),
    ...(job.spec?.backoffLimitPerIndex !== undefined && { failedIndexes: formatIndexes(count.failedIndexes) }),
    uncountedTerminatedPods: {
      ...(names.succeeded.length > 0 && { succeeded: names.succeeded }),
      ...(names.failed.length > 0 && { failed: names.failed }),
    },
  };
}

export function planJob(input: JobInput): JobPlan {
  const { job, pods, active, now } = input;
  const count = countPods(job, pods);
  const ending = endingOf(input, count);
  const told: Told = {
    conditions: job.status?.conditions ?? [],
    events: [],
    startTime: job.status?.startTime,
    completionTime: job.status?.completionTime,
  };
  const plan: JobPlan = {
    status: { uncountedTerminatedPods: {} },
    surplus: [],
    stop: [],
    create: [],
    release: count.release,
    events: told.events,
    again: undefined,
  };
  if (ending) {
    plan.stop = active;
    told.startTime ??= timestamp(now);
    tellEnding(input, ending, count.release.length === 0, told);
  } else {
    tellSuspension(input, told);
    planPods(input, count, plan);
    const deadline = deadlineLeft({ ...job, status: { startTime: told.startTime ?? timestamp(now) } }, now);
    if (deadline !== undefined) plan.again = Math.min(plan.again ?? deadline, Math.max(1, deadline));
  }
  const leaving = new Set([...plan.surplus, ...plan.stop]);
  const left = active.filter((pod) => !leaving.has(pod));
  plan.status = statusOf(input, count, left, told);
  return plan;
}

/** How many pods go or come. */
function planPods(input: JobInput, count: JobCount, plan: JobPlan): void {
  const { job, pods, active } = input;
  const misplaced = new Set(misplacedPods(job, active, count));
  const placed = active.filter((pod) => !misplaced.has(pod));
  const wanted = wantedPods(job, placed.length, count);
  const over = inDeletionOrder(placed).slice(0, Math.max(0, placed.length - wanted));
  plan.surplus = [...misplaced, ...over];
  const stopping = pods.filter(
    (pod) => pod.metadata.deletionTimestamp !== undefined && outcomeOf(job, pod) === undefined,
  ).length;
  const room = Math.min(wanted - placed.length - stopping, burst);
  if (room > 0) Object.assign(plan, newPods(input, count, room));
}
