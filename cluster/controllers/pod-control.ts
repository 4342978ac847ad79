/** Makes and deletes the pods of a ReplicaSet, and knows which of its own writes its informer does not show yet. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { pods as podResource } from '../kinds/resources.ts';
import type { ReplicaSet } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';

/** Creates begin with a few at once and double: a quota that refuses one is not asked a hundred times. */
const firstBatch = 8;
const reachTimeout = 30_000;

interface PodControlOptions {
  client: Client;
  pods: Informer<Pod>;
  recorder: EventRecorder;
}

export function createPodControl({ client, pods, recorder }: PodControlOptions) {
  /** By the owner's uid: the newest pod created, and the pods deleted that the informer still shows as whole. */
  const created = new Map<string, string>();
  const deleted = new Map<string, Set<string>>();

  const subject = (set: Stored<ReplicaSet>) => ({ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: set.metadata });

  function podOf(set: Stored<ReplicaSet>): Pod {
    const { metadata, spec } = set.spec?.template ?? {};
    return {
      metadata: {
        generateName: `${set.metadata.name}-`,
        namespace: set.metadata.namespace ?? '',
        ...(metadata?.labels && { labels: metadata.labels }),
        ...(metadata?.annotations && { annotations: metadata.annotations }),
        ...(metadata?.finalizers && { finalizers: metadata.finalizers }),
        ownerReferences: [
          {
            apiVersion: 'apps/v1',
            kind: 'ReplicaSet',
            name: set.metadata.name,
            uid: set.metadata.uid,
            controller: true,
            blockOwnerDeletion: true,
          },
        ],
      },
      ...(spec && { spec }),
    };
  }

  async function createOne(set: Stored<ReplicaSet>): Promise<void> {
    const pod = await client.create(podResource, podOf(set));
    const { uid } = set.metadata;
    const newest = created.get(uid);
    if (newest === undefined || Number(newest) < Number(pod.metadata.resourceVersion)) {
      created.set(uid, pod.metadata.resourceVersion);
    }
    recorder.record(subject(set), {
      type: 'Normal',
      reason: 'SuccessfulCreate',
      message: `Created pod: ${pod.metadata.name}`,
    });
  }

  async function deleteOne(set: Stored<ReplicaSet>, pod: Stored<Pod>): Promise<void> {
    const gone = deleted.get(set.metadata.uid) ?? new Set();
    deleted.set(set.metadata.uid, gone.add(pod.metadata.uid));
    try {
      await client.delete(podResource, pod.metadata.name, {
        namespace: pod.metadata.namespace ?? '',
        preconditions: { uid: pod.metadata.uid },
      });
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return;
      gone.delete(pod.metadata.uid);
      throw error;
    }
    recorder.record(subject(set), {
      type: 'Normal',
      reason: 'SuccessfulDelete',
      message: `Deleted pod: ${pod.metadata.name}`,
    });
  }

  return {
    /** Waits until the informer shows every pod that was created for the set. */
    async settled(uid: string, signal: AbortSignal): Promise<void> {
      const version = created.get(uid);
      if (version === undefined) return;
      await pods.reached(version, AbortSignal.any([signal, AbortSignal.timeout(reachTimeout)]));
      if (created.get(uid) === version) created.delete(uid);
    },
    /** Was the pod deleted by us, though the informer does not say so yet? */
    isGoing(uid: string, pod: Stored<Pod>): boolean {
      return deleted.get(uid)?.has(pod.metadata.uid) ?? false;
    },
    /** Drops what the informer shows by now. `shown` are the set's pods. */
    tidy(uid: string, shown: Stored<Pod>[]): void {
      const gone = deleted.get(uid);
      if (!gone) return;
      const whole = new Set(
        shown.filter((pod) => pod.metadata.deletionTimestamp === undefined).map((pod) => pod.metadata.uid),
      );
      for (const pod of gone) if (!whole.has(pod)) gone.delete(pod);
      if (gone.size === 0) deleted.delete(uid);
    },
    forget(uid: string): void {
      created.delete(uid);
      deleted.delete(uid);
    },
    /** @throws the first failure, when the batch that had it is done */
    async create(set: Stored<ReplicaSet>, count: number): Promise<void> {
      let size = firstBatch;
      for (let left = count; left > 0; ) {
        const batch = Math.min(left, size);
        const results = await Promise.allSettled(Array.from({ length: batch }, () => createOne(set)));
        const failed = results.find((result) => result.status === 'rejected');
        if (failed) {
          recorder.record(subject(set), {
            type: 'Warning',
            reason: 'FailedCreate',
            message: `Error creating: ${failed.reason instanceof Error ? failed.reason.message : String(failed.reason)}`,
          });
          throw failed.reason;
        }
        left -= batch;
        size *= 2;
      }
    },
    async delete(set: Stored<ReplicaSet>, victims: Stored<Pod>[]): Promise<void> {
      const results = await Promise.allSettled(victims.map((pod) => deleteOne(set, pod)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    },
  };
}

export type PodControl = ReturnType<typeof createPodControl>;
