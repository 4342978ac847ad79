/** VolumeRestrictions: a claim of the mode ReadWriteOncePod is one pod's at a time. */
import { persistentVolumeClaims, pods } from '../../kinds/resources.ts';
import type { Cluster } from '../cluster.ts';
import { hint, type Plugin, type PluginContext, type PodFilter, rejection } from '../plugin.ts';
import type { PodInfo } from '../pod-info.ts';
import { claimNamesOf } from './pod-claims.ts';

const inUse = rejection('node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode');

export function volumeRestrictions(context: PluginContext): Plugin {
  const claims = context.informer(persistentVolumeClaims);
  const exclusive = (pod: PodInfo): Set<string> =>
    new Set(
      claimNamesOf(pod)
        .map(({ name }) => name)
        .filter((name) => claims.get(name, pod.namespace)?.spec?.accessModes?.includes('ReadWriteOncePod') === true),
    );
  const filter = (pod: PodInfo, cluster: Cluster): PodFilter | undefined => {
    const wanted = claimNamesOf(pod).length === 0 ? undefined : exclusive(pod);
    if (wanted === undefined || wanted.size === 0) return undefined;
    const conflicts = (other: PodInfo): number =>
      other.namespace === pod.namespace && other.uid !== pod.uid
        ? claimNamesOf(other).filter(({ name }) => wanted.has(name)).length
        : 0;
    let count = 0;
    for (const other of cluster.podsIn(pod.namespace)) count += conflicts(other);
    return {
      check: () => (count > 0 ? inUse : undefined),
      add: (other) => void (count += conflicts(other)),
      remove: (other) => void (count -= conflicts(other)),
    };
  };
  return {
    name: 'VolumeRestrictions',
    filter,
    hints: [
      hint(pods, (pod, now, old) => now === undefined && old !== undefined && sharesClaim(pod, old)),
      hint(persistentVolumeClaims, (pod, now) => claimNamesOf(pod).some(({ name }) => name === now?.metadata.name)),
    ],
  };
}

function sharesClaim(pod: PodInfo, { metadata, spec }: PodInfo['pod']): boolean {
  if (metadata.namespace !== pod.namespace) return false;
  const names = new Set(claimNamesOf(pod).map(({ name }) => name));
  return (
    spec?.volumes?.some(({ persistentVolumeClaim: claim }) => claim !== undefined && names.has(claim.claimName)) ??
    false
  );
}
