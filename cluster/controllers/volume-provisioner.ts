/**
 * The provisioner `sampan.dev/local`: a claim of a class of its own gets a PersistentVolume on one node, which is the node that the
 * scheduler chose, or, for a class that binds at once, the Ready node with the fewest volumes. It writes objects only: the agent of
 * that node makes the volume when it is first mounted, and removes it from the disk when the object is deleted (`kinds/local-volume.ts`).
 */
import { ApiError, type Informer } from '../client/client.ts';
import { type EventRecorder, createEventRecorder } from '../client/event-recorder.ts';
import type { Stored } from '../kinds/kind.ts';
import {
  localDriver,
  localProvisioner,
  smallestVolume,
  volumeFinalizer,
  volumeNodeLabel,
} from '../kinds/local-volume.ts';
import {
  nodes as nodeResource,
  persistentVolumeClaims,
  persistentVolumes,
  storageClasses,
} from '../kinds/resources.ts';
import type { Node, PersistentVolume, PersistentVolumeClaim } from '../kinds/types/core.ts';
import type { StorageClass } from '../kinds/types/storage.ts';
import { bindCompleted, classOf, requestOf, selectedNode } from '../kinds/volume-match.ts';
import type { Controller, ControllerContext } from './controller.ts';
import { keyOf, openInformer, splitKey } from './objects.ts';
import { provisionedBy } from './volume-phases.ts';

type Claim = Stored<PersistentVolumeClaim>;

const askedOf = 'volume.kubernetes.io/storage-provisioner';
const hostname = 'kubernetes.io/hostname';
const MEBIBYTE = 2 ** 20;
const MODES = ['ReadWriteOnce', 'ReadWriteOncePod'];

interface Room {
  context: ControllerContext;
  claims: Informer<PersistentVolumeClaim>;
  volumes: Informer<PersistentVolume>;
  classes: Informer<StorageClass>;
  nodes: Informer<Node>;
  recorder: EventRecorder;
}

export function createVolumeProvisioner(): Controller {
  let room: Room;
  return {
    name: 'volume-provisioner',
    // One at a time: the node with the fewest volumes is another after each.
    workers: 1,
    async start(context, enqueue) {
      const onError = (error: unknown): void => context.log('warn', `volume provisioner: ${String(error)}`);
      room = {
        context,
        claims: openInformer(context, persistentVolumeClaims),
        volumes: openInformer(context, persistentVolumes),
        classes: openInformer(context, storageClasses),
        nodes: openInformer(context, nodeResource),
        recorder: createEventRecorder({ client: context.client, component: localProvisioner, onError }),
      };
      room.claims.onChange((now) => {
        if (now) enqueue(`claim/${keyOf(now.metadata)}`);
      });
      room.volumes.onChange((now) => {
        if (now) enqueue(`volume/${now.metadata.name}`);
      });
      const enqueueWaiting = (): void => {
        for (const claim of room.claims.list()) if (isAsked(claim)) enqueue(`claim/${keyOf(claim.metadata)}`);
      };
      room.nodes.onChange((now, old) => {
        if (!isUsable(old) && isUsable(now)) enqueueWaiting();
      });
      await Promise.all([room.claims.synced, room.volumes.synced, room.classes.synced, room.nodes.synced]);
      enqueueWaiting();
      for (const { metadata } of room.volumes.list()) enqueue(`volume/${metadata.name}`);
    },
    keys: () => [
      ...room.claims.list().map(({ metadata }) => `claim/${keyOf(metadata)}`),
      ...room.volumes.list().map(({ metadata }) => `volume/${metadata.name}`),
    ],
    async reconcile(key) {
      const [kind, rest] = [key.slice(0, key.indexOf('/')), key.slice(key.indexOf('/') + 1)];
      if (kind === 'volume') return await reclaim(room, rest);
      const { namespace, name } = splitKey(rest);
      const claim = room.claims.get(name, namespace);
      if (claim && isAsked(claim)) await provision(room, claim);
    },
  };
}

/** The binder found no volume for it, and its class is ours. */
function isAsked({ metadata, spec }: Claim): boolean {
  const { annotations = {}, deletionTimestamp } = metadata;
  return (
    annotations[askedOf] === localProvisioner &&
    annotations[bindCompleted] === undefined &&
    !spec?.volumeName &&
    deletionTimestamp === undefined
  );
}

async function provision(room: Room, claim: Claim): Promise<void> {
  const storageClass = room.classes.get(classOf(claim));
  const name = `pvc-${claim.metadata.uid}`;
  if (storageClass?.provisioner !== localProvisioner || room.volumes.get(name)) return;
  const isDelayed = storageClass.volumeBindingMode === 'WaitForFirstConsumer';
  const chosen = claim.metadata.annotations?.[selectedNode];
  if (isDelayed && chosen === undefined) return;
  const problem = problemOf(claim, storageClass);
  if (problem !== undefined) return fail(room, claim, storageClass, problem);
  const node = chosen === undefined ? pickNode(room, storageClass) : room.nodes.get(chosen);
  if (node === undefined) {
    // The scheduler chooses anew.
    if (chosen !== undefined) return await forgetNode(room, claim);
    return fail(room, claim, storageClass, 'no node is Ready that the class allows');
  }
  say(
    room,
    claim,
    'Normal',
    'Provisioning',
    `External provisioner is provisioning volume for claim "${keyOf(claim.metadata)}"`,
  );
  try {
    const written = await room.context.client.create(persistentVolumes, volumeFor(claim, storageClass, node));
    await room.volumes.reached(written.metadata.resourceVersion, room.context.signal);
  } catch (error) {
    if (!(error instanceof ApiError && error.reason === 'AlreadyExists')) throw error;
  }
  say(room, claim, 'Normal', 'ProvisioningSucceeded', `Successfully provisioned volume ${name}`);
}

function volumeFor(claim: Claim, storageClass: Stored<StorageClass>, node: Stored<Node>): PersistentVolume {
  const { name, namespace = '', uid, resourceVersion } = claim.metadata;
  const bytes = Math.max(smallestVolume, Math.ceil(requestOf(claim) / MEBIBYTE) * MEBIBYTE);
  const volume = `pvc-${uid}`;
  const label = node.metadata.labels?.[hostname] ?? node.metadata.name;
  const volumeMode = claim.spec?.volumeMode ?? 'Filesystem';
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {
      name: volume,
      labels: { [volumeNodeLabel]: node.metadata.name },
      annotations: { [provisionedBy]: localProvisioner },
      finalizers: [volumeFinalizer],
    },
    spec: {
      accessModes: claim.spec?.accessModes ?? [],
      capacity: { storage: bytes % 2 ** 30 === 0 ? `${bytes / 2 ** 30}Gi` : `${bytes / MEBIBYTE}Mi` },
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace, uid, resourceVersion },
      csi: { driver: localDriver, volumeHandle: volume, ...(volumeMode === 'Filesystem' && { fsType: 'ext4' }) },
      nodeAffinity: {
        required: { nodeSelectorTerms: [{ matchExpressions: [{ key: hostname, operator: 'In', values: [label] }] }] },
      },
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? 'Delete',
      storageClassName: storageClass.metadata.name,
      volumeMode,
    },
  };
}

/** What this provisioner cannot do, by the field that asks for it. */
function problemOf({ spec }: Claim, storageClass: Stored<StorageClass>): string | undefined {
  const mode = (spec?.accessModes ?? []).find((one) => !MODES.includes(one));
  if (mode !== undefined) return `spec.accessModes: "${mode}" is not supported: use ${MODES.join(' or ')}`;
  if (spec?.selector !== undefined) return 'spec.selector: is not supported for volumes that are made on demand';
  if (spec?.dataSource !== undefined || spec?.dataSourceRef !== undefined)
    return 'spec.dataSource: is not supported: there are no snapshots or clones';
  const parameter = Object.keys(storageClass.parameters ?? {})[0];
  if (parameter !== undefined) return `StorageClass parameters["${parameter}"]: there is no such parameter`;
  return storageClass.mountOptions?.length ? 'StorageClass mountOptions: are not supported' : undefined;
}

function pickNode({ nodes, volumes }: Room, { allowedTopologies = [] }: StorageClass): Stored<Node> | undefined {
  const counts = new Map<string, number>();
  for (const { metadata } of volumes.list()) {
    const node = metadata.labels?.[volumeNodeLabel];
    if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  const allows = ({ metadata }: Stored<Node>): boolean =>
    allowedTopologies.length === 0 ||
    allowedTopologies.some(({ matchLabelExpressions = [] }) =>
      matchLabelExpressions.every(({ key, values }) => values.includes(metadata.labels?.[key] ?? '')),
    );
  const usable = nodes.list().filter((node) => isUsable(node) && allows(node));
  const count = ({ metadata }: Stored<Node>): number => counts.get(metadata.name) ?? 0;
  return usable.sort((a, b) => count(a) - count(b) || (a.metadata.name < b.metadata.name ? -1 : 1))[0];
}

function isUsable(node: Stored<Node> | undefined): boolean {
  if (node?.spec?.unschedulable === true) return false;
  return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

async function forgetNode({ context }: Room, claim: Claim): Promise<void> {
  const { name, namespace = '', resourceVersion } = claim.metadata;
  const body = { metadata: { resourceVersion, annotations: { [selectedNode]: null } } };
  await context.client.patch(persistentVolumeClaims, name, { type: 'merge', body }, { namespace });
}

/** Its claim is gone: so is the volume, as soon as its node has taken it from the disk. */
async function reclaim({ volumes, context }: Room, name: string): Promise<void> {
  const volume = volumes.get(name);
  if (
    volume?.metadata.annotations?.[provisionedBy] !== localProvisioner ||
    volume.metadata.deletionTimestamp !== undefined ||
    volume.spec?.persistentVolumeReclaimPolicy !== 'Delete' ||
    volume.status?.phase !== 'Released'
  )
    return;
  const { uid, resourceVersion } = volume.metadata;
  try {
    await context.client.delete(persistentVolumes, name, { preconditions: { uid, resourceVersion } });
  } catch (error) {
    if (!(error instanceof ApiError && error.code === 404)) throw error;
  }
}

function fail(room: Room, claim: Claim, { metadata }: Stored<StorageClass>, why: string): void {
  const message = `failed to provision volume with StorageClass "${metadata.name}": ${why}`;
  say(room, claim, 'Warning', 'ProvisioningFailed', message);
}

function say({ recorder }: Room, claim: Claim, type: 'Normal' | 'Warning', reason: string, message: string): void {
  recorder.record(
    { apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: claim.metadata },
    { type, reason, message },
  );
}
