/**
 * Asks for volumes of CSI drivers to be attached where pods need them, and to be detached where none does (Kubernetes' attach/detach
 * controller): a VolumeAttachment for each volume and node, which the driver's external-attacher answers. Keys are their names.
 *
 * Wanted: a pod that has not ended is bound to the node, and names a claim of the volume; the volume's CSIDriver does not say that
 * there is nothing to attach. Taken away: no such pod, and the node says no more that it uses the volume. A node that is gone, or has
 * the taint of those out of service, is not asked; one that is not ready is waited for six minutes. A volume for one node alone waits
 * until the other has let it go.
 */
import { ApiError, type Informer } from '../client/client.ts';
import { createEventRecorder, type EventRecorder, type RecordedEvent } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import { localDriver } from '../kinds/local-volume.ts';
import {
  csiDrivers,
  nodes as nodeResource,
  persistentVolumeClaims,
  persistentVolumes,
  pods as podResource,
  volumeAttachments,
} from '../kinds/resources.ts';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '../kinds/types/core.ts';
import type { CSIDriver, VolumeAttachment } from '../kinds/types/storage.ts';
import { attachmentName, csiVolumeName } from '../kinds/volume-attachment-name.ts';
import { claimNameOf } from '../kinds/volume-match.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { isFinished, openInformer } from './objects.ts';

const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';
const UNREADY_NODE_WAIT = 360_000;

export interface VolumeAttachOptions {
  /** Milliseconds that a node that is not ready has to let a volume go; default six minutes. */
  unreadyNodeWait?: number;
}

interface Place {
  volume: string;
  node: string;
}

interface Room {
  context: ControllerContext;
  pods: Informer<Pod>;
  claims: Informer<PersistentVolumeClaim>;
  volumes: Informer<PersistentVolume>;
  nodes: Informer<Node>;
  drivers: Informer<CSIDriver>;
  attachments: Informer<VolumeAttachment>;
  recorder: EventRecorder;
  /** Which volume and node a name stands for: of every pair that was seen. */
  places: Map<string, Place>;
  /** From when a node that is not ready is waited for, by a clock that nobody sets. */
  unreadySince: Map<string, number>;
}

const claimIndex = {
  claim: ({ metadata, spec }: Stored<Pod>): string[] =>
    (spec?.volumes ?? []).flatMap((volume) => {
      const name = claimNameOf(metadata.name, volume);
      return name === undefined ? [] : [`${metadata.namespace ?? ''}/${name}`];
    }),
};

export function createVolumeAttachments(options: VolumeAttachOptions = {}): Controller {
  const { unreadyNodeWait = UNREADY_NODE_WAIT } = options;
  let room: Room;
  let enqueueLater: (key: string, afterMilliseconds?: number) => void = () => undefined;
  return {
    name: 'attachdetach',
    async start(context, enqueue) {
      enqueueLater = enqueue;
      const onError = (error: unknown): void => context.log('warn', `volume attachments: ${String(error)}`);
      room = {
        context,
        pods: openInformer(context, podResource, claimIndex),
        claims: openInformer(context, persistentVolumeClaims),
        volumes: openInformer(context, persistentVolumes),
        nodes: openInformer(context, nodeResource),
        drivers: openInformer(context, csiDrivers),
        attachments: openInformer(context, volumeAttachments),
        recorder: createEventRecorder({ client: context.client, component: 'attachdetach-controller', onError }),
        places: new Map(),
        unreadySince: new Map(),
      };
      follow(room, enqueue);
      const { pods, claims, volumes, nodes, drivers, attachments } = room;
      await Promise.all([pods, claims, volumes, nodes, drivers, attachments].map(({ synced }) => synced));
      for (const pod of pods.list()) for (const key of keysOf(room, pod)) enqueue(key);
      for (const { metadata } of attachments.list()) enqueue(metadata.name);
    },
    keys: () => [...room.places.keys()],
    async reconcile(key) {
      const found = room.attachments.get(key);
      const place = room.places.get(key) ?? placeOf(found);
      if (place === undefined) return;
      room.places.set(key, place);
      const wanting = podsAt(room, place);
      if (wanting.length > 0) return await attach(room, { key, place, found, wanting });
      if (found === undefined) {
        room.places.delete(key);
        return;
      }
      // One of another's: a driver's own program may write them too.
      if (!isOurs(room, key, place) || found.metadata.deletionTimestamp !== undefined) return;
      const wait = waitFor(room, key, place, unreadyNodeWait);
      if (wait > 0) {
        if (Number.isFinite(wait)) enqueueLater(key, wait);
        return;
      }
      await detach(room, found);
    },
  };
}

function follow(room: Room, enqueue: (key: string) => void): void {
  const { pods, claims, volumes, nodes, drivers, attachments, places } = room;
  const enqueuePods = (keys: Iterable<Stored<Pod>>): void => {
    for (const pod of keys) for (const key of keysOf(room, pod)) enqueue(key);
  };
  const enqueueAll = (matches: (place: Place) => boolean): void => {
    for (const [key, place] of places) if (matches(place)) enqueue(key);
  };
  pods.onChange((now, old) => enqueuePods([now, old].filter((pod) => pod !== undefined)));
  claims.onChange((now) => {
    if (now) enqueuePods(pods.byIndex('claim', `${now.metadata.namespace ?? ''}/${now.metadata.name}`));
  });
  volumes.onChange((now) => {
    const claim = now?.spec?.claimRef;
    if (claim) enqueuePods(pods.byIndex('claim', `${claim.namespace ?? ''}/${claim.name ?? ''}`));
  });
  nodes.onChange((now, old) => enqueueAll(({ node }) => node === (now ?? old)?.metadata.name));
  drivers.onChange(() => enqueueAll(() => true));
  attachments.onChange((now, old) => {
    const place = placeOf(now ?? old);
    const name = (now ?? old)?.metadata.name;
    if (place === undefined || name === undefined) return;
    enqueue(name);
    if (now?.status?.attached === true && old !== undefined && old.status?.attached !== true) {
      const message = `AttachVolume.Attach succeeded for volume "${place.volume}" `;
      tell(room, podsAt(room, place), { type: 'Normal', reason: 'SuccessfulAttachVolume', message });
    }
    // Whoever waits for it elsewhere.
    if (!now) enqueueAll(({ volume }) => volume === place.volume);
  });
}

function placeOf(attachment: VolumeAttachment | undefined): Place | undefined {
  const volume = attachment?.spec.source.persistentVolumeName;
  return attachment === undefined || volume === undefined ? undefined : { volume, node: attachment.spec.nodeName };
}

/** The names of the attachments that a pod needs, which are noted. */
function keysOf({ claims, volumes, places }: Room, { metadata, spec }: Stored<Pod>): string[] {
  const node = spec?.nodeName;
  if (!node) return [];
  return (spec?.volumes ?? []).flatMap((one) => {
    const claim = claims.get(claimNameOf(metadata.name, one) ?? '', metadata.namespace);
    const volume = volumes.get(claim?.spec?.volumeName ?? '');
    const csi = volume?.spec?.csi;
    if (volume === undefined || csi === undefined || csi.driver === localDriver) return [];
    const key = attachmentName(csi.volumeHandle, csi.driver, node);
    places.set(key, { volume: volume.metadata.name, node });
    return [key];
  });
}

function isOurs({ volumes, attachments }: Room, key: string, { volume, node }: Place): boolean {
  const csi = volumes.get(volume)?.spec?.csi;
  const found = attachments.get(key);
  // The volume may be gone by now; what it was called is in the name only.
  return csi === undefined
    ? /^csi-[0-9a-f]{64}$/.test(key) && found !== undefined
    : key === attachmentName(csi.volumeHandle, csi.driver, node);
}

function podsAt({ pods, volumes, claims }: Room, { volume, node }: Place): Stored<Pod>[] {
  const found = volumes.get(volume);
  const reference = found?.spec?.claimRef;
  const claim = claims.get(reference?.name ?? '', reference?.namespace);
  if (found === undefined || claim === undefined || claim.spec?.volumeName !== volume) return [];
  return pods
    .byIndex('claim', `${claim.metadata.namespace ?? ''}/${claim.metadata.name}`)
    .filter((pod) => pod.spec?.nodeName === node && !isFinished(pod));
}

interface Wish {
  key: string;
  place: Place;
  found: Stored<VolumeAttachment> | undefined;
  wanting: readonly Stored<Pod>[];
}

async function attach(room: Room, { key, place, found, wanting }: Wish): Promise<void> {
  const { context, volumes, drivers } = room;
  const volume = volumes.get(place.volume);
  const csi = volume?.spec?.csi;
  if (found !== undefined || volume === undefined || csi === undefined) return;
  if (drivers.get(csi.driver)?.spec.attachRequired === false) return;
  const elsewhere = room.attachments.list().find((one) => {
    const other = placeOf(one);
    return other?.volume === place.volume && other.node !== place.node;
  });
  if (elsewhere !== undefined && isForOneNode(volume)) {
    const message = `Multi-Attach error for volume "${place.volume}" Volume is already exclusively attached to one node and can't be attached to another`;
    tell(room, wanting, { type: 'Warning', reason: 'FailedAttachVolume', message });
    return;
  }
  try {
    const written = await context.client.create(volumeAttachments, {
      metadata: { name: key },
      spec: { attacher: csi.driver, nodeName: place.node, source: { persistentVolumeName: place.volume } },
    });
    await room.attachments.reached(written.metadata.resourceVersion, context.signal);
  } catch (error) {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
  }
}

function tell({ recorder }: Room, pods: readonly Stored<Pod>[], event: RecordedEvent): void {
  for (const { metadata } of pods) recorder.record({ apiVersion: 'v1', kind: 'Pod', metadata }, event);
}

function isForOneNode({ spec }: PersistentVolume): boolean {
  const modes = spec?.accessModes ?? [];
  return modes.length > 0 && !modes.includes('ReadWriteMany') && !modes.includes('ReadOnlyMany');
}

/** Milliseconds until the node need not be asked any more; 0: it has let the volume go. */
function waitFor(room: Room, key: string, { volume, node: name }: Place, unreadyNodeWait: number): number {
  const { nodes, volumes, unreadySince } = room;
  const node = nodes.get(name);
  const csi = volumes.get(volume)?.spec?.csi;
  const isUsed = csi !== undefined && node?.status?.volumesInUse?.includes(csiVolumeName(csi.driver, csi.volumeHandle));
  const isAway = node?.spec?.taints?.some(({ key: taint }) => taint === OUT_OF_SERVICE) === true;
  const isReady = node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True');
  if (isUsed !== true || isAway || isReady === true) {
    unreadySince.delete(key);
    return isUsed === true && !isAway ? Number.POSITIVE_INFINITY : 0;
  }
  const since = unreadySince.get(key) ?? performance.now();
  unreadySince.set(key, since);
  return Math.max(0, since + unreadyNodeWait - performance.now());
}

async function detach({ context }: Room, { metadata }: Stored<VolumeAttachment>): Promise<void> {
  const { name, uid, resourceVersion } = metadata;
  try {
    await context.client.delete(volumeAttachments, name, { preconditions: { uid, resourceVersion } });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}
