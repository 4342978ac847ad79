import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ControlPlane, createNode, playScheduler, startControlPlane, until } from '#testing/control-plane.ts';
import { type EndOfPod, playJobs } from '#testing/play-jobs.ts';
import type { Stored } from '../kinds/kind.ts';
import { events, jobs, pods } from '../kinds/resources.ts';
import type { Job, JobSpec } from '../kinds/types/batch.ts';
import type { Pod } from '../kinds/types/core.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { createJobController } from './job.ts';
import { createJobTtl } from './job-ttl.ts';

function job(namespace: string, name: string, spec: Partial<JobSpec>, restartPolicy = 'Never'): Job {
  const template = { spec: { restartPolicy, containers: [{ name: 'main', image: 'i' }] } };
  return { metadata: { name, namespace }, spec: { template, ...spec } };
}

const conditionOf = (one: Job | undefined, type: string) =>
  one?.status?.conditions?.find((condition) => condition.type === type && condition.status === 'True');
const indexOf = ({ metadata }: Pod): string => metadata.annotations?.['batch.kubernetes.io/job-completion-index'] ?? '';

describe('job controller', () => {
  let plane: ControlPlane;
  /** How pods of a job end; those of no job named here run on. */
  const ends = new Map<string, (pod: Stored<Pod>) => EndOfPod | undefined>();
  const stops: (() => void)[] = [];
  before(async () => {
    plane = await startControlPlane();
    await createNode(plane.client, 'node-1');
    stops.push(
      playScheduler(plane.client, 'node-1'),
      playJobs(plane.client, (pod) => ends.get(pod.metadata.labels?.['job-name'] ?? '')?.(pod)),
    );
    const backoff = { first: 1, longest: 10 };
    await plane.start(createJobController({ backoff }), createJobTtl(), createGarbageCollector());
  });
  after(async () => {
    for (const stop of stops) stop();
    await plane.close();
  });

  const ended = async (namespace: string, type: string): Promise<Stored<Job>> => {
    const [one] = await until(plane.client, jobs, namespace, ([first]) => conditionOf(first, type) !== undefined);
    assert.ok(one);
    return one;
  };
  const podsOf = async (namespace: string): Promise<Stored<Pod>[]> =>
    (await plane.client.list(pods, { namespace })).items;

  it('runs as many pods as asked for, so many at a time, and counts each once', async () => {
    const namespace = await plane.namespace('complete');
    ends.set('all', () => ({ code: 0 }));
    let most = 0;
    const watched = until(plane.client, jobs, namespace, ([one]) => {
      most = Math.max(most, one?.status?.active ?? 0);
      return conditionOf(one, 'Complete') !== undefined;
    });
    await plane.client.create(jobs, job(namespace, 'all', { completions: 7, parallelism: 3 }));
    const [done] = await watched;
    assert.equal(done?.status?.succeeded, 7);
    assert.equal(done.status.failed, undefined);
    assert.equal(done.status.active, undefined);
    assert.deepEqual(done.status.uncountedTerminatedPods, {});
    assert.ok(done.status.startTime !== undefined && done.status.completionTime !== undefined);
    assert.equal(conditionOf(done, 'SuccessCriteriaMet')?.reason, 'CompletionsReached');
    assert.ok(most <= 3, `${most} pods at once`);
    const made = await podsOf(namespace);
    assert.equal(made.length, 7);
    for (const { metadata } of made) assert.equal(metadata.finalizers, undefined);
    await until(plane.client, events, namespace, (list) => list.some(({ reason }) => reason === 'Completed'));
  });

  it('counts each pod once, wherever the controller is stopped', async () => {
    const namespace = await plane.namespace('stopped');
    let failures = 0;
    ends.set('churn', () => ({ code: failures++ % 4 === 3 ? 1 : 0 }));
    await plane.client.create(jobs, job(namespace, 'churn', { completions: 30, parallelism: 6, backoffLimit: 100 }));
    for (let seen = 0; seen < 25; ) {
      const [one] = await until(plane.client, jobs, namespace, ([first]) => (first?.status?.succeeded ?? 0) > seen);
      seen = (one?.status?.succeeded ?? 0) + 5;
      await plane.restartControllers();
    }
    const done = await ended(namespace, 'Complete');
    const made = await podsOf(namespace);
    const of = (phase: string): number => made.filter(({ status }) => status?.phase === phase).length;
    assert.deepEqual([done.status?.succeeded, done.status?.failed], [of('Succeeded'), of('Failed')]);
    assert.equal(done.status?.succeeded, 30);
    assert.ok(of('Failed') > 0);
  });

  it('gives each index to one pod, with its name, variable and label', async () => {
    const namespace = await plane.namespace('indexed');
    let once = true;
    ends.set('parts', (pod) => {
      const fails = indexOf(pod) === '1' && once;
      if (fails) once = false;
      return { code: fails ? 3 : 0 };
    });
    await plane.client.create(
      jobs,
      job(namespace, 'parts', { completions: 4, parallelism: 4, completionMode: 'Indexed' }),
    );
    const done = await ended(namespace, 'Complete');
    assert.equal(done.status?.completedIndexes, '0-3');
    assert.deepEqual([done.status.succeeded, done.status.failed], [4, 1]);
    const made = await podsOf(namespace);
    assert.deepEqual(made.map(indexOf).sort(), ['0', '1', '1', '2', '3']);
    const third = made.find((pod) => indexOf(pod) === '3');
    assert.match(third?.metadata.name ?? '', /^parts-3-[a-z0-9]{5}$/);
    assert.equal(third?.spec?.hostname, 'parts-3');
    assert.equal(third.metadata.labels?.['batch.kubernetes.io/job-completion-index'], '3');
    assert.deepEqual(
      third.spec.containers[0]?.env?.[0]?.valueFrom?.fieldRef?.fieldPath,
      "metadata.labels['batch.kubernetes.io/job-completion-index']",
    );
  });

  it('fails after as many failures as it may have, and stops what still runs', async () => {
    const namespace = await plane.namespace('backoff');
    ends.set('bad', (pod) => (indexOf(pod) === '0' ? { code: 1 } : undefined));
    await plane.client.create(
      jobs,
      job(namespace, 'bad', { completions: 2, parallelism: 2, backoffLimit: 2, completionMode: 'Indexed' }),
    );
    const failed = await ended(namespace, 'Failed');
    assert.equal(conditionOf(failed, 'Failed')?.reason, 'BackoffLimitExceeded');
    assert.equal(conditionOf(failed, 'FailureTarget')?.reason, 'BackoffLimitExceeded');
    assert.equal(failed.status?.failed, 4, 'three of the bad index, and the one that was stopped');
    assert.equal(failed.status.active, undefined);
    const left = await podsOf(namespace);
    assert.ok(left.every(({ status }) => status?.phase === 'Failed'));
  });

  it('limits the failures of each index by itself', async () => {
    const namespace = await plane.namespace('per-index');
    ends.set('each', (pod) => ({ code: indexOf(pod) === '1' ? 1 : 0 }));
    await plane.client.create(
      jobs,
      job(namespace, 'each', { completions: 3, parallelism: 3, completionMode: 'Indexed', backoffLimitPerIndex: 1 }),
    );
    const failed = await ended(namespace, 'Failed');
    assert.equal(conditionOf(failed, 'Failed')?.reason, 'FailedIndexes');
    assert.deepEqual(
      [failed.status?.completedIndexes, failed.status?.failedIndexes, failed.status?.failed],
      ['0,2', '1', 2],
    );
    const counts = (await podsOf(namespace))
      .filter((pod) => indexOf(pod) === '1')
      .map(({ metadata }) => metadata.annotations?.['batch.kubernetes.io/job-index-failure-count']);
    assert.deepEqual(counts.sort(), ['0', '1']);
  });

  it('follows its failure policy: some exits are not counted, one fails all', async () => {
    const namespace = await plane.namespace('policy');
    const codes = [42, 42, 42, 7];
    ends.set('strict', () => ({ code: codes.shift() ?? 0 }));
    const rules = [
      { action: 'Ignore', onExitCodes: { operator: 'In', values: [42] } },
      { action: 'FailJob', onExitCodes: { containerName: 'main', operator: 'NotIn', values: [1, 2] } },
    ];
    await plane.client.create(jobs, job(namespace, 'strict', { backoffLimit: 0, podFailurePolicy: { rules } }));
    const failed = await ended(namespace, 'Failed');
    assert.equal(failed.status?.failed, 1);
    const { reason, message } = conditionOf(failed, 'Failed') ?? {};
    assert.equal(reason, 'PodFailurePolicy');
    assert.match(
      message ?? '',
      /^Container main for pod policy\/strict-\w+ failed with exit code 7 matching FailJob rule at index 1$/,
    );
    assert.equal((await podsOf(namespace)).length, 4);
  });

  it('succeeds when its success policy is met, though pods still run', async () => {
    const namespace = await plane.namespace('success');
    ends.set('leader', (pod) => (indexOf(pod) === '0' ? { code: 0 } : undefined));
    const successPolicy = { rules: [{ succeededIndexes: '0' }] };
    await plane.client.create(
      jobs,
      job(namespace, 'leader', { completions: 3, parallelism: 3, completionMode: 'Indexed', successPolicy }),
    );
    const done = await ended(namespace, 'Complete');
    assert.equal(conditionOf(done, 'SuccessCriteriaMet')?.message, 'Matched rules at index 0');
    assert.deepEqual([done.status?.succeeded, done.status?.failed], [1, undefined]);
  });

  it('ends at its deadline, and goes with its pods when its time is over', async () => {
    const namespace = await plane.namespace('deadline');
    await plane.client.create(jobs, job(namespace, 'late', { activeDeadlineSeconds: 1, ttlSecondsAfterFinished: 1 }));
    const failed = await ended(namespace, 'Failed');
    assert.equal(conditionOf(failed, 'Failed')?.reason, 'DeadlineExceeded');
    await until(plane.client, jobs, namespace, (list) => list.length === 0);
    await until(plane.client, pods, namespace, (list) => list.length === 0);
  });

  it('is suspended and resumed without counting the pods that it stopped', async () => {
    const namespace = await plane.namespace('suspend');
    await plane.client.create(jobs, job(namespace, 'pause', { completions: 2, parallelism: 2, suspend: true }));
    const [waiting] = await until(
      plane.client,
      jobs,
      namespace,
      ([one]) => conditionOf(one, 'Suspended') !== undefined,
    );
    assert.equal(waiting?.status?.startTime, undefined);
    assert.equal((await podsOf(namespace)).length, 0);
    const suspend = (value: boolean) =>
      plane.client.patch(jobs, 'pause', { type: 'merge', body: { spec: { suspend: value } } }, { namespace });
    await suspend(false);
    await until(plane.client, jobs, namespace, ([one]) => one?.status?.ready === 2);
    await suspend(true);
    const [stopped] = await until(
      plane.client,
      jobs,
      namespace,
      ([one]) => conditionOf(one, 'Suspended') !== undefined && one?.status?.active === undefined,
    );
    assert.equal(stopped?.status?.failed, undefined);
    await until(plane.client, pods, namespace, (list) => list.length === 0);
    ends.set('pause', () => ({ code: 0 }));
    await suspend(false);
    const done = await ended(namespace, 'Complete');
    assert.deepEqual([done.status?.succeeded, done.status?.failed], [2, undefined]);
  });

  it('lets go of its pods when it is deleted, also where nobody saw that', async () => {
    const namespace = await plane.namespace('deleted');
    await plane.client.create(jobs, job(namespace, 'short', { parallelism: 2, completions: 2 }));
    await until(plane.client, jobs, namespace, ([one]) => one?.status?.ready === 2);
    await plane.client.delete(jobs, 'short', { namespace, propagationPolicy: 'Foreground' });
    await until(plane.client, pods, namespace, (list) => list.length === 0);
    await until(plane.client, jobs, namespace, (list) => list.length === 0);
    // As a pod that was left by a job which went while no controller ran.
    await plane.client.create(pods, {
      metadata: {
        name: 'left',
        namespace,
        finalizers: ['batch.kubernetes.io/job-tracking'],
        ownerReferences: [{ apiVersion: 'batch/v1', kind: 'Job', name: 'short', uid: 'gone', controller: true }],
      },
      spec: { containers: [{ name: 'main', image: 'i' }] },
    });
    await until(plane.client, pods, namespace, (list) => list.length === 0);
  });

  it('takes what a queue that is empty says for its end', async () => {
    const namespace = await plane.namespace('queue');
    let first = true;
    ends.set('workers', () => {
      const code = first ? 1 : 0;
      first = false;
      return { code };
    });
    await plane.client.create(jobs, job(namespace, 'workers', { parallelism: 2 }));
    const done = await ended(namespace, 'Complete');
    assert.ok((done.status?.succeeded ?? 0) >= 1);
  });

  it('had nothing to complain of', () => {
    assert.deepEqual(plane.warnings, []);
  });
});
