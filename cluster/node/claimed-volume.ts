/** A volume of a pod that is a claim's, or a CSI driver's, made ready on this node: as a directory, or as a device. */
import { stat } from 'node:fs/promises';
import type { Stored } from '../kinds/kind.ts';
import { localHandle } from '../kinds/local-volume.ts';
import type { PersistentVolume, Pod, Volume } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import type { CsiRequest } from './csi/csi.ts';
import { AgentError, messageOf } from './errors.ts';
import { giveToGroup } from './fs-group.ts';
import { type MountFlags, mountFlags } from './mount-flags.ts';
import { allDefinitions } from './records.ts';
import { type BoundVolume, boundVolumeOf, hostPathOf } from './volume-claims.ts';
import type { BoundPath, PreparedVolume } from './volumes.ts';

export interface ClaimedVolumeRequest {
  context: NodeContext;
  pod: Stored<Pod>;
  volume: Volume;
  /** Nothing of the pod runs yet: else what an agent before this one gave to the group is the containers' own to change. */
  isNew: boolean;
  /** Called when what a refusal said has changed. */
  retry: () => void;
  signal: AbortSignal;
}

/** The claim is bound, and its PersistentVolume is not ready here: an event that names that one, in a kubelet's words. */
export class SetUpError extends AgentError {
  readonly reason: 'FailedMount' | 'FailedMapVolume';
  constructor({ metadata, spec }: Stored<PersistentVolume>, cause: unknown) {
    const isBlock = spec?.volumeMode === 'Block';
    const step = isBlock ? 'MapVolume.SetUpDevice' : 'MountVolume.SetUp';
    super('FailedMount', `${step} failed for volume "${metadata.name}" : ${messageOf(cause)}`, { cause });
    this.reason = isBlock ? 'FailedMapVolume' : 'FailedMount';
  }
}

/** Rejects with `FailedMount`, in a kubelet's words. */
export async function prepareClaim(request: ClaimedVolumeRequest): Promise<PreparedVolume> {
  const { context, pod, volume } = request;
  const bound = await boundVolumeOf(context.client, pod, volume, context.nodeName);
  if (bound === undefined)
    throw new AgentError(
      'FailedMount',
      'this kind of volume is not supported; use emptyDir, configMap, secret, downwardAPI, projected, ephemeral, csi or persistentVolumeClaim',
    );
  checkMode(pod, volume.name, bound.volume);
  try {
    const { exclusive } = context.volumes;
    const only = exclusive.take(bound.volume, { podUid: pod.metadata.uid, retry: request.retry });
    return { ...(await prepareBound(request, bound)), ...(only !== undefined && { exclusive: only }) };
  } catch (error) {
    throw new SetUpError(bound.volume, error);
  }
}

/** No container may have as a directory what is a device, nor the other way. */
function checkMode(pod: Pod, name: string, { spec }: PersistentVolume): void {
  const mode = spec?.volumeMode ?? 'Filesystem';
  const field = mode === 'Block' ? 'volumeMounts' : 'volumeDevices';
  if (allDefinitions(pod).some((container) => container[field]?.some((one) => one.name === name)))
    throw new AgentError('FailedMount', `volume ${name} has volumeMode ${mode}, but is specified in ${field}`);
}

async function prepareBound(request: ClaimedVolumeRequest, bound: BoundVolume): Promise<BoundPath> {
  const { context, pod, isNew } = request;
  const { claim, readOnly, volume: persistent } = bound;
  const isBlock = persistent.spec?.volumeMode === 'Block';
  const kind = isBlock ? 'device' : 'path';
  const handle = localHandle(persistent);
  if (handle === undefined && persistent.spec?.csi !== undefined)
    return { ...(await prepareCsi(request, { persistent, claim }, readOnly)), kind };
  const { path, measured, flags } =
    handle === undefined
      ? await hostVolume(request, persistent)
      : {
          path: await context.volumes.mount(handle, persistent, pod.metadata.uid),
          measured: 'here' as const,
          flags: {},
        };
  const { fsGroup, fsGroupChangePolicy } = pod.spec?.securityContext ?? {};
  if (fsGroup !== undefined && isNew && !readOnly && !isBlock && persistent.spec?.hostPath === undefined)
    await giveToGroup(path, fsGroup, fsGroupChangePolicy === 'OnRootMismatch');
  return { kind, path, ...flags, ...(readOnly && { readOnly }), ...(measured && { measured }) };
}

/** What lies on the host: a directory, or a device, which is mounted unless it is to be one. */
async function hostVolume(
  { context, pod }: ClaimedVolumeRequest,
  volume: Stored<PersistentVolume>,
): Promise<Pick<BoundPath, 'path' | 'measured'> & { flags: MountFlags }> {
  const path = await hostPathOf(volume, context.policy.hostPaths);
  const { local, volumeMode, mountOptions = [] } = volume.spec ?? {};
  if (volumeMode === 'Block') return { path, flags: {} };
  if (local === undefined) {
    if (mountOptions.length > 0)
      throw new AgentError('FailedMount', 'Mount options are not supported for this volume type: use local');
    return { path, flags: {} };
  }
  if ((await stat(path)).isDirectory()) return { path, flags: mountFlags(mountOptions) };
  return { path: await context.volumes.devices.mount(volume, path, pod.metadata.uid), measured: 'here', flags: {} };
}

export async function prepareCsi(
  { context, pod, volume: { name }, isNew, retry, signal }: ClaimedVolumeRequest,
  source: CsiRequest['source'],
  readOnly: boolean,
): Promise<BoundPath> {
  const { csi } = context;
  if (csi === undefined) throw new AgentError('FailedMount', 'this node takes no CSI drivers');
  const { path, republish } = await csi.mount({ pod, name, source, readOnly, isNew, retry, signal });
  return {
    kind: 'path',
    path,
    measured: 'by-driver',
    ...(readOnly && { readOnly }),
    ...(republish && { republish }),
  };
}
