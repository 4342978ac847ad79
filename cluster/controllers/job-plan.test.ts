import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Stored } from '../kinds/kind.ts';
import type { Job, JobSpec, JobStatus } from '../kinds/types/batch.ts';
import type { Pod } from '../kinds/types/core.ts';
import { type JobPlan, planJob } from './job-plan.ts';
import { trackingFinalizer } from './job-pods.ts';
import { isActive } from './objects.ts';

const now = Date.parse('2024-03-01T10:00:00Z');
const stored = (name: string) => ({
  name,
  uid: name,
  resourceVersion: '1',
  creationTimestamp: '2024-03-01T09:00:00Z',
});

interface PodOptions {
  phase?: string;
  index?: number;
  /** Is its finalizer gone? */
  free?: boolean;
  stopping?: boolean;
  endedAt?: string;
  failures?: number;
  restarts?: number;
}

function pod(name: string, options: PodOptions = {}): Stored<Pod> {
  const {
    phase = 'Running',
    index,
    free,
    stopping,
    endedAt = '2024-03-01T09:30:00Z',
    failures,
    restarts = 0,
  } = options;
  const ended = phase === 'Succeeded' || phase === 'Failed';
  return {
    metadata: {
      ...stored(name),
      annotations: {
        ...(index !== undefined && { 'batch.kubernetes.io/job-completion-index': String(index) }),
        ...(failures !== undefined && { 'batch.kubernetes.io/job-index-failure-count': String(failures) }),
      },
      ...(!free && { finalizers: [trackingFinalizer] }),
      ...(stopping && { deletionTimestamp: '2024-03-01T09:59:00Z', deletionGracePeriodSeconds: 30 }),
    },
    status: {
      phase,
      containerStatuses: [
        {
          name: 'c',
          image: 'i',
          imageID: '',
          ready: !ended,
          restartCount: restarts,
          ...(ended && { state: { terminated: { exitCode: phase === 'Failed' ? 1 : 0, finishedAt: endedAt } } }),
        },
      ],
    },
  };
}

function plan(spec: Partial<JobSpec>, pods: Stored<Pod>[], status: JobStatus = {}): JobPlan {
  const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] } };
  const job: Stored<Job> = {
    metadata: stored('job'),
    spec: { template, completions: 1, parallelism: 1, backoffLimit: 6, ...spec },
    status,
  };
  const backoff = { first: 10_000, longest: 600_000 };
  return planJob({ job, pods, active: pods.filter(isActive), backoff, now });
}

const names = (pods: Stored<Pod>[]): string[] => pods.map(({ metadata }) => metadata.name);
const types = ({ status }: JobPlan): string[] => (status.conditions ?? []).map(({ type }) => type);

describe('the count of a job', () => {
  it('names a pod that ended, then lets it go, then counts it', () => {
    const spec = { completions: 2 };
    const first = plan(spec, [pod('a', { phase: 'Succeeded' })]);
    assert.deepEqual(first.status.uncountedTerminatedPods, { succeeded: ['a'] });
    assert.equal(first.status.succeeded, undefined);
    assert.deepEqual(names(first.release), ['a']);
    // Killed before the finalizer was off: the same again, and nothing twice.
    const again = plan(spec, [pod('a', { phase: 'Succeeded' })], first.status);
    assert.deepEqual(again.status.uncountedTerminatedPods, { succeeded: ['a'] });
    assert.deepEqual(names(again.release), ['a']);
    for (const left of [[pod('a', { phase: 'Succeeded', free: true })], []]) {
      const counted = plan(spec, left, again.status);
      assert.deepEqual(counted.status.uncountedTerminatedPods, {});
      assert.equal(counted.status.succeeded, 1);
      assert.deepEqual(plan(spec, left, counted.status).status.succeeded, 1);
    }
  });

  it('counts a pod that is stopped as failed at once, or when it has stopped where only failed ones are replaced', () => {
    const spec = { parallelism: 1 };
    const stopping = [pod('a', { stopping: true })];
    assert.deepEqual(plan(spec, stopping).status.uncountedTerminatedPods, { failed: ['a'] });
    const patient = plan({ ...spec, podReplacementPolicy: 'Failed' }, stopping);
    assert.deepEqual(patient.status.uncountedTerminatedPods, {});
    assert.deepEqual([patient.create.length, patient.status.terminating], [0, 1]);
  });

  it('does not count an index twice, and none that the job no longer has', () => {
    const spec: Partial<JobSpec> = { completions: 2, parallelism: 2, completionMode: 'Indexed' };
    const pods = [
      pod('a', { phase: 'Succeeded', index: 0 }),
      pod('b', { phase: 'Succeeded', index: 0 }),
      pod('c', { phase: 'Succeeded', index: 7 }),
    ];
    const { status, release, create } = plan(spec, pods);
    assert.deepEqual([status.succeeded, status.completedIndexes], [1, '0']);
    assert.equal(release.length, 3);
    assert.deepEqual(create, [{ index: 1 }]);
  });
});

describe('the pods of a job', () => {
  it('are as many as may run, and no more than are left', () => {
    assert.equal(plan({ completions: 5, parallelism: 3 }, []).create.length, 3);
    assert.equal(plan({ completions: 5, parallelism: 3 }, [pod('a')], { succeeded: 3 }).create.length, 1);
    const over = plan({ completions: 5, parallelism: 1 }, [pod('a'), pod('b')]);
    assert.deepEqual([over.surplus.length, over.stop.length], [1, 0]);
  });

  it('come after a while when some failed in a row, at once after one that succeeded', () => {
    const failedAt = (endedAt: string): PodOptions => ({ phase: 'Failed', free: true, endedAt });
    const once = plan({}, [pod('a', failedAt('2024-03-01T09:59:55Z'))], { failed: 1 });
    assert.deepEqual([once.create.length, once.again], [0, 5000]);
    const twice = [pod('a', failedAt('2024-03-01T09:59:40Z')), pod('b', failedAt('2024-03-01T09:59:55Z'))];
    assert.equal(plan({}, twice, { failed: 2 }).again, 15_000);
    const better = [...twice, pod('c', { phase: 'Succeeded', free: true, endedAt: '2024-03-01T09:59:59Z' })];
    assert.equal(plan({ completions: 3 }, better, { failed: 2, succeeded: 1 }).create.length, 1);
  });

  it('do each index once: the one that got further stays', () => {
    const spec: Partial<JobSpec> = { completions: 2, parallelism: 2, completionMode: 'Indexed' };
    const twins = [pod('a', { index: 0, phase: 'Pending' }), pod('b', { index: 0 }), pod('c', { index: 9 })];
    const { surplus, create } = plan(spec, twins);
    assert.deepEqual(names(surplus), ['a', 'c']);
    assert.deepEqual(create, [{ index: 1 }]);
  });

  it('of an index carry how many failed before, and the last that failed stays until there is another', () => {
    const spec: Partial<JobSpec> = { completionMode: 'Indexed', backoffLimitPerIndex: 3 };
    const failed = pod('a', { phase: 'Failed', index: 0, failures: 1 });
    const first = plan(spec, [failed]);
    assert.deepEqual(first.create, [{ index: 0, failures: 2 }]);
    assert.deepEqual(names(first.release), []);
    const then = plan(spec, [failed, pod('b', { index: 0, failures: 2 })]);
    assert.deepEqual(names(then.release), ['a']);
  });
});

describe('the end of a job', () => {
  it('is told when nothing runs and all is counted', () => {
    const first = plan({}, [pod('a', { phase: 'Succeeded' })]);
    assert.deepEqual(types(first), ['SuccessCriteriaMet']);
    const last = plan({}, [pod('a', { phase: 'Succeeded', free: true })], first.status);
    assert.deepEqual(types(last), ['SuccessCriteriaMet', 'Complete']);
    for (const { type, lastProbeTime, lastTransitionTime } of last.status.conditions ?? [])
      assert.ok(lastProbeTime && lastTransitionTime, type);
    assert.deepEqual(last.events[0]?.reason, 'Completed');
  });

  it('waits for the pods that it stops', () => {
    const failed = pod('a', { phase: 'Failed' });
    const first = plan({ backoffLimit: 0, completions: 2, parallelism: 2 }, [failed, pod('b')]);
    assert.deepEqual([types(first), names(first.stop)], [['FailureTarget'], ['b']]);
    const free = pod('a', { phase: 'Failed', free: true });
    const waiting = plan(
      { backoffLimit: 0, podReplacementPolicy: 'Failed' },
      [free, pod('b', { stopping: true })],
      first.status,
    );
    assert.deepEqual(types(waiting), ['FailureTarget']);
    const stopped = pod('b', { stopping: true, phase: 'Failed', free: true });
    const last = plan({ backoffLimit: 0 }, [free, stopped], { ...waiting.status, failed: 2 });
    assert.deepEqual(types(last), ['FailureTarget', 'Failed']);
  });

  it('comes at the deadline, counted from the start', () => {
    const startTime = '2024-03-01T09:59:30Z';
    assert.equal(plan({ activeDeadlineSeconds: 40 }, [pod('a')], { startTime }).again, 10_000);
    const late = plan({ activeDeadlineSeconds: 30 }, [pod('a')], { startTime });
    assert.equal(late.status.conditions?.[0]?.reason, 'DeadlineExceeded');
  });

  it('comes after too many restarts in place', () => {
    const template = { spec: { restartPolicy: 'OnFailure', containers: [{ name: 'c', image: 'i' }] } };
    const spec = { template, backoffLimit: 2 };
    assert.deepEqual(types(plan(spec, [pod('a', { restarts: 1 })])), []);
    assert.deepEqual(types(plan(spec, [pod('a', { restarts: 2 })])), ['FailureTarget']);
  });

  it('comes with the indexes that failed', () => {
    const spec: Partial<JobSpec> = { completionMode: 'Indexed', completions: 3, backoffLimitPerIndex: 0 };
    const failed = pod('a', { phase: 'Failed', index: 1, failures: 0 });
    const many = plan({ ...spec, maxFailedIndexes: 0 }, [failed]);
    assert.equal(many.status.conditions?.[0]?.reason, 'MaxFailedIndexesExceeded');
    const all = plan(spec, [failed], { completedIndexes: '0,2' });
    assert.deepEqual([all.status.conditions?.[0]?.reason, all.status.failedIndexes], ['FailedIndexes', '1']);
  });
});
