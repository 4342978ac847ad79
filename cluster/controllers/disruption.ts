/** Keeps the status of PodDisruptionBudgets, which evictions ask. */
import { ApiError, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored, TypedResource } from '../kinds/kind.ts';
import {
  deployments,
  podDisruptionBudgets,
  pods as podResource,
  replicaSets,
  replicationControllers,
  statefulSets,
} from '../kinds/resources.ts';
import { matchesLabelSelector } from '../kinds/selector.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { ObjectMeta, OwnerReference } from '../kinds/types/meta.ts';
import type { PodDisruptionBudget } from '../kinds/types/policy.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { budgetStatus, failedStatus, needsExpected } from './disruption-plan.ts';
import { controllerOf, keyOf, openInformer, sameJson, splitKey } from './objects.ts';

interface Scaled {
  metadata: ObjectMeta;
  spec?: { replicas?: number };
}

interface Running {
  budgets: Informer<PodDisruptionBudget>;
  pods: Informer<Pod>;
  /** By kind: what owns pods and has a scale. */
  scaled: Map<string, Informer<Scaled>>;
  recorder: EventRecorder;
}

const scaledResources: TypedResource<Scaled>[] = [deployments, replicaSets, replicationControllers, statefulSets];

function selects({ spec }: PodDisruptionBudget, pod: Pod): boolean {
  return spec?.selector !== undefined && matchesLabelSelector(spec.selector, pod.metadata.labels);
}

/** What has the scale that a pod counts for: its controller, or the Deployment over that. */
function scaleOf(scaled: Running['scaled'], owner: OwnerReference, namespace: string): Stored<Scaled> {
  const object = scaled.get(owner.kind)?.get(owner.name, namespace);
  if (!object || object.metadata.uid !== owner.uid) {
    throw new Error(`found no controllers with a scale for ${owner.kind} ${namespace}/${owner.name}`);
  }
  const above = controllerOf(object.metadata);
  return above?.kind === 'Deployment' ? scaleOf(scaled, above, namespace) : object;
}

export function createDisruptionController(): Controller {
  let running: Running | undefined;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  function expectedPods(state: Running, budget: Stored<PodDisruptionBudget>, pods: Stored<Pod>[]): number {
    const scales = new Map<string, number>();
    let unmanaged = 0;
    for (const pod of pods) {
      const owner = controllerOf(pod.metadata);
      if (!owner) unmanaged++;
      else {
        const { metadata, spec } = scaleOf(state.scaled, owner, pod.metadata.namespace ?? '');
        scales.set(metadata.uid, spec?.replicas ?? 1);
      }
    }
    if (unmanaged > 0) {
      const message =
        'Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.';
      state.recorder.record(subjectOf(budget), { type: 'Warning', reason: 'UnmanagedPods', message });
    }
    return [...scales.values()].reduce((sum, replicas) => sum + replicas, 0);
  }

  const subjectOf = ({ metadata }: Stored<PodDisruptionBudget>) => ({
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata,
  });

  async function reconcile(key: string, { client, now: clock }: ControllerContext): Promise<void> {
    if (!running) return;
    const { budgets, recorder } = running;
    const { namespace, name } = splitKey(key);
    const budget = budgets.get(name, namespace);
    if (!budget || budget.metadata.deletionTimestamp !== undefined) return;
    const now = clock();
    const pods = running.pods.list({ namespace }).filter((pod) => selects(budget, pod));
    const write = async (status: PodDisruptionBudget['status']): Promise<void> => {
      if (sameJson(status, budget.status)) return;
      try {
        // An eviction that was allowed meanwhile makes this a conflict, and is counted the next time.
        await client.updateStatus(podDisruptionBudgets, { ...budget, ...(status && { status }) });
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      }
    };
    let expected: number | undefined;
    try {
      if (needsExpected(budget)) expected = expectedPods(running, budget, pods);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const reason = 'CalculateExpectedPodCountFailed';
      recorder.record(subjectOf(budget), {
        type: 'Warning',
        reason,
        message: `Failed to calculate the number of expected pods: ${message}`,
      });
      await write(failedStatus(budget, message, now));
      return;
    }
    const { status, notDeleted, again } = budgetStatus({ budget, pods, expected, now });
    await write(status);
    for (const { metadata } of notDeleted) {
      const message = `Pod was expected by PDB ${namespace}/${name} to be deleted but it wasn't`;
      const subject = { apiVersion: 'v1', kind: 'Pod', metadata };
      recorder.record(subject, { type: 'Warning', reason: 'NotDeleted', message });
    }
    if (again !== undefined) requeue(key, again);
  }

  return {
    name: 'disruption',
    async start(context, enqueue) {
      requeue = enqueue;
      const { client, log } = context;
      const budgets = openInformer(context, podDisruptionBudgets);
      const pods = openInformer(context, podResource);
      const scaled = new Map(scaledResources.map((resource) => [resource.kind, openInformer(context, resource)]));
      const recorder = createEventRecorder({
        client,
        component: 'controllermanager',
        onError: (error) => log('warn', `disruption-controller: an event was lost: ${String(error)}`),
      });
      running = { budgets, pods, scaled, recorder };
      budgets.onChange((now) => {
        if (now) enqueue(keyOf(now.metadata));
      });
      pods.onChange((now, old) => {
        for (const budget of budgets.list({ namespace: (now ?? old)?.metadata.namespace ?? '' })) {
          if ((now && selects(budget, now)) || (old && selects(budget, old))) enqueue(keyOf(budget.metadata));
        }
      });
      for (const informer of scaled.values()) {
        informer.onChange((now, old) => {
          if (now && now.spec?.replicas === old?.spec?.replicas) return;
          for (const budget of budgets.list({ namespace: (now ?? old)?.metadata.namespace ?? '' })) {
            if (needsExpected(budget)) enqueue(keyOf(budget.metadata));
          }
        });
      }
      await Promise.all([budgets, pods, ...scaled.values()].map(({ synced }) => synced));
      for (const { metadata } of budgets.list()) enqueue(keyOf(metadata));
    },
    keys: () => running?.budgets.list().map(({ metadata }) => keyOf(metadata)) ?? [],
    reconcile,
  };
}
