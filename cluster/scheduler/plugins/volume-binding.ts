/**
 * VolumeBinding: a pod goes where its volumes are. Claims that wait for their first consumer get a volume that is there, or are given
 * to their provisioner with the chosen node; the pod is bound when they are.
 */
import type { Informer } from '../../client/client.ts';
import type { Stored } from '../../kinds/kind.ts';
import {
  csiDrivers,
  csiStorageCapacities,
  persistentVolumeClaims,
  persistentVolumes,
  storageClasses,
} from '../../kinds/resources.ts';
import { quantityValue } from '../../kinds/quantity.ts';
import { matchesLabelSelector } from '../../kinds/selector.ts';
import type { PersistentVolume, PersistentVolumeClaim } from '../../kinds/types/core.ts';
import type { CSIDriver, CSIStorageCapacity, StorageClass } from '../../kinds/types/storage.ts';
import { bindCompleted, classOf, findVolume, requestOf, reservedFor, selectedNode } from '../../kinds/volume-match.ts';
import type { NodeInfo } from '../node-info.ts';
import { matchesTerm } from '../node-selection.ts';
import {
  hint,
  type Plugin,
  type PluginContext,
  type PodFilter,
  type Rejection,
  rejection,
  unresolvable,
} from '../plugin.ts';
import type { PodInfo } from '../pod-info.ts';
import { claimNamesOf } from './pod-claims.ts';

type Claim = Stored<PersistentVolumeClaim>;
type Volume = Stored<PersistentVolume>;

const noProvisioner = 'kubernetes.io/no-provisioner';
const bindWithin = 600_000;
const affinityConflict = unresolvable('node(s) had volume node affinity conflict');
const notFound = unresolvable('node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)');
const nothingToBind = unresolvable("node(s) didn't find available persistent volumes to bind");
const noStorage = rejection('node(s) did not have enough free storage');
const immediate = unresolvable('pod has unbound immediate PersistentVolumeClaims');

interface Room {
  context: PluginContext;
  claims: Informer<PersistentVolumeClaim>;
  volumes: Informer<PersistentVolume>;
  classes: Informer<StorageClass>;
  drivers: Informer<CSIDriver>;
  capacities: Informer<CSIStorageCapacity>;
  /** Volumes that are promised to a claim, by the pod for which. */
  promised: Map<string, Map<string, Volume>>;
}

export function volumeBinding(context: PluginContext): Plugin {
  const room: Room = {
    context,
    claims: context.informer(persistentVolumeClaims),
    volumes: context.informer(persistentVolumes),
    classes: context.informer(storageClasses),
    drivers: context.informer(csiDrivers),
    capacities: context.informer(csiStorageCapacities),
    promised: new Map(),
  };
  return {
    name: 'VolumeBinding',
    filter: (pod) => filter(room, pod),
    reserve(pod, node) {
      const chosen = new Map<string, Volume>();
      room.promised.set(pod.uid, chosen);
      for (const claim of unboundClaims(room, pod)) {
        const volume = volumeFor(claim, candidatesFor(room, claim), node);
        if (volume !== undefined) chosen.set(claim.metadata.uid, volume);
      }
    },
    unreserve: (pod) => void room.promised.delete(pod.uid),
    async preBind(pod, node, signal) {
      try {
        await bindClaims(room, pod, node, signal);
      } finally {
        room.promised.delete(pod.uid);
      }
    },
    hints: [
      hint(persistentVolumeClaims, (pod, now, old) => {
        const { name, namespace } = (now ?? old)?.metadata ?? {};
        return namespace === pod.namespace && claimNamesOf(pod).some((one) => one.name === name);
      }),
      hint(persistentVolumes, (pod) => claimNamesOf(pod).length > 0),
      hint(storageClasses, (pod) => claimNamesOf(pod).length > 0),
      hint(csiDrivers, (pod) => claimNamesOf(pod).length > 0),
      hint(csiStorageCapacities, (pod, now) => now !== undefined && claimNamesOf(pod).length > 0),
    ],
  };
}

function filter(room: Room, pod: PodInfo): PodFilter | Rejection | undefined {
  const names = claimNamesOf(pod);
  if (names.length === 0) return undefined;
  const waiting: { claim: Claim; candidates: Volume[] }[] = [];
  const bound: Claim[] = [];
  for (const { name, isEphemeral } of names) {
    const claim = room.claims.get(name, pod.namespace);
    if (claim === undefined)
      return unresolvable(
        isEphemeral
          ? `waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`
          : `persistentvolumeclaim "${name}" not found`,
      );
    if (claim.metadata.deletionTimestamp !== undefined)
      return unresolvable(`persistentvolumeclaim "${name}" is being deleted`);
    if (claim.status?.phase === 'Lost')
      return unresolvable(
        `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec?.volumeName ?? ''}"`,
      );
    if (isBound(claim)) bound.push(claim);
    else if (waits(room, claim)) waiting.push({ claim, candidates: candidatesFor(room, claim) });
    else return immediate;
  }
  return {
    check: (node) =>
      bound.map((claim) => boundProblem(room, claim, node)).find((problem) => problem !== undefined) ??
      waiting.map(({ claim, candidates }) => misfit(room, claim, candidates, node)).find((one) => one !== undefined),
  };
}

function isBound({ metadata, spec }: Claim): boolean {
  return metadata.annotations?.[bindCompleted] !== undefined && Boolean(spec?.volumeName);
}

function waits({ classes }: Room, claim: Claim): boolean {
  return classes.get(classOf(claim))?.volumeBindingMode === 'WaitForFirstConsumer' && !claim.spec?.volumeName;
}

function boundProblem({ volumes }: Room, { spec }: Claim, node: NodeInfo): Rejection | undefined {
  const volume = volumes.get(spec?.volumeName ?? '');
  if (volume === undefined) return notFound;
  return isReachable(volume, node) ? undefined : affinityConflict;
}

function isReachable({ spec }: Volume, node: NodeInfo): boolean {
  const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms;
  return terms === undefined || terms.some((term) => matchesTerm(term, node));
}

function misfit(room: Room, claim: Claim, candidates: readonly Volume[], node: NodeInfo): Rejection | undefined {
  const chosen = claim.metadata.annotations?.[selectedNode];
  // Being made already: for that node.
  if (chosen !== undefined) return chosen === node.name ? undefined : nothingToBind;
  if (volumeFor(claim, candidates, node) !== undefined) return undefined;
  if (!canProvision(room, claim, node)) return nothingToBind;
  return hasStorage(room, claim, node) ? undefined : noStorage;
}

/** As a driver says that tells where it has how much. */
function hasStorage({ classes, drivers, capacities }: Room, claim: Claim, node: NodeInfo): boolean {
  const name = classOf(claim);
  if (drivers.get(classes.get(name)?.provisioner ?? '')?.spec.storageCapacity !== true) return true;
  return capacities.list().some(({ storageClassName, nodeTopology, maximumVolumeSize, capacity }) => {
    if (storageClassName !== name || nodeTopology === undefined) return false;
    const largest = maximumVolumeSize ?? capacity;
    if (largest === undefined || quantityValue(largest) < requestOf(claim)) return false;
    return matchesLabelSelector(nodeTopology, node.labels);
  });
}

/** Volumes that would do, wherever they are; mostly none, so that nodes are quickly asked. */
function candidatesFor({ volumes, promised }: Room, claim: Claim): Volume[] {
  if (claim.metadata.annotations?.[selectedNode] !== undefined) return [];
  const taken = new Set(
    [...promised.values()].flatMap((some) => [...some.values()].map(({ metadata }) => metadata.name)),
  );
  return volumes
    .list()
    .filter((volume) => !taken.has(volume.metadata.name) && findVolume([volume], claim) !== undefined);
}

function volumeFor(claim: Claim, candidates: readonly Volume[], node: NodeInfo): Volume | undefined {
  const reachable = candidates.filter((volume) => isReachable(volume, node));
  return findVolume(reachable, claim) as Volume | undefined;
}

function canProvision({ classes }: Room, claim: Claim, node: NodeInfo): boolean {
  const storageClass = classes.get(classOf(claim));
  if (storageClass === undefined || storageClass.provisioner === noProvisioner) return false;
  const { allowedTopologies = [] } = storageClass;
  return (
    allowedTopologies.length === 0 ||
    allowedTopologies.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => values.includes(node.labels[key] ?? '')),
    )
  );
}

function unboundClaims({ claims }: Room, pod: PodInfo): Claim[] {
  return claimNamesOf(pod).flatMap(({ name }) => {
    const claim = claims.get(name, pod.namespace);
    return claim === undefined || isBound(claim) ? [] : [claim];
  });
}

/** Says which volume, or which node, and waits until the binder has bound them. */
async function bindClaims(room: Room, pod: PodInfo, node: NodeInfo, signal: AbortSignal): Promise<void> {
  const chosen = room.promised.get(pod.uid) ?? new Map<string, Volume>();
  const unbound = unboundClaims(room, pod);
  if (unbound.length === 0) return;
  await Promise.all(
    unbound.map(async (claim) => {
      const volume = chosen.get(claim.metadata.uid);
      if (volume !== undefined) await reserveVolume(room, claim, volume);
      else if (claim.metadata.annotations?.[selectedNode] === undefined) await selectNode(room, claim, node.name);
    }),
  );
  await untilBound(room, pod, node, signal);
}

async function reserveVolume({ context }: Room, claim: Claim, volume: Volume): Promise<void> {
  if (volume.spec?.claimRef?.uid === claim.metadata.uid) return;
  await context.client.update(persistentVolumes, reservedFor(volume, claim));
}

async function selectNode({ context }: Room, { metadata }: Claim, node: string): Promise<void> {
  const { name, namespace = '', uid, resourceVersion } = metadata;
  const body = { metadata: { uid, resourceVersion, annotations: { [selectedNode]: node } } };
  await context.client.patch(persistentVolumeClaims, name, { type: 'merge', body }, { namespace });
}

async function untilBound(room: Room, pod: PodInfo, node: NodeInfo, signal: AbortSignal): Promise<void> {
  const { claims } = room;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  /** Of the claims that were given a node: as long as the informer does not show it yet, its absence says nothing. */
  const selected = new Set<string>();
  const look = (): void => {
    const left = claimNamesOf(pod).flatMap(({ name }) => {
      const claim = claims.get(name, pod.namespace);
      return claim !== undefined && isBound(claim) && claim.status?.phase === 'Bound' ? [] : [{ name, claim }];
    });
    if (left.length === 0) return resolve();
    for (const { name, claim } of left) {
      if (claim === undefined)
        return reject(new Error(`persistentvolumeclaim "${name}" was deleted while it was bound`));
      const shown = claim.metadata.annotations?.[selectedNode];
      if (shown === node.name) selected.add(name);
      else if (selected.has(name))
        return reject(new Error(`no volume for persistentvolumeclaim "${name}" on ${node.name}`));
    }
  };
  const timer = setTimeout(() => reject(new Error('binding volumes: timed out waiting for the condition')), bindWithin);
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const forget = claims.onChange(look);
  look();
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    forget();
  }
}
