/** The ReplicaSets of a Deployment: which is the current one, their revisions, and making a new one. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { deployments as deploymentResource, replicaSets } from '../kinds/resources.ts';
import type { Deployment, ReplicaSet } from '../kinds/types/apps.ts';
import type { PodTemplateSpec } from '../kinds/types/core.ts';
import { claim } from './claim.ts';
import {
  byAge,
  desiredAnnotation,
  limits,
  maxAnnotation,
  newestRevision,
  revisionAnnotation,
  revisionOf,
} from './deployment-plan.ts';
import { controllerOf, sameJson } from './objects.ts';
import { settledTemplate } from './settled-template.ts';
import { stableHash } from './stable-hash.ts';

const historyAnnotation = 'deployment.kubernetes.io/revision-history';
const hashLabel = 'pod-template-hash';
const ownAnnotations = new Set([
  revisionAnnotation,
  historyAnnotation,
  desiredAnnotation,
  maxAnnotation,
  'kubectl.kubernetes.io/last-applied-configuration',
]);

function withoutHash(template: PodTemplateSpec | undefined): unknown {
  const settled = template && settledTemplate(template);
  const { [hashLabel]: _hash, ...labels } = settled?.metadata?.labels ?? {};
  const { creationTimestamp: _time, labels: _labels, ...metadata } = settled?.metadata ?? {};
  return { spec: settled?.spec, metadata: { ...metadata, labels } };
}

/** The sets that the Deployment controls; takes those that match its selector and have no controller. */
export async function claimSets(
  client: Client,
  deployment: Stored<Deployment>,
  objects: Informer<ReplicaSet>,
): Promise<Stored<ReplicaSet>[]> {
  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: deployment.metadata };
  return claim({ client, resource: replicaSets, objects, owner, selector: deployment.spec?.selector });
}

/** The oldest set with the Deployment's own template. */
export function currentOf(deployment: Deployment, sets: Stored<ReplicaSet>[]): Stored<ReplicaSet> | undefined {
  const wanted = withoutHash(deployment.spec?.template);
  return byAge(sets).find((set) => sameJson(withoutHash(set.spec?.template), wanted));
}

function inherited(deployment: Deployment): Record<string, string> {
  const annotations = Object.entries(deployment.metadata.annotations ?? {}).filter(
    ([name]) => !ownAnnotations.has(name),
  );
  const { replicas, maxSurge } = limits(deployment);
  return {
    ...Object.fromEntries(annotations),
    [desiredAnnotation]: String(replicas),
    [maxAnnotation]: String(replicas + maxSurge),
  };
}

/** The annotations that a set with these replicas should have. */
export function scaleAnnotations(deployment: Deployment): Record<string, string> {
  const { replicas, maxSurge } = limits(deployment);
  return { [desiredAnnotation]: String(replicas), [maxAnnotation]: String(replicas + maxSurge) };
}

/**
 * Gives the current set the newest revision. An old set that is current again, after an undo, remembers the revisions
 * it had. Returns the set as it is then.
 */
export async function adoptAsCurrent(
  client: Client,
  deployment: Stored<Deployment>,
  set: Stored<ReplicaSet>,
  sets: Stored<ReplicaSet>[],
): Promise<Stored<ReplicaSet>> {
  const newest = newestRevision(sets.filter((one) => one !== set));
  const own = revisionOf(set);
  const annotations: Record<string, string> = { ...set.metadata.annotations, ...inherited(deployment) };
  if (own <= newest) {
    annotations[revisionAnnotation] = String(newest + 1n);
    if (own > 0n) {
      const history = annotations[historyAnnotation];
      annotations[historyAnnotation] = history ? `${history},${own}` : String(own);
    }
  }
  const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
  // Replica annotations alone are written together with the replicas.
  const { [desiredAnnotation]: _a, [maxAnnotation]: _b, ...lasting } = annotations;
  const { [desiredAnnotation]: _c, [maxAnnotation]: _d, ...there } = set.metadata.annotations ?? {};
  if (sameJson(lasting, there) && (set.spec?.minReadySeconds ?? 0) === minReadySeconds) return set;
  const kept = { ...there, ...lasting, ...pick(set.metadata.annotations, [desiredAnnotation, maxAnnotation]) };
  return client.update(replicaSets, {
    ...set,
    metadata: { ...set.metadata, annotations: kept },
    ...(set.spec && { spec: { ...set.spec, minReadySeconds } }),
  });
}

function pick(from: Record<string, string> | undefined, names: string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (from?.[name] === undefined ? [] : [[name, from[name]]])));
}

export async function createCurrent(
  client: Client,
  deployment: Stored<Deployment>,
  replicas: number,
  sets: Stored<ReplicaSet>[],
): Promise<Stored<ReplicaSet>> {
  const { template, selector, minReadySeconds } = deployment.spec ?? {};
  if (!template || !selector) throw new Error(`deployment ${deployment.metadata.name} has no template or no selector`);
  const { namespace = '', name, uid } = deployment.metadata;
  const hash = stableHash(withoutHash(template), deployment.status?.collisionCount ?? 0);
  const labels = { ...template.metadata?.labels, [hashLabel]: hash };
  const set: ReplicaSet = {
    metadata: {
      name: `${name}-${hash}`,
      namespace,
      labels,
      annotations: { ...inherited(deployment), [revisionAnnotation]: String(newestRevision(sets) + 1n) },
      ownerReferences: [
        { apiVersion: 'apps/v1', kind: 'Deployment', name, uid, controller: true, blockOwnerDeletion: true },
      ],
    },
    spec: {
      replicas,
      ...(minReadySeconds !== undefined && { minReadySeconds }),
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [hashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
  try {
    return await client.create(replicaSets, set);
  } catch (error) {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
    const there = await client.get(replicaSets, set.metadata.name ?? '', namespace);
    // Ours from a step whose end we did not see.
    if (controllerOf(there.metadata)?.uid === uid && sameJson(withoutHash(there.spec?.template), withoutHash(template)))
      return there;
    // Another set has the name: the next step takes another hash.
    const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    await client.updateStatus(deploymentResource, { ...deployment, status: { ...deployment.status, collisionCount } });
    throw error;
  }
}
