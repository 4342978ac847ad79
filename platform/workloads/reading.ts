/** What the workload controllers read of the platform's and the cluster's objects. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { ReplicaSet } from '#cluster/kinds/types/apps.ts';
import type { Pod } from '#cluster/kinds/types/core.ts';
import { isActive } from '../resources/deployments.ts';
import type { Informers } from '../resources/informers.ts';
import { pods, replicaSets } from '../resources/kubernetes.ts';
import * as types from '../resources/types.ts';

export function generationOf(object: { metadata: { labels?: Record<string, string> } }): number {
  return Number(object.metadata.labels?.[types.labels.generation] ?? 0);
}

export function replicaSetsOf(informers: Informers, app: string): Stored<ReplicaSet>[] {
  return informers
    .of(replicaSets)
    .byIndex('platform/app', app)
    .filter((set) => set.metadata.deletionTimestamp === undefined);
}

export function podsOf(informers: Informers, app: string): Stored<Pod>[] {
  return informers.of(pods).byIndex('platform/app', app);
}

export function processesOf(informers: Informers, app: string): Stored<types.Process>[] {
  return informers
    .of(types.processes)
    .byIndex('platform/app', app)
    .filter((process) => process.metadata.deletionTimestamp === undefined);
}

export function byGuid<T extends { metadata: types.App['metadata'] }>(
  informers: Informers,
  resource: Parameters<Informers['of']>[0] & { objectType?: T },
  guid: string | undefined,
): Stored<T> | undefined {
  if (guid === undefined) return undefined;
  return informers.of(resource).byIndex('platform/guid', guid)[0] as Stored<T> | undefined;
}

export function spaceOfNamespace(informers: Informers, namespace: string): Stored<types.Space> | undefined {
  return informers
    .of(types.spaces)
    .list()
    .find((space) => space.spec.namespace === namespace);
}

export function isReady(pod: Pod): boolean {
  return (
    pod.metadata.deletionTimestamp === undefined &&
    pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') === true
  );
}

/** The newest deployment of an app that has not ended. */
export function activeDeployments(informers: Informers, app: string): Stored<types.AppDeployment>[] {
  return informers
    .of(types.appDeployments)
    .byIndex('platform/app', app)
    .filter(isActive)
    .sort((a, b) => b.spec.generation - a.spec.generation);
}

export function createdAt(object: Stored<{ metadata: types.App['metadata'] }>): number {
  return Date.parse(object.metadata.annotations?.[types.annotations.createdAt] ?? object.metadata.creationTimestamp);
}
