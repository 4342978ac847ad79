/** Gives each new pod the lowest index that is free in its ReplicaSet, and lifts its scheduling gate. */
import { ApiError } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { pods } from '../resources/kubernetes.ts';
import { annotations, instanceIndexGate } from '../resources/types.ts';
import type { WorkloadContext } from './workloads.ts';

const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';

/** What the pods of one set have in common: the uid of their owner. */
export function ownerOf(pod: Pod): string | undefined {
  return pod.metadata.ownerReferences?.find((owner) => owner.controller)?.uid;
}

export function indexOf(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[annotations.instanceIndex];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Pods that leave or have ended hold their index no more: their successors come while they drain. */
function holdsIndex(pod: Pod): boolean {
  const phase = pod.status?.phase;
  return pod.metadata.deletionTimestamp === undefined && phase !== 'Failed' && phase !== 'Succeeded';
}

function isGated(pod: Pod): boolean {
  return pod.spec?.schedulingGates?.some((gate) => gate.name === instanceIndexGate) === true;
}

export function lowestFree(taken: Set<number>): number {
  let index = 0;
  while (taken.has(index)) index++;
  return index;
}

/** `key` is `<namespace>/<uid of the ReplicaSet>`; one key is worked on by one at a time. */
export async function assignIndexes(context: WorkloadContext, key: string): Promise<void> {
  const slash = key.indexOf('/');
  const namespace = key.slice(0, slash);
  const owner = key.slice(slash + 1);
  const informer = context.informers.of(pods);
  const members = informer
    .byIndex('platform/namespace', namespace)
    .filter((pod) => ownerOf(pod) === owner && holdsIndex(pod));
  const taken = new Set(members.map((pod) => indexOf(pod)).filter((index) => index !== undefined));
  const waiting = members
    .filter(isGated)
    .sort((a, b) =>
      a.metadata.creationTimestamp + a.metadata.name < b.metadata.creationTimestamp + b.metadata.name ? -1 : 1,
    );
  for (const pod of waiting) {
    // One that has its index and still its gate was left so by a crash.
    const index = indexOf(pod) ?? lowestFree(taken);
    taken.add(index);
    const version = await liftGate(context, pod, index);
    if (version !== undefined) {
      await informer.reached(version, AbortSignal.any([context.signal, AbortSignal.timeout(10_000)]));
    }
  }
}

async function liftGate(context: WorkloadContext, pod: Stored<Pod>, index: number): Promise<string | undefined> {
  try {
    const patched = await context.informers.client.patch(
      pods,
      pod.metadata.name,
      {
        type: 'merge',
        body: {
          metadata: {
            uid: pod.metadata.uid,
            annotations: { [annotations.instanceIndex]: String(index), [DELETION_COST]: String(-index) },
          },
          spec: {
            schedulingGates: (pod.spec?.schedulingGates ?? []).filter((gate) => gate.name !== instanceIndexGate),
          },
        },
      },
      { namespace: pod.metadata.namespace ?? '' },
    );
    return patched.metadata.resourceVersion;
  } catch (error) {
    // Gone meanwhile.
    if (error instanceof ApiError && (error.code === 404 || error.code === 409)) return undefined;
    throw error;
  }
}
