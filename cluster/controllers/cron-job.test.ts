import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, startControlPlane, until } from '#testing/control-plane.ts';
import type { Stored } from '../kinds/kind.ts';
import { cronJobs, events, jobs } from '../kinds/resources.ts';
import type { CronJob, CronJobSpec, Job } from '../kinds/types/batch.ts';
import { createCronJobController } from './cron-job.ts';

const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'i' }] } };

function cronJob(namespace: string, name: string, spec: Partial<CronJobSpec> = {}): CronJob {
  return {
    metadata: { name, namespace },
    spec: {
      schedule: '0 * * * *',
      timeZone: 'UTC',
      jobTemplate: { metadata: { labels: { from: name } }, spec: { template } },
      ...spec,
    },
  };
}

describe('cron job controller', () => {
  let plane: ControlPlane;
  /** Ahead of the server's, which gives the objects their time: nothing is due before it is turned. */
  let clock = (Math.floor(Date.now() / 3_600_000) + 1) * 3_600_000 - 1000;
  before(async () => {
    plane = await startControlPlane();
    plane.context.now = () => clock;
    await plane.start(createCronJobController());
  });
  after(() => plane.close());

  /** Turns the clock, and wakes the controller as its timer would have. */
  const pass = async (namespace: string, name: string, milliseconds: number): Promise<void> => {
    clock += milliseconds;
    await plane.client.patch(
      cronJobs,
      name,
      { type: 'merge', body: { metadata: { annotations: { clock: String(clock) } } } },
      { namespace },
    );
  };
  const hour = 3_600_000;
  const end = async (job: Stored<Job>, type: 'Complete' | 'Failed'): Promise<void> => {
    const time = `${new Date(clock).toISOString().slice(0, 19)}Z`;
    const conditions = [{ type, status: 'True', lastTransitionTime: time }];
    const startTime = job.metadata.annotations?.['batch.kubernetes.io/cronjob-scheduled-timestamp'] ?? time;
    const completion = type === 'Complete' ? { completionTime: time } : {};
    await plane.client.updateStatus(jobs, { ...job, status: { startTime, conditions, ...completion } });
  };
  const eventOf = (namespace: string, reason: string) =>
    until(plane.client, events, namespace, (list) => list.some((event) => event.reason === reason));

  it('makes a job at each time, once, and keeps the last few', async () => {
    const namespace = await plane.namespace('hourly');
    const made = await plane.client.create(
      cronJobs,
      cronJob(namespace, 'tick', { successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 0 }),
    );
    await pass(namespace, 'tick', hour + 60_000);
    const [first] = await until(plane.client, jobs, namespace, (list) => list.length === 1);
    assert.ok(first);
    const scheduled = Math.floor(clock / hour) * hour;
    assert.equal(first.metadata.name, `tick-${scheduled / 60_000}`);
    assert.deepEqual(first.metadata.labels, { from: 'tick' });
    assert.equal(first.metadata.ownerReferences?.[0]?.uid, made.metadata.uid);
    const [active] = await until(plane.client, cronJobs, namespace, ([one]) => one?.status?.active?.length === 1);
    assert.equal(active?.status?.active?.[0]?.uid, first.metadata.uid);
    assert.equal(Date.parse(active.status.lastScheduleTime ?? ''), scheduled);

    await plane.restartControllers();
    await pass(namespace, 'tick', 60_000);
    await end(first, 'Complete');
    const [done] = await until(plane.client, cronJobs, namespace, ([one]) => one?.status?.active === undefined);
    assert.ok(done?.status?.lastSuccessfulTime);
    await pass(namespace, 'tick', hour);
    const two = await until(plane.client, jobs, namespace, (list) => list.length === 2);
    const second = two.find(({ metadata }) => metadata.uid !== first.metadata.uid);
    assert.ok(second);
    await end(second, 'Complete');
    const [kept] = await until(plane.client, jobs, namespace, (list) => list.length === 1);
    assert.equal(kept?.metadata.uid, second.metadata.uid);
    await eventOf(namespace, 'SawCompletedJob');
  });

  it('runs the newest of many that were missed, and says so', async () => {
    const namespace = await plane.namespace('missed');
    await plane.client.create(cronJobs, cronJob(namespace, 'old'));
    await pass(namespace, 'old', 200 * hour);
    const [job, ...more] = await until(plane.client, jobs, namespace, (list) => list.length > 0);
    assert.equal(more.length, 0);
    assert.equal(job?.metadata.name, `old-${(Math.floor(clock / hour) * hour) / 60_000}`);
    await eventOf(namespace, 'TooManyMissedTimes');
  });

  it('does not start what is too late', async () => {
    const namespace = await plane.namespace('too-late');
    await plane.client.create(cronJobs, cronJob(namespace, 'strict', { startingDeadlineSeconds: 30 }));
    clock = Math.floor(clock / hour) * hour + hour + 60_000;
    await pass(namespace, 'strict', 0);
    clock += hour - 60_000 + 10_000;
    await pass(namespace, 'strict', 0);
    const [job, ...more] = await until(plane.client, jobs, namespace, (list) => list.length > 0);
    assert.equal(more.length, 0);
    assert.equal(job?.metadata.name, `strict-${(Math.floor(clock / hour) * hour) / 60_000}`);
  });

  it('forbids or replaces a run while another goes on', async () => {
    const namespace = await plane.namespace('concurrent');
    await plane.client.create(cronJobs, cronJob(namespace, 'one', { concurrencyPolicy: 'Forbid' }));
    await pass(namespace, 'one', hour);
    const [first] = await until(plane.client, jobs, namespace, (list) => list.length === 1);
    await pass(namespace, 'one', hour);
    await eventOf(namespace, 'JobAlreadyActive');
    assert.equal((await plane.client.list(jobs, { namespace })).items.length, 1);
    await plane.client.patch(
      cronJobs,
      'one',
      { type: 'merge', body: { spec: { concurrencyPolicy: 'Replace' } } },
      { namespace },
    );
    await until(
      plane.client,
      jobs,
      namespace,
      (list) => list.length === 1 && list[0]?.metadata.uid !== first?.metadata.uid,
    );
    await eventOf(namespace, 'SuccessfulDelete');
  });

  it('makes nothing while it is suspended, and takes its name back after a crash', async () => {
    const namespace = await plane.namespace('suspended');
    await plane.client.create(cronJobs, cronJob(namespace, 'quiet', { suspend: true }));
    await pass(namespace, 'quiet', hour);
    const [quiet] = await until(plane.client, cronJobs, namespace, ([one]) => one !== undefined);
    assert.ok(quiet);
    assert.equal((await plane.client.list(jobs, { namespace })).items.length, 0);
    // As if it had been killed between the job and the status.
    const scheduled = Math.floor(clock / hour) * hour;
    const { uid } = quiet.metadata;
    const ours = await plane.client.create(jobs, {
      metadata: {
        name: `quiet-${scheduled / 60_000}`,
        namespace,
        annotations: { 'batch.kubernetes.io/cronjob-scheduled-timestamp': new Date(scheduled).toISOString() },
        ownerReferences: [{ apiVersion: 'batch/v1', kind: 'CronJob', name: 'quiet', uid, controller: true }],
      },
      spec: { template },
    });
    await plane.client.patch(cronJobs, 'quiet', { type: 'merge', body: { spec: { suspend: false } } }, { namespace });
    const [resumed] = await until(
      plane.client,
      cronJobs,
      namespace,
      ([one]) => one?.status?.lastScheduleTime !== undefined,
    );
    assert.deepEqual(
      resumed?.status?.active?.map((reference) => reference.uid),
      [ours.metadata.uid],
    );
    assert.equal((await plane.client.list(jobs, { namespace })).items.length, 1);
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});
