/** Keeps as many pods as a ReplicaSet asks for, and as a ReplicationController does: the same but for its selector. */
import type { Stored, TypedResource } from '../kinds/kind.ts';
import { replicaSets, replicationControllers } from '../kinds/resources.ts';
import type { ReplicaSet, ReplicaSetStatus } from '../kinds/types/apps.ts';
import type { Pod, ReplicationController } from '../kinds/types/core.ts';
import type { LabelSelector } from '../kinds/types/meta.ts';
import type { Controller } from './controller.ts';
import { inDeletionOrder } from './deletion-order.ts';
import { readySince, timestamp } from './objects.ts';
import { podFromTemplate } from './pod-control.ts';
import { createPodOwnerController, type PodOwnerStep } from './pod-owner.ts';

/** At most so many pods are made or deleted in one step; the next step follows at once. */
const burst = 500;

type Replicated = ReplicaSet | ReplicationController;

interface Counted {
  status: ReplicaSetStatus;
  /** When the next ready pod becomes available. */
  availableIn: number | undefined;
}

function countPods(set: Stored<Replicated>, active: Stored<Pod>[], failure: unknown, now: number): Counted {
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
  // The first failure's words stay: each names the pod that it was about, and a status that is another each time is never done.
  const failed = old ?? {
    type: 'ReplicaFailure',
    status: 'True',
    reason: 'FailedCreate',
    message: failure instanceof Error ? failure.message : String(failure),
    lastTransitionTime: timestamp(now),
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

async function step<T extends Replicated>({
  object,
  owner,
  active,
  control,
  context,
  writeStatus,
}: PodOwnerStep<T>): Promise<number | undefined> {
  const difference = (object.spec?.replicas ?? 1) - active.length;
  let failure: unknown;
  if (object.metadata.deletionTimestamp === undefined) {
    try {
      if (difference > 0) {
        const pod = podFromTemplate(owner, object.spec?.template);
        await control.create(
          owner,
          Array.from({ length: Math.min(difference, burst) }, () => pod),
        );
      } else if (difference < 0) {
        await control.delete(owner, inDeletionOrder(active).slice(0, Math.min(-difference, burst)));
      }
    } catch (error) {
      failure = error;
    }
  }
  const { status, availableIn } = countPods(object, active, failure, context.now());
  await writeStatus(status);
  if (failure !== undefined) throw failure;
  return Math.abs(difference) > burst ? 0 : availableIn;
}

function createReplicaController<T extends Replicated>(
  name: string,
  resource: TypedResource<T>,
  selectorOf: (object: T) => LabelSelector | undefined,
): Controller {
  return createPodOwnerController<T>({ name, resource, selectorOf, step });
}

export function createReplicaSetController(): Controller {
  return createReplicaController<ReplicaSet>('replicaset', replicaSets, ({ spec }) => spec?.selector);
}

export function createReplicationController(): Controller {
  return createReplicaController<ReplicationController>(
    'replication',
    replicationControllers,
    ({ spec }) => spec?.selector && { matchLabels: spec.selector },
  );
}
