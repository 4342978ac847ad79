/** Makes a Job at each time that a CronJob's schedule says. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { cronJobs as cronJobResource, jobs as jobResource } from '../kinds/resources.ts';
import type { CronJob, CronJobStatus, Job } from '../kinds/types/batch.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { type CronTimes, cronTimes, missedTimes } from './cron-times.ts';
import { isFinishedJob } from './job-plan.ts';
import { controllerIndex, controllerOf, keyOf, openInformer, sameJson, splitKey, timestamp } from './objects.ts';
import { type PodOwner, referenceTo } from './pod-control.ts';

/** On the jobs that were made here, not on those that a person made from the same template. */
const scheduledAnnotation = 'batch.kubernetes.io/cronjob-scheduled-timestamp';
/** Timers may fire a little early. */
const late = 100;

interface Running {
  cronJobs: Informer<CronJob>;
  jobs: Informer<Job>;
  recorder: EventRecorder;
  /** By uid: the newest status written, and the newest job made. */
  written: Map<string, { cronJob?: string; job?: string }>;
}

interface Step {
  cronJob: Stored<CronJob>;
  owner: PodOwner;
  jobs: Stored<Job>[];
  status: CronJobStatus;
  client: Client;
  now: number;
}

const isComplete = (job: Job): boolean =>
  job.status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True') === true;

async function removeJob(client: Client, job: Stored<Job>): Promise<void> {
  const { uid, name, namespace = '' } = job.metadata;
  try {
    await client.delete(jobResource, name, { namespace, propagationPolicy: 'Background', preconditions: { uid } });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

function jobOf(cronJob: Stored<CronJob>, owner: PodOwner, scheduled: number): Job {
  const template = cronJob.spec?.jobTemplate;
  const { labels, annotations } = template?.metadata ?? {};
  return {
    metadata: {
      // Of the time alone: two steps that mean the same run cannot make two jobs.
      name: `${cronJob.metadata.name}-${Math.floor(scheduled / 60_000)}`,
      namespace: cronJob.metadata.namespace ?? '',
      ...(labels && { labels }),
      annotations: { ...annotations, [scheduledAnnotation]: timestamp(scheduled) },
      ownerReferences: [referenceTo(owner)],
    },
    ...(template?.spec && { spec: template.spec }),
  };
}

function referenceOf({ metadata }: Stored<Job>) {
  const { name, namespace = '', uid, resourceVersion } = metadata;
  return { apiVersion: 'batch/v1', kind: 'Job', name, namespace, uid, resourceVersion };
}

export function createCronJobController(): Controller {
  let running: Running | undefined;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  async function removeHistory({ cronJob, owner, jobs, client }: Step, { recorder }: Running): Promise<void> {
    const { successfulJobsHistoryLimit: good = 3, failedJobsHistoryLimit: bad = 1 } = cronJob.spec ?? {};
    const finished = jobs
      .filter((job) => isFinishedJob(job) && job.metadata.deletionTimestamp === undefined)
      .sort((a, b) => ((a.status?.startTime ?? '') < (b.status?.startTime ?? '') ? 1 : -1));
    const over = [...finished.filter(isComplete).slice(good), ...finished.filter((job) => !isComplete(job)).slice(bad)];
    for (const job of over) {
      await removeJob(client, job);
      const message = `Deleted job ${job.metadata.name}`;
      recorder.record(owner, { type: 'Normal', reason: 'SuccessfulDelete', message });
    }
  }

  /** Which of its jobs run, and when one last succeeded. */
  function look({ cronJob, owner, jobs, status }: Step, { recorder }: Running): void {
    const before = new Set(cronJob.status?.active?.map(({ uid }) => uid));
    const active = jobs.filter((job) => !isFinishedJob(job) && job.metadata.annotations?.[scheduledAnnotation]);
    for (const job of jobs) {
      if (!isFinishedJob(job)) continue;
      const { uid, name } = job.metadata;
      if (before.has(uid)) {
        const message = `Saw completed job: ${name}, condition: ${isComplete(job) ? 'Complete' : 'Failed'}`;
        recorder.record(owner, { type: 'Normal', reason: 'SawCompletedJob', message });
      }
      const end = isComplete(job) ? job.status?.completionTime : undefined;
      if (end !== undefined && end > (status.lastSuccessfulTime ?? '')) status.lastSuccessfulTime = end;
    }
    const references = new Map(cronJob.status?.active?.map((reference) => [reference.uid, reference]));
    setActive(
      status,
      active.map((job) => references.get(job.metadata.uid) ?? referenceOf(job)),
    );
  }

  function setActive(status: CronJobStatus, active: NonNullable<CronJobStatus['active']>): void {
    if (active.length > 0) status.active = active;
    else delete status.active;
  }

  async function createJob(step: Step, { recorder, written }: Running, scheduled: number): Promise<void> {
    const { cronJob, owner, client, status } = step;
    const wanted = jobOf(cronJob, owner, scheduled);
    let job: Stored<Job> | undefined;
    try {
      job = await client.create(jobResource, wanted);
      const message = `Created job ${job.metadata.name}`;
      recorder.record(owner, { type: 'Normal', reason: 'SuccessfulCreate', message });
    } catch (error) {
      const { name = '', namespace } = wanted.metadata;
      if (error instanceof ApiError && error.reason === 'AlreadyExists') {
        job = await client.get(jobResource, name, namespace);
      }
      // Ours from a step whose end was not written; another's is left alone, and told.
      if (!job || controllerOf(job.metadata)?.uid !== cronJob.metadata.uid) {
        const message = `Error creating job: ${error instanceof Error ? error.message : String(error)}`;
        recorder.record(owner, { type: 'Warning', reason: 'FailedCreate', message });
        throw error;
      }
    }
    const { uid: made } = job.metadata;
    written.set(cronJob.metadata.uid, { job: job.metadata.resourceVersion });
    const others = status.active?.filter(({ uid }) => uid !== made) ?? [];
    setActive(status, isFinishedJob(job) ? others : [...others, referenceOf(job)]);
    status.lastScheduleTime = timestamp(scheduled);
  }

  /** Runs what is due. */
  async function runDue(step: Step, state: Running, times: CronTimes): Promise<void> {
    const { cronJob, owner, jobs, status, client, now } = step;
    const { startingDeadlineSeconds, concurrencyPolicy } = cronJob.spec ?? {};
    const { recorder } = state;
    const last = Date.parse(status.lastScheduleTime ?? cronJob.metadata.creationTimestamp);
    const deadline = startingDeadlineSeconds === undefined ? undefined : now - startingDeadlineSeconds * 1000;
    const missed = missedTimes(times, Math.max(last, deadline ?? 0), now);
    if (!missed) return;
    if (missed.tooMany) {
      const message = 'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew';
      recorder.record(owner, { type: 'Warning', reason: 'TooManyMissedTimes', message });
    }
    if (deadline !== undefined && missed.latest < deadline) {
      const message = `Missed scheduled time to start a job: ${new Date(missed.latest).toUTCString()}`;
      recorder.record(owner, { type: 'Warning', reason: 'MissSchedule', message });
      return;
    }
    const active = status.active ?? [];
    if (concurrencyPolicy === 'Forbid' && active.length > 0) {
      const message = 'Not starting job because prior execution is running and concurrency policy is Forbid';
      recorder.record(owner, { type: 'Normal', reason: 'JobAlreadyActive', message });
      return;
    }
    if (concurrencyPolicy === 'Replace') {
      for (const job of jobs.filter(({ metadata }) => active.some(({ uid }) => uid === metadata.uid))) {
        await removeJob(client, job);
        const message = `Deleted job ${job.metadata.name}`;
        recorder.record(owner, { type: 'Normal', reason: 'SuccessfulDelete', message });
      }
      setActive(status, []);
    }
    await createJob(step, state, missed.latest);
  }

  async function settle({ cronJobs, jobs, written }: Running, uid: string, signal: AbortSignal): Promise<void> {
    const versions = written.get(uid);
    if (!versions) return;
    const soon = AbortSignal.any([signal, AbortSignal.timeout(30_000)]);
    if (versions.cronJob !== undefined) await cronJobs.reached(versions.cronJob, soon);
    if (versions.job !== undefined) await jobs.reached(versions.job, soon);
    written.delete(uid);
  }

  async function reconcile(key: string, { client, signal, now: clock }: ControllerContext): Promise<void> {
    if (!running) return;
    const { namespace, name } = splitKey(key);
    const before = running.cronJobs.get(name, namespace);
    if (!before) return;
    await settle(running, before.metadata.uid, signal);
    const cronJob = running.cronJobs.get(name, namespace);
    if (!cronJob || cronJob.metadata.deletionTimestamp !== undefined || !cronJob.spec) return;
    const { uid } = cronJob.metadata;
    const now = clock();
    const step: Step = {
      cronJob,
      owner: { apiVersion: 'batch/v1', kind: 'CronJob', metadata: cronJob.metadata },
      jobs: running.jobs.byIndex('controller', uid),
      status: { ...cronJob.status },
      client,
      now,
    };
    look(step, running);
    await removeHistory(step, running);
    const times = cronTimes(cronJob.spec.schedule, cronJob.spec.timeZone);
    let failure: unknown;
    try {
      if (!cronJob.spec.suspend) await runDue(step, running, times);
    } catch (error) {
      failure = error;
    }
    if (!sameJson(step.status, cronJob.status ?? {})) {
      const updated = await client.updateStatus(cronJobResource, { ...cronJob, status: step.status });
      running.written.set(uid, { ...running.written.get(uid), cronJob: updated.metadata.resourceVersion });
    }
    if (failure !== undefined) throw failure;
    const next = cronJob.spec.suspend ? undefined : times.next(now);
    if (next !== undefined) requeue(key, next - now + late);
  }

  return {
    name: 'cronjob',
    async start(context, enqueue) {
      requeue = enqueue;
      const { client, log } = context;
      const cronJobs = openInformer(context, cronJobResource);
      const jobs = openInformer(context, jobResource, controllerIndex);
      const recorder = createEventRecorder({
        client,
        component: 'cronjob-controller',
        onError: (error) => log('warn', `cronjob-controller: an event was lost: ${String(error)}`),
      });
      running = { cronJobs, jobs, recorder, written: new Map() };
      const { written } = running;
      cronJobs.onChange((now, old) => {
        if (now) enqueue(keyOf(now.metadata));
        else if (old) written.delete(old.metadata.uid);
      });
      jobs.onChange((now, old) => {
        const metadata = (now ?? old)?.metadata;
        const owner = metadata && controllerOf(metadata);
        if (owner?.kind === 'CronJob') enqueue(`${metadata?.namespace}/${owner.name}`);
      });
      await Promise.all([cronJobs.synced, jobs.synced]);
      for (const { metadata } of cronJobs.list()) enqueue(keyOf(metadata));
    },
    keys: () => running?.cronJobs.list().map(({ metadata }) => keyOf(metadata)) ?? [],
    reconcile,
  };
}
