/** Keeps as many pods as a ReplicaSet asks for. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { pods as podResource, replicaSets } from '../kinds/resources.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { ReplicaSet, ReplicaSetStatus } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { inDeletionOrder } from './deletion-order.ts';
import {
  controllerIndex,
  controllerOf,
  isActive,
  keyOf,
  openInformer,
  readySince,
  sameJson,
  splitKey,
  timestamp,
} from './objects.ts';
import { createPodControl, type PodControl } from './pod-control.ts';

/** At most so many pods are made or deleted in one step; the next step follows at once. */
const burst = 500;

interface Running {
  sets: Informer<ReplicaSet>;
  pods: Informer<Pod>;
  control: PodControl;
}

function selects(set: ReplicaSet, pod: Pod): boolean {
  return set.spec !== undefined && matchesLabelSelector(set.spec.selector, pod.metadata.labels);
}

/** Takes pods that match and have no controller, lets go of own ones that match no more. Returns those that are its own. */
async function claimPods(client: Client, set: Stored<ReplicaSet>, pods: Informer<Pod>): Promise<Stored<Pod>[]> {
  const namespace = set.metadata.namespace ?? '';
  const owned = pods.byIndex('controller', set.metadata.uid);
  const ours = owned.filter((pod) => selects(set, pod));
  if (set.metadata.deletionTimestamp !== undefined) return ours;
  const changeOwners = async (pod: Stored<Pod>, ownerReferences: unknown): Promise<boolean> => {
    const body = {
      metadata: { uid: pod.metadata.uid, resourceVersion: pod.metadata.resourceVersion, ownerReferences },
    };
    try {
      await client.patch(podResource, pod.metadata.name, { type: 'merge', body }, { namespace });
      return true;
    } catch (error) {
      // The pod is gone, or another: not ours to change any more.
      if (error instanceof ApiError && (error.code === 404 || error.code === 422)) return false;
      throw error;
    }
  };
  for (const pod of owned) {
    if (ours.includes(pod) || pod.metadata.deletionTimestamp !== undefined) continue;
    const others = pod.metadata.ownerReferences?.filter((reference) => reference.uid !== set.metadata.uid) ?? [];
    await changeOwners(pod, others.length > 0 ? others : null);
  }
  for (const pod of pods.byIndex('controller', `orphan:${namespace}`)) {
    if (!isActive(pod) || !selects(set, pod)) continue;
    const reference = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      name: set.metadata.name,
      uid: set.metadata.uid,
      controller: true,
      blockOwnerDeletion: true,
    };
    if (await changeOwners(pod, [...(pod.metadata.ownerReferences ?? []), reference])) ours.push(pod);
  }
  return ours;
}

interface Counted {
  status: ReplicaSetStatus;
  /** When the next ready pod becomes available. */
  availableIn: number | undefined;
}

function countPods(set: Stored<ReplicaSet>, active: Stored<Pod>[], failure: unknown, now: number): Counted {
  const minReady = (set.spec?.minReadySeconds ?? 0) * 1000;
  const templateLabels = Object.entries(set.spec?.template?.metadata?.labels ?? {});
  let available = 0;
  let ready = 0;
  let availableIn: number | undefined;
  for (const pod of active) {
    const since = readySince(pod);
    if (since === undefined) continue;
    ready++;
    const wait = since + minReady - now;
    if (minReady === 0 || wait <= 0) available++;
    else availableIn = Math.min(availableIn ?? wait, wait);
  }
  const others = set.status?.conditions?.filter(({ type }) => type !== 'ReplicaFailure') ?? [];
  const old = set.status?.conditions?.find(({ type }) => type === 'ReplicaFailure');
  const message = failure instanceof Error ? failure.message : String(failure);
  const failed = {
    type: 'ReplicaFailure',
    status: 'True',
    reason: 'FailedCreate',
    message,
    lastTransitionTime: old?.lastTransitionTime ?? timestamp(now),
  };
  const conditions = failure === undefined ? others : [...others, failed];
  return {
    availableIn,
    status: {
      replicas: active.length,
      fullyLabeledReplicas: active.filter(({ metadata }) =>
        templateLabels.every(([name, value]) => metadata.labels?.[name] === value),
      ).length,
      readyReplicas: ready,
      availableReplicas: available,
      observedGeneration: set.metadata.generation ?? 0,
      ...(conditions.length > 0 && { conditions }),
    },
  };
}

export function createReplicaSetController(): Controller {
  let running: Running | undefined;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  async function writeStatus(client: Client, set: Stored<ReplicaSet>, status: ReplicaSetStatus): Promise<void> {
    const old = { ...set.status };
    if (old.fullyLabeledReplicas === undefined) old.fullyLabeledReplicas = 0;
    if (old.readyReplicas === undefined) old.readyReplicas = 0;
    if (old.availableReplicas === undefined) old.availableReplicas = 0;
    if (sameJson(old, status)) return;
    try {
      await client.updateStatus(replicaSets, { ...set, status });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    }
  }

  async function reconcile(key: string, { client, signal, now }: ControllerContext): Promise<void> {
    if (!running) return;
    const { sets, pods, control } = running;
    const { namespace, name } = splitKey(key);
    const set = sets.get(name, namespace);
    if (!set) return;
    const { uid } = set.metadata;
    await control.settled(uid, signal);
    const claimed = await claimPods(client, set, pods);
    control.tidy(uid, claimed);
    const active = claimed.filter((pod) => isActive(pod) && !control.isGoing(uid, pod));
    const difference = (set.spec?.replicas ?? 1) - active.length;
    let failure: unknown;
    if (set.metadata.deletionTimestamp === undefined) {
      try {
        if (difference > 0) await control.create(set, Math.min(difference, burst));
        else if (difference < 0) {
          await control.delete(set, inDeletionOrder(active).slice(0, Math.min(-difference, burst)));
        }
      } catch (error) {
        failure = error;
      }
    }
    const { status, availableIn } = countPods(set, active, failure, now());
    await writeStatus(client, set, status);
    if (failure !== undefined) throw failure;
    if (Math.abs(difference) > burst) requeue(key);
    else if (availableIn !== undefined) requeue(key, availableIn);
  }

  return {
    name: 'replicaset',
    workers: 8,
    async start(context, enqueue) {
      requeue = enqueue;
      const { client, log } = context;
      const sets = openInformer(context, replicaSets);
      const pods = openInformer(context, podResource, controllerIndex);
      const recorder = createEventRecorder({
        client,
        component: 'replicaset-controller',
        onError: (error) => log('warn', `replicaset-controller: an event was lost: ${String(error)}`),
      });
      running = { sets, pods, control: createPodControl({ client, pods, recorder }) };
      const { control } = running;
      const wake = (pod: Stored<Pod>): void => {
        const owner = controllerOf(pod.metadata);
        if (owner) {
          if (owner.kind === 'ReplicaSet') enqueue(`${pod.metadata.namespace}/${owner.name}`);
          return;
        }
        for (const set of sets.list({ namespace: pod.metadata.namespace ?? '' })) {
          if (selects(set, pod)) enqueue(keyOf(set.metadata));
        }
      };
      sets.onChange((set, old) => {
        if (set) enqueue(keyOf(set.metadata));
        else if (old) control.forget(old.metadata.uid);
      });
      pods.onChange((pod, old) => {
        if (pod) wake(pod);
        if (old && controllerOf(old.metadata)?.uid !== (pod && controllerOf(pod.metadata)?.uid)) wake(old);
      });
      await Promise.all([sets.synced, pods.synced]);
      for (const set of sets.list()) enqueue(keyOf(set.metadata));
    },
    keys: () => running?.sets.list().map(({ metadata }) => keyOf(metadata)) ?? [],
    reconcile,
  };
}
