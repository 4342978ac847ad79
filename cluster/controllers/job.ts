/** Runs pods until as many as a Job asks for have succeeded. */
import { orUndefined } from '../client/api-errors.ts';
import type { Client } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { jobs as jobResource, pods as podResource } from '../kinds/resources.ts';
import type { Job } from '../kinds/types/batch.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { Controller } from './controller.ts';
import { isFinishedJob, planJob } from './job-plan.ts';
import { type Backoff, isTracked, podOfJob, trackingFinalizer, usualBackoff } from './job-pods.ts';
import { controllerOf } from './objects.ts';
import { createPodOwnerController, type PodOwnerStep } from './pod-owner.ts';

const ourName = 'kubernetes.io/job-controller';

/** Takes the finalizer off, so that the pod may go. Undefined where it is gone already. */
async function release(client: Client, pod: Stored<Pod>): Promise<Stored<Pod> | undefined> {
  const { uid, resourceVersion, name, namespace = '' } = pod.metadata;
  const finalizers = pod.metadata.finalizers?.filter((one) => one !== trackingFinalizer) ?? [];
  const body = { metadata: { uid, resourceVersion, finalizers: finalizers.length > 0 ? finalizers : null } };
  // The pod is gone, or another has its name.
  return await orUndefined(client.patch(podResource, name, { type: 'merge', body }, { namespace }), 404, 422);
}

async function step(one: PodOwnerStep<Job>, backoff: Backoff): Promise<number | undefined> {
  const { object: job, owner, pods, active, control, recorder, context, writeStatus } = one;
  const { client, now } = context;
  if (job.spec?.managedBy !== undefined && job.spec.managedBy !== ourName) return undefined;
  const releaseAll = async (list: Stored<Pod>[]): Promise<void> => {
    const results = await Promise.allSettled(
      list.filter(isTracked).map(async (pod) => {
        const released = await release(client, pod);
        if (released) control.noteWrite(owner.metadata.uid, released);
      }),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  };
  if (job.metadata.deletionTimestamp !== undefined || isFinishedJob(job)) {
    await releaseAll(pods);
    return undefined;
  }
  const plan = planJob({ job, pods, active, backoff, now: now() });
  // What is not to be counted lets go first: as soon as it is being deleted it would be.
  await releaseAll(plan.surplus);
  await control.delete(owner, [...plan.surplus, ...plan.stop]);
  let failure: unknown;
  let made = 0;
  try {
    await control.create(
      owner,
      plan.create.map((pod) => podOfJob(job, owner, pod)),
    );
    made = plan.create.length;
  } catch (error) {
    failure = error;
  }
  const running = (plan.status.active ?? 0) + made;
  await writeStatus({ ...plan.status, ...(running > 0 && { active: running }) });
  for (const event of plan.events) recorder.record(owner, event);
  await releaseAll(plan.release);
  if (failure !== undefined) throw failure;
  return plan.again;
}

/** Of pods that a job keeps: the key of that job. */
function keeperOf(pod: Stored<Pod>): string[] {
  const owner = controllerOf(pod.metadata);
  return isTracked(pod) && owner?.kind === 'Job' ? [`${pod.metadata.namespace}/${owner.name}`] : [];
}

export function createJobController(options: { backoff?: Backoff } = {}): Controller {
  return createPodOwnerController<Job>({
    name: 'job',
    resource: jobResource,
    finalizer: trackingFinalizer,
    podIndexes: { jobKeeper: keeperOf },
    selectorOf: ({ spec }) => spec?.selector,
    step: (one) => step(one, options.backoff ?? usualBackoff),
    // Nobody will count the pods of a job that is gone.
    async tidy({ key, object, pods, client }) {
      for (const pod of pods.byIndex('jobKeeper', key)) {
        if (controllerOf(pod.metadata)?.uid !== object?.metadata.uid) await release(client, pod);
      }
    },
  });
}
