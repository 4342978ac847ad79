/** Brings a Deployment's pods from one template to the next. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { deployments as deploymentResource, pods as podResource, replicaSets } from '../kinds/resources.ts';
import type { Deployment, ReplicaSet } from '../kinds/types/apps.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { Controller, ControllerContext } from './controller.ts';
import {
  byAge,
  compareRevisions,
  isScaled,
  limits,
  type Plan,
  planRolling,
  planScale,
  replicasOf,
  revisionAnnotation,
  revisionOf,
} from './deployment-plan.ts';
import { adoptAsCurrent, claimSets, createCurrent, currentOf, scaleAnnotations } from './deployment-sets.ts';
import { deploymentStatus, isComplete } from './deployment-status.ts';
import { controllerIndex, controllerOf, isFinished, keyOf, openInformer, sameJson, splitKey } from './objects.ts';

interface Running {
  deployments: Informer<Deployment>;
  sets: Informer<ReplicaSet>;
  pods: Informer<Pod>;
  recorder: EventRecorder;
  /** Of each Deployment: the newest set written. */
  written: Map<string, string>;
}

interface Step {
  deployment: Stored<Deployment>;
  sets: Stored<ReplicaSet>[];
  current: Stored<ReplicaSet> | undefined;
  old: Stored<ReplicaSet>[];
  adopted: 'created' | 'found' | undefined;
}

export function createDeploymentController(): Controller {
  let running: Running | undefined;
  let requeue: (key: string, afterMilliseconds?: number) => void = () => undefined;

  function note({ written }: Running, deployment: Stored<Deployment>, set: Stored<ReplicaSet>): void {
    const before = written.get(deployment.metadata.uid);
    if (before === undefined || Number(before) < Number(set.metadata.resourceVersion)) {
      written.set(deployment.metadata.uid, set.metadata.resourceVersion);
    }
  }

  async function carryOut(state: Running, client: Client, step: Step, plan: Plan): Promise<void> {
    const { deployment } = step;
    for (const [set, replicas] of plan) {
      if (!set.spec) continue;
      const before = replicasOf(set);
      const metadata = {
        ...set.metadata,
        annotations: { ...set.metadata.annotations, ...scaleAnnotations(deployment) },
      };
      const updated = await client.update(replicaSets, { ...set, metadata, spec: { ...set.spec, replicas } });
      note(state, deployment, updated);
      const replace = (one: Stored<ReplicaSet>): Stored<ReplicaSet> => (one === set ? updated : one);
      step.sets = step.sets.map(replace);
      step.old = step.old.map(replace);
      step.current = step.current && replace(step.current);
      if (replicas === before) continue;
      state.recorder.record(
        { apiVersion: 'apps/v1', kind: 'Deployment', metadata: deployment.metadata },
        {
          type: 'Normal',
          reason: 'ScalingReplicaSet',
          message: `Scaled ${replicas > before ? 'up' : 'down'} replica set ${set.metadata.name} from ${before} to ${replicas}`,
        },
      );
    }
  }

  /** Makes the current set when there is none, or gives the one there is the newest revision. */
  async function ensureCurrent(state: Running, client: Client, step: Step): Promise<Stored<ReplicaSet>> {
    const { deployment, sets, old } = step;
    let { current } = step;
    if (current) {
      const updated = await adoptAsCurrent(client, deployment, current, sets);
      if (updated !== current) {
        if (revisionOf(updated) !== revisionOf(current)) step.adopted = 'found';
        note(state, deployment, updated);
        step.sets = sets.map((set) => (set === current ? updated : set));
        current = updated;
      }
    } else {
      const { replicas, maxSurge } = limits(deployment);
      const others = old.reduce((sum, set) => sum + replicasOf(set), 0);
      const recreate = deployment.spec?.strategy?.type === 'Recreate';
      const first = recreate || others === 0 ? replicas : Math.max(0, Math.min(replicas, replicas + maxSurge - others));
      current = await createCurrent(client, deployment, first, sets);
      step.adopted = 'created';
      note(state, deployment, current);
      step.sets = [...sets, current];
      state.recorder.record(
        { apiVersion: 'apps/v1', kind: 'Deployment', metadata: deployment.metadata },
        {
          type: 'Normal',
          reason: 'ScalingReplicaSet',
          message: `Scaled up replica set ${current.metadata.name} from 0 to ${first}`,
        },
      );
    }
    step.current = current;
    const revision = current.metadata.annotations?.[revisionAnnotation];
    if (revision !== undefined && deployment.metadata.annotations?.[revisionAnnotation] !== revision) {
      const body = { metadata: { annotations: { [revisionAnnotation]: revision } } };
      const { name, namespace = '' } = deployment.metadata;
      step.deployment = await client.patch(deploymentResource, name, { type: 'merge', body }, { namespace });
    }
    return current;
  }

  /** Does a pod of an old set still run, or stop? */
  function oldPodsRun({ pods }: Running, old: Stored<ReplicaSet>[]): boolean {
    return old.some((set) => pods.byIndex('controller', set.metadata.uid).some((pod) => !isFinished(pod)));
  }

  async function roll(state: Running, client: Client, step: Step): Promise<void> {
    if (step.deployment.spec?.strategy?.type !== 'Recreate') {
      const current = await ensureCurrent(state, client, step);
      await carryOut(state, client, step, planRolling(step.deployment, current, step.old));
      return;
    }
    const down: Plan = new Map(step.old.filter((set) => replicasOf(set) > 0).map((set) => [set, 0]));
    if (down.size > 0) {
      await carryOut(state, client, step, down);
      return;
    }
    if (oldPodsRun(state, step.old)) return;
    const current = await ensureCurrent(state, client, step);
    const { replicas } = limits(step.deployment);
    if (replicasOf(current) !== replicas) await carryOut(state, client, step, new Map([[current, replicas]]));
  }

  async function removeHistory(client: Client, { deployment, old }: Step): Promise<void> {
    const limit = deployment.spec?.revisionHistoryLimit ?? 10;
    const unused = byAge(old)
      .toSorted((a, b) => compareRevisions(revisionOf(a), revisionOf(b)))
      .filter(
        ({ metadata, spec, status }) =>
          metadata.deletionTimestamp === undefined &&
          (spec?.replicas ?? 0) === 0 &&
          (status?.replicas ?? 0) === 0 &&
          (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0),
      );
    for (const { metadata } of unused.slice(0, Math.max(0, old.length - limit))) {
      try {
        await client.delete(replicaSets, metadata.name, {
          namespace: metadata.namespace ?? '',
          preconditions: { uid: metadata.uid },
        });
      } catch (error) {
        if (!(error instanceof ApiError && error.code === 404)) throw error;
      }
    }
  }

  async function reconcile(key: string, { client, signal, now }: ControllerContext): Promise<void> {
    if (!running) return;
    const state = running;
    const { namespace, name } = splitKey(key);
    const deployment = state.deployments.get(name, namespace);
    if (!deployment) return;
    const { uid } = deployment.metadata;
    const written = state.written.get(uid);
    if (written !== undefined) {
      await state.sets.reached(written, AbortSignal.any([signal, AbortSignal.timeout(30_000)]));
      if (state.written.get(uid) === written) state.written.delete(uid);
    }
    const sets = await claimSets(client, deployment, state.sets);
    const current = currentOf(deployment, sets);
    const step: Step = { deployment, sets, current, old: sets.filter((set) => set !== current), adopted: undefined };
    if (deployment.metadata.deletionTimestamp === undefined) {
      if (deployment.spec?.paused || isScaled(deployment, sets)) {
        await carryOut(state, client, step, planScale(deployment, step.current, step.old));
      } else {
        await roll(state, client, step);
      }
    }
    const { status, deadlineIn } = deploymentStatus({ ...step, now: now() });
    if (!sameJson(status, step.deployment.status)) {
      await client.updateStatus(deploymentResource, { ...step.deployment, status });
    }
    if (isComplete(step.deployment, status)) await removeHistory(client, step);
    if (deadlineIn !== undefined) requeue(key, deadlineIn + 1000);
  }

  return {
    name: 'deployment',
    async start(context, enqueue) {
      requeue = enqueue;
      const { client, log } = context;
      const deployments = openInformer(context, deploymentResource);
      const sets = openInformer(context, replicaSets, controllerIndex);
      const pods = openInformer(context, podResource, controllerIndex);
      const recorder = createEventRecorder({
        client,
        component: 'deployment-controller',
        onError: (error) => log('warn', `deployment-controller: an event was lost: ${String(error)}`),
      });
      const state: Running = { deployments, sets, pods, recorder, written: new Map() };
      running = state;
      deployments.onChange((now, old) => {
        if (now) enqueue(keyOf(now.metadata));
        else if (old) state.written.delete(old.metadata.uid);
      });
      const wake = (set: Stored<ReplicaSet>): void => {
        const owner = controllerOf(set.metadata);
        const { namespace = '' } = set.metadata;
        if (owner?.kind === 'Deployment') enqueue(`${namespace}/${owner.name}`);
        else if (!owner) for (const { metadata } of deployments.list({ namespace })) enqueue(keyOf(metadata));
      };
      sets.onChange((now, old) => {
        if (now) wake(now);
        if (old && (!now || controllerOf(old.metadata)?.uid !== controllerOf(now.metadata)?.uid)) wake(old);
      });
      // Recreate waits for the last old pod to be gone.
      pods.onChange((now, old) => {
        const owner = old && controllerOf(old.metadata);
        if (owner?.kind !== 'ReplicaSet' || (now && !isFinished(now))) return;
        const set = sets.get(owner.name, old?.metadata.namespace);
        if (set) wake(set);
      });
      await Promise.all([deployments.synced, sets.synced, pods.synced]);
      for (const { metadata } of deployments.list()) enqueue(keyOf(metadata));
    },
    keys: () => running?.deployments.list().map(({ metadata }) => keyOf(metadata)) ?? [],
    reconcile,
  };
}
