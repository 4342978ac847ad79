/** The claims of a StatefulSet's pods: one for each template and ordinal, which stay when a pod goes unless the set says otherwise. */
import { ApiError, type Client, type Informer } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { persistentVolumeClaims } from '../kinds/resources.ts';
import type { StatefulSet } from '../kinds/types/apps.ts';
import type { PersistentVolumeClaim, Pod, Volume } from '../kinds/types/core.ts';
import type { OwnerReference } from '../kinds/types/meta.ts';
import { sameJson } from './objects.ts';

function claimName(set: Stored<StatefulSet>, template: PersistentVolumeClaim, ordinal: number): string {
  return `${template.metadata.name}-${set.metadata.name}-${ordinal}`;
}

/** The pod's volumes with its claims in the place of any volume of the same name. */
export function volumesWithClaims(set: Stored<StatefulSet>, ordinal: number, volumes: Volume[]): Volume[] {
  const templates = set.spec?.volumeClaimTemplates ?? [];
  const names = new Set(templates.map(({ metadata }) => metadata.name));
  const claims = templates.map((template) => ({
    name: template.metadata.name ?? '',
    persistentVolumeClaim: { claimName: claimName(set, template, ordinal) },
  }));
  return [...claims, ...volumes.filter(({ name }) => !names.has(name))];
}

/** Sets that a claim of this name may be of: each end of what stands before the ordinal. */
export function setsOfClaim(name: string): string[] {
  const words = name.split('-').slice(0, -1);
  return words.slice(1).map((_, at) => words.slice(at + 1).join('-'));
}

/** A pod is not made beside a claim that goes. */
export function refuseGoingClaims(
  set: Stored<StatefulSet>,
  ordinal: number,
  informer: Informer<PersistentVolumeClaim>,
): void {
  for (const template of set.spec?.volumeClaimTemplates ?? []) {
    const claim = informer.get(claimName(set, template, ordinal), set.metadata.namespace);
    if (claim?.metadata.deletionTimestamp === undefined) continue;
    const { name, namespace } = claim.metadata;
    throw new Error(`claim ${namespace}/${name} is being deleted: its pod is made when it is gone`);
  }
}

/** Makes what is missing of the claims of one pod. Returns their names. */
export async function createClaims(
  client: Client,
  set: Stored<StatefulSet>,
  ordinal: number,
  informer: Informer<PersistentVolumeClaim>,
): Promise<string[]> {
  const { namespace = '' } = set.metadata;
  const made: string[] = [];
  for (const template of set.spec?.volumeClaimTemplates ?? []) {
    const name = claimName(set, template, ordinal);
    if (informer.get(name, namespace)) continue;
    const labels = { ...template.metadata.labels, ...set.spec?.selector.matchLabels };
    const { annotations } = template.metadata;
    const ownerReferences = ownersOf(set, undefined, false);
    try {
      await client.create(persistentVolumeClaims, {
        metadata: {
          name,
          namespace,
          labels,
          ...(annotations && { annotations }),
          ...(ownerReferences.length > 0 && { ownerReferences }),
        },
        ...(template.spec && { spec: template.spec }),
      });
      made.push(name);
    } catch (error) {
      if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
    }
  }
  return made;
}

/** Whose end is a claim's end, by the set's retention policy. */
function ownersOf(set: Stored<StatefulSet>, pod: Stored<Pod> | undefined, condemned: boolean): OwnerReference[] {
  const { whenDeleted, whenScaled } = set.spec?.persistentVolumeClaimRetentionPolicy ?? {};
  if (condemned && whenScaled === 'Delete' && pod) {
    return [{ apiVersion: 'v1', kind: 'Pod', name: pod.metadata.name, uid: pod.metadata.uid }];
  }
  if (whenDeleted !== 'Delete') return [];
  return [{ apiVersion: 'apps/v1', kind: 'StatefulSet', name: set.metadata.name, uid: set.metadata.uid }];
}

/** Writes the owners of a pod's claims where the policy, or the pod's place in the set, changed. */
export async function syncClaimOwners(
  client: Client,
  set: Stored<StatefulSet>,
  { pod, ordinal, condemned }: { pod: Stored<Pod>; ordinal: number; condemned: boolean },
  informer: Informer<PersistentVolumeClaim>,
): Promise<void> {
  for (const template of set.spec?.volumeClaimTemplates ?? []) {
    const claim = informer.get(claimName(set, template, ordinal), set.metadata.namespace);
    if (!claim || claim.metadata.deletionTimestamp !== undefined) continue;
    const { name, namespace = '', uid, resourceVersion, ownerReferences: before = [] } = claim.metadata;
    const isOurs = (one: OwnerReference): boolean =>
      one.uid === set.metadata.uid || (one.kind === 'Pod' && one.name === pod.metadata.name);
    const wanted = [...before.filter((one) => !isOurs(one)), ...ownersOf(set, pod, condemned)];
    if (sameJson(before, wanted)) continue;
    const body = { metadata: { uid, resourceVersion, ownerReferences: wanted.length > 0 ? wanted : null } };
    try {
      await client.patch(persistentVolumeClaims, name, { type: 'merge', body }, { namespace });
    } catch (error) {
      if (!(error instanceof ApiError && error.code === 404)) throw error;
    }
  }
}
