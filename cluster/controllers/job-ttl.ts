/** Deletes Jobs that ended as long ago as `ttlSecondsAfterFinished` says, and what they own with them. */
import { ApiError, type Informer } from '../client/client.ts';
import { jobs as jobResource } from '../kinds/resources.ts';
import type { Job } from '../kinds/types/batch.ts';
import type { Controller } from './controller.ts';
import { keyOf, openInformer, splitKey } from './objects.ts';

/** When the job's time is over, in milliseconds; undefined where it has none. */
function expiry({ spec, status, metadata }: Job): number | undefined {
  const end = status?.conditions?.find(
    ({ type, status: value }) => (type === 'Complete' || type === 'Failed') && value === 'True',
  );
  if (spec?.ttlSecondsAfterFinished === undefined || !end || metadata.deletionTimestamp !== undefined) return undefined;
  return Date.parse(end.lastTransitionTime ?? '') + spec.ttlSecondsAfterFinished * 1000;
}

export function createJobTtl(): Controller {
  let jobs: Informer<Job>;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;
  return {
    name: 'ttl-after-finished',
    async start(context, enqueue) {
      requeue = enqueue;
      jobs = openInformer(context, jobResource);
      jobs.onChange((now) => {
        if (now && expiry(now) !== undefined) enqueue(keyOf(now.metadata));
      });
      await jobs.synced;
      for (const { metadata } of jobs.list()) enqueue(keyOf(metadata));
    },
    keys: () => jobs.list().map(({ metadata }) => keyOf(metadata)),
    async reconcile(key, { client, now }) {
      const { namespace, name } = splitKey(key);
      const job = jobs.get(name, namespace);
      const at = job && expiry(job);
      if (!job || at === undefined) return;
      const left = at - now();
      if (left > 0) return requeue(key, left);
      const { uid, resourceVersion } = job.metadata;
      try {
        // Of the version that was looked at: a longer time may have been given meanwhile.
        const preconditions = { uid, resourceVersion };
        await client.delete(jobResource, name, { namespace, propagationPolicy: 'Foreground', preconditions });
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      }
    },
  };
}
