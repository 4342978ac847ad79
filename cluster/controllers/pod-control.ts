/** Makes and deletes the pods of a controller's object, and knows which of its own writes its informer does not show yet. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { pods as podResource } from '../kinds/resources.ts';
import type { Pod, PodTemplateSpec } from '../kinds/types/core.ts';
import type { ObjectMeta, OwnerReference } from '../kinds/types/meta.ts';

/** Creates begin with a few at once and double: a quota that refuses one is not asked a hundred times. */
const firstBatch = 8;
const reachTimeout = 30_000;

/** What the pods belong to. */
export interface PodOwner {
  apiVersion: string;
  kind: string;
  metadata: Stored<{ metadata: ObjectMeta }>['metadata'];
}

/** What the events say. */
export interface PodMessages {
  created(pod: string, owner: PodOwner): string;
  deleted(pod: string, owner: PodOwner): string;
  createFailed(pod: string, owner: PodOwner, cause: string): string;
}

const usualMessages: PodMessages = {
  created: (pod) => `Created pod: ${pod}`,
  deleted: (pod) => `Deleted pod: ${pod}`,
  createFailed: (_pod, _owner, cause) => `Error creating: ${cause}`,
};

interface PodControlOptions {
  client: Client;
  pods: Informer<Pod>;
  recorder: EventRecorder;
  messages?: PodMessages | undefined;
}

export function referenceTo({ apiVersion, kind, metadata: { name, uid } }: PodOwner): OwnerReference {
  return { apiVersion, kind, name, uid, controller: true, blockOwnerDeletion: true };
}

/** A pod of the owner as its template says, with a name that the server makes. */
export function podFromTemplate(owner: PodOwner, template: PodTemplateSpec | undefined): Pod {
  const { metadata, spec } = template ?? {};
  return {
    metadata: {
      generateName: `${owner.metadata.name}-`,
      namespace: owner.metadata.namespace ?? '',
      ...(metadata?.labels && { labels: metadata.labels }),
      ...(metadata?.annotations && { annotations: metadata.annotations }),
      ...(metadata?.finalizers && { finalizers: metadata.finalizers }),
      ownerReferences: [referenceTo(owner)],
    },
    ...(spec && { spec }),
  };
}

export function createPodControl({ client, pods, recorder, messages = usualMessages }: PodControlOptions) {
  /** By the owner's uid: the newest pod written, and the pods deleted that the informer still shows as whole. */
  const written = new Map<string, string>();
  const deleted = new Map<string, Set<string>>();

  function noteWrite(uid: string, pod: Stored<Pod>): void {
    const newest = written.get(uid);
    const version = pod.metadata.resourceVersion;
    if (newest === undefined || Number(newest) < Number(version)) written.set(uid, version);
  }

  async function createOne(owner: PodOwner, wanted: Pod): Promise<void> {
    const pod = await client.create(podResource, wanted);
    noteWrite(owner.metadata.uid, pod);
    const message = messages.created(pod.metadata.name, owner);
    recorder.record(owner, { type: 'Normal', reason: 'SuccessfulCreate', message });
  }

  async function deleteOne(owner: PodOwner, pod: Stored<Pod>): Promise<void> {
    const { uid, name, namespace = '' } = pod.metadata;
    const gone = deleted.get(owner.metadata.uid) ?? new Set();
    deleted.set(owner.metadata.uid, gone.add(uid));
    try {
      await client.delete(podResource, name, { namespace, preconditions: { uid } });
    } catch (error) {
      if (error instanceof ApiError && error.code === 404) return;
      gone.delete(uid);
      throw error;
    }
    recorder.record(owner, { type: 'Normal', reason: 'SuccessfulDelete', message: messages.deleted(name, owner) });
  }

  return {
    /** Waits until the informer shows every pod that was written for the owner. */
    async settled(uid: string, signal: AbortSignal): Promise<void> {
      const version = written.get(uid);
      if (version === undefined) return;
      await pods.reached(version, AbortSignal.any([signal, AbortSignal.timeout(reachTimeout)]));
      if (written.get(uid) === version) written.delete(uid);
    },
    /** Was the pod deleted by us, though the informer does not say so yet? */
    isGoing(uid: string, pod: Stored<Pod>): boolean {
      return deleted.get(uid)?.has(pod.metadata.uid) ?? false;
    },
    /** Drops what the informer shows by now. `shown` are the owner's pods. */
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
      written.delete(uid);
      deleted.delete(uid);
    },
    /** The owner's next step waits until the informer shows this version of the pod. */
    noteWrite,
    /** @throws the first failure, when the batch that had it is done */
    async create(owner: PodOwner, wanted: Pod[]): Promise<void> {
      let size = firstBatch;
      for (let start = 0; start < wanted.length; ) {
        const batch = wanted.slice(start, start + size);
        const results = await Promise.allSettled(batch.map((pod) => createOne(owner, pod)));
        const at = results.findIndex((result) => result.status === 'rejected');
        const failed = results[at];
        if (failed?.status === 'rejected') {
          const cause = failed.reason instanceof Error ? failed.reason.message : String(failed.reason);
          const message = messages.createFailed(batch[at]?.metadata.name ?? '', owner, cause);
          recorder.record(owner, { type: 'Warning', reason: 'FailedCreate', message });
          throw failed.reason;
        }
        start += batch.length;
        size *= 2;
      }
    },
    async delete(owner: PodOwner, victims: Stored<Pod>[]): Promise<void> {
      const results = await Promise.allSettled(victims.map((pod) => deleteOne(owner, pod)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed) throw failed.reason;
    },
  };
}

export type PodControl = ReturnType<typeof createPodControl>;
