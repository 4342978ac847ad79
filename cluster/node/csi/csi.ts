/**
 * Volumes of CSI drivers on this node: the contract. https://github.com/container-storage-interface/spec (v1)
 *
 * A driver's node plugin serves gRPC on a Unix socket. It (or its node-driver-registrar) puts a second socket into
 * `<directory>/plugins_registry`; what is there is a plugin, from when it appears to when it goes (`plugins.ts`). A plugin that was
 * taken in is in this node's CSINode, with what it says of the node.
 *
 * Paths are a kubelet's, below the agent's own directory, so that a driver's manifest needs only that directory's name:
 *   plugins_registry/                                                        sockets of registrations
 *   plugins/kubernetes.io/csi/<driver>/<sha256 of the handle>/globalmount    where a volume is staged, once for the node
 *   pods/<uid>/volumes/kubernetes.io~csi/<name>/mount                        where it is published, for one pod
 *   plugins/kubernetes.io/csi/volumeDevices/staging/<name>                   both of a block volume, which is published as a device
 *   plugins/kubernetes.io/csi/volumeDevices/publish/<name>/<uid>
 *
 * Beside what is published for a pod lies `vol_data.json` (of a block volume in pods/<uid>/volumeDevices/kubernetes.io~csi/<name>),
 * written before the driver is asked: what is on the disk is the truth after any crash, and is taken back when the pod is gone. A volume is
 *   attached    where its CSIDriver asks for that (it does unless it says not): by a VolumeAttachment, which a controller writes and
 *               the driver's external-attacher answers; before that nothing is asked of the driver
 *   staged      NodeStageVolume, where the driver has STAGE_UNSTAGE_VOLUME
 *   published   NodePublishVolume, for each pod; again and again where its CSIDriver says `requiresRepublish`
 *   expanded    NodeExpandVolume, where its PersistentVolume has more than the claim says, also while pods use it
 * and goes the other way when the pod has ended. As long as any of it is on the node, the Node's `status.volumesInUse` says so, and
 * nobody detaches it.
 *
 * Promises
 *   - Every call may be repeated: drivers are idempotent by the specification, and a call without an answer is asked again.
 *   - Nothing below a directory that something is mounted on is ever removed.
 *   - Tried again, with a FailedMount event: a driver that is not there (yet), a volume that is not attached, an error of the driver.
 *
 * Not done: SELinux contexts.
 */
import type { Stored } from '../../kinds/kind.ts';
import type { CSIVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod } from '../../kinds/types/core.ts';

export interface CsiRequest {
  pod: Stored<Pod>;
  /** The name of the volume in the pod. */
  name: string;
  source: { persistent: Stored<PersistentVolume>; claim: Stored<PersistentVolumeClaim> } | { inline: CSIVolumeSource };
  readOnly: boolean;
  /** Nothing of the pod runs yet: else what was given to its group before is its containers' own to change. */
  isNew: boolean;
  /** Called when what a refusal said has changed: it is worth another try. */
  retry: () => void;
  signal: AbortSignal;
}

export interface CsiPublished {
  /** A directory, or a device. */
  path: string;
  /** It is to be mounted again from time to time, as long as the pod runs: what the driver was given may be old by then. */
  republish: boolean;
}

/** What its driver says of a volume. */
export interface VolumeUse {
  capacityBytes?: number;
  usedBytes?: number;
  availableBytes?: number;
  inodes?: number;
  inodesUsed?: number;
  inodesFree?: number;
  /** Of drivers that say it. */
  condition?: { abnormal: boolean; message: string };
}

export interface Csi {
  /** Takes plugins in from now on, and takes back what pods left that are gone. @param podUids  those that are not */
  start(podUids: ReadonlySet<string>): void;
  /** Resolves when the volume is published for the pod. @throws AgentError FailedMount */
  mount(request: CsiRequest): Promise<CsiPublished>;
  /** How full the volume at this path is, as its driver says; undefined where that does not. */
  use(path: string): Promise<VolumeUse | undefined>;
  /** What is wrong with the volume at this path, as its driver says; undefined where nothing is, or that does not say. */
  problem(path: string): Promise<string | undefined>;
  /** The pod has none of its volumes any more. Rejects as long as a driver holds one. */
  release(podUid: string): Promise<void>;
  close(): Promise<void>;
}
