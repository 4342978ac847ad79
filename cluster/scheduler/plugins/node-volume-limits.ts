/** NodeVolumeLimits: a node gets no more volumes of a CSI driver than the driver said there (its CSINode). */
import type { Informer } from '../../client/client.ts';
import { localDriver } from '../../kinds/local-volume.ts';
import { csiNodes, persistentVolumeClaims, persistentVolumes, pods, storageClasses } from '../../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../kinds/types/core.ts';
import type { StorageClass } from '../../kinds/types/storage.ts';
import { classOf } from '../../kinds/volume-match.ts';
import type { NodeInfo } from '../node-info.ts';
import { hint, type Plugin, type PluginContext, type PodFilter, rejection } from '../plugin.ts';
import type { PodInfo } from '../pod-info.ts';
import { claimNamesOf } from './pod-claims.ts';

const exceeded = rejection('node(s) exceed max volume count');

interface Room {
  claims: Informer<PersistentVolumeClaim>;
  volumes: Informer<PersistentVolume>;
  classes: Informer<StorageClass>;
}

/** By driver: its volumes, each once. */
type Volumes = Map<string, Set<string>>;

export function nodeVolumeLimits(context: PluginContext): Plugin {
  const room: Room = {
    claims: context.informer(persistentVolumeClaims),
    volumes: context.informer(persistentVolumes),
    classes: context.informer(storageClasses),
  };
  const nodes = context.informer(csiNodes);
  const filter = (pod: PodInfo): PodFilter | undefined => {
    const wanted: Volumes = new Map();
    collect(room, pod, wanted);
    if (wanted.size === 0) return undefined;
    return {
      check: (node) => {
        const drivers = nodes.get(node.name)?.spec.drivers.filter(({ name }) => wanted.has(name)) ?? [];
        const limited = drivers.filter(({ allocatable }) => allocatable?.count !== undefined);
        if (limited.length === 0) return undefined;
        const there = volumesOn(room, node);
        const fits = limited.every(({ name, allocatable }) => {
          const all = new Set([...(there.get(name) ?? []), ...(wanted.get(name) ?? [])]);
          // A pod that needs none that is not there already takes no more.
          return all.size <= (allocatable?.count ?? 0) || all.size === there.get(name)?.size;
        });
        return fits ? undefined : exceeded;
      },
    };
  };
  return {
    name: 'NodeVolumeLimits',
    filter,
    hints: [
      hint(pods, (pod, now, old) => now === undefined && old !== undefined && claimNamesOf(pod).length > 0),
      hint(csiNodes, (pod) => claimNamesOf(pod).length > 0),
      hint(persistentVolumeClaims, (pod, now) => claimNamesOf(pod).some(({ name }) => name === now?.metadata.name)),
    ],
  };
}

function volumesOn(room: Room, node: NodeInfo): Volumes {
  const found: Volumes = new Map();
  for (const pod of node.pods.values()) collect(room, pod, found);
  return found;
}

/** Of a claim that has no volume yet: the one that its class will have made. */
function collect({ claims, volumes, classes }: Room, pod: PodInfo, found: Volumes): void {
  for (const { name } of claimNamesOf(pod)) {
    const claim = claims.get(name, pod.namespace);
    if (claim === undefined) continue;
    const csi = volumes.get(claim.spec?.volumeName ?? '')?.spec?.csi;
    const driver = claim.spec?.volumeName ? csi?.driver : classes.get(classOf(claim))?.provisioner;
    if (driver === undefined || driver === localDriver) continue;
    const all = found.get(driver) ?? new Set();
    found.set(driver, all.add(csi?.volumeHandle ?? `${pod.namespace}/${name}`));
  }
}
