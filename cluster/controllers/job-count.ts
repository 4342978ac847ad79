/**
 * Counts the pods of a Job that ended, each once, however often this is done and wherever it stops (Kubernetes, "Job
 * tracking with finalizers"). A pod that ended is first named in the status, then lets go of its finalizer, then moves
 * from the names to the number: of two steps in a row, one can always be repeated. An index that succeeded needs no name.
 */
import type { Stored } from '../kinds/kind.ts';
import type { Job } from '../kinds/types/batch.ts';
import type { Pod } from '../kinds/types/core.ts';
import { indexOf, parseIndexes } from './job-indexes.ts';
import { byIndex, failuresOf, isTracked, outcomeOf } from './job-pods.ts';
import { failureVerdict } from './job-policy.ts';

/** More than this are named in one step after the other: a status stays small. */
const namesLimit = 500;

export interface JobCount {
  /** Numbers of the status: pods that ended and are forgotten. */
  succeededBefore: number;
  failedBefore: number;
  /** Uids of pods that ended and still have the finalizer. */
  succeededNames: Set<string>;
  failedNames: Set<string>;
  succeededIndexes: Set<number>;
  failedIndexes: Set<number>;
  /** All together. */
  succeeded: number;
  failed: number;
  /** Once the status is written: these let go of their finalizer. */
  release: Stored<Pod>[];
  /** Why a pod's failure fails the job. */
  failJob: string | undefined;
}

/** Is the job's end decided, so that pods which end now change nothing? */
export function isDecided(job: Job, ...types: string[]): boolean {
  return job.status?.conditions?.some(({ type, status }) => types.includes(type) && status === 'True') === true;
}

/** The newest failed pod of each index that will have another: that one reads from it how many failed before. */
function heldPods(job: Job, pods: Stored<Pod>[], done: (index: number) => boolean): Set<Stored<Pod>> {
  const held = new Set<Stored<Pod>>();
  if (job.spec?.backoffLimitPerIndex === undefined || isDecided(job, 'FailureTarget', 'SuccessCriteriaMet'))
    return held;
  for (const [index, group] of byIndex(pods)) {
    if (done(index) || index >= (job.spec.completions ?? 0)) continue;
    if (group.some((pod) => outcomeOf(job, pod) === undefined)) continue;
    const newest = newestOf(group);
    if (newest) held.add(newest);
  }
  return held;
}

/** Of the pods of one index, that which had most failures before it, the youngest of them. */
export function newestOf(group: Stored<Pod>[]): Stored<Pod> | undefined {
  return group.toSorted(
    (a, b) => failuresOf(b) - failuresOf(a) || (a.metadata.creationTimestamp < b.metadata.creationTimestamp ? 1 : -1),
  )[0];
}

function addIndexes(count: JobCount, job: Job, tracked: Stored<Pod>[]): void {
  const { completions = 0, backoffLimitPerIndex } = job.spec ?? {};
  for (const pod of tracked) {
    const index = indexOf(pod);
    if (index === undefined || index >= completions) continue;
    const outcome = outcomeOf(job, pod);
    if (outcome === 'succeeded') count.succeededIndexes.add(index);
    if (outcome !== 'failed' || backoffLimitPerIndex === undefined || count.succeededIndexes.has(index)) continue;
    const action = failureVerdict(job.spec, pod)?.action;
    if (action === 'FailIndex' || (action !== 'Ignore' && failuresOf(pod) >= backoffLimitPerIndex)) {
      count.failedIndexes.add(index);
    }
  }
}

function addFailed(count: JobCount, job: Job, pod: Stored<Pod>): void {
  const { uid } = pod.metadata;
  if (count.failedNames.has(uid) || isDecided(job, 'SuccessCriteriaMet')) return;
  const verdict = failureVerdict(job.spec, pod);
  if (verdict?.action === 'FailJob') count.failJob ??= verdict.message;
  if (verdict?.action === 'Ignore') return;
  const index = indexOf(pod);
  const outside =
    job.spec?.completionMode === 'Indexed' && (index === undefined || index >= (job.spec.completions ?? 0));
  if (!outside) count.failedNames.add(uid);
}

export function countPods(job: Stored<Job>, pods: Stored<Pod>[]): JobCount {
  const { status, spec } = job;
  const indexed = spec?.completionMode === 'Indexed';
  const completions = spec?.completions ?? 0;
  const tracked = pods.filter(isTracked);
  const shown = new Set(tracked.map(({ metadata }) => metadata.uid));
  const uncounted = status?.uncountedTerminatedPods;
  const kept = (names: string[] | undefined): Set<string> => new Set(names?.filter((name) => shown.has(name)));
  const count: JobCount = {
    succeededNames: kept(uncounted?.succeeded),
    failedNames: kept(uncounted?.failed),
    succeededBefore: 0,
    failedBefore: 0,
    succeededIndexes: indexed ? parseIndexes(status?.completedIndexes, completions) : new Set(),
    failedIndexes: indexed ? parseIndexes(status?.failedIndexes, completions) : new Set(),
    succeeded: 0,
    failed: 0,
    release: [],
    failJob: undefined,
  };
  const moved = (names: string[] | undefined, left: Set<string>): number => (names?.length ?? 0) - left.size;
  count.failedBefore = (status?.failed ?? 0) + moved(uncounted?.failed, count.failedNames);
  count.succeededBefore = (status?.succeeded ?? 0) + moved(uncounted?.succeeded, count.succeededNames);
  if (indexed) addIndexes(count, job, tracked);
  const held = heldPods(job, pods, (index) => count.succeededIndexes.has(index) || count.failedIndexes.has(index));
  for (const pod of tracked) {
    const outcome = outcomeOf(job, pod);
    if (outcome === undefined || count.release.length >= namesLimit) continue;
    if (outcome === 'failed') {
      if (held.has(pod) && failureVerdict(spec, pod)?.action !== 'FailJob') continue;
      addFailed(count, job, pod);
    } else if (!indexed) count.succeededNames.add(pod.metadata.uid);
    count.release.push(pod);
  }
  if (indexed) count.succeededBefore = count.succeededIndexes.size;
  count.succeeded = count.succeededBefore + count.succeededNames.size;
  count.failed = count.failedBefore + count.failedNames.size;
  return count;
}
