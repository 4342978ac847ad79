/** A volume of a pod that is a claim's, or a CSI driver's, made ready on this node. */
import type { Stored } from '../kinds/kind.ts';
import { localHandle } from '../kinds/local-volume.ts';
import type { Pod, Volume } from '../kinds/types/core.ts';
import type { NodeContext } from './context.ts';
import type { CsiRequest } from './csi/csi.ts';
import { AgentError, messageOf } from './errors.ts';
import { giveToGroup } from './fs-group.ts';
import { type BoundVolume, boundVolumeOf, hostDirectoryOf } from './volume-claims.ts';
import type { PreparedVolume } from './volumes.ts';

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

/** The claim is bound, and its PersistentVolume is not ready here: told by that one's name. */
export class SetUpError extends AgentError {
  readonly volume: string;
  constructor(volume: string, cause: unknown) {
    super('FailedMount', messageOf(cause), { cause });
    this.volume = volume;
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
  try {
    const { exclusive } = context.volumes;
    const only = exclusive.take(bound.volume, { podUid: pod.metadata.uid, retry: request.retry });
    return { ...(await prepareBound(request, bound)), ...(only !== undefined && { exclusive: only }) };
  } catch (error) {
    throw new SetUpError(bound.volume.metadata.name, error);
  }
}

type PreparedPath = Extract<PreparedVolume, { kind: 'path' }>;

async function prepareBound(request: ClaimedVolumeRequest, bound: BoundVolume): Promise<PreparedPath> {
  const { context, pod, isNew } = request;
  const { claim, readOnly, volume: persistent } = bound;
  const handle = localHandle(persistent);
  if (handle === undefined && persistent.spec?.csi !== undefined)
    return await prepareCsi(request, { persistent, claim }, readOnly);
  const path =
    handle === undefined
      ? await hostDirectoryOf(persistent, context.policy.hostPaths)
      : await context.volumes.mount(handle, persistent, pod.metadata.uid);
  const { fsGroup, fsGroupChangePolicy } = pod.spec?.securityContext ?? {};
  if (fsGroup !== undefined && isNew && !readOnly && persistent.spec?.hostPath === undefined)
    await giveToGroup(path, fsGroup, fsGroupChangePolicy === 'OnRootMismatch');
  return { kind: 'path', path, ...(readOnly && { readOnly }) };
}

export async function prepareCsi(
  { context, pod, volume: { name }, isNew, retry, signal }: ClaimedVolumeRequest,
  source: CsiRequest['source'],
  readOnly: boolean,
): Promise<PreparedPath> {
  const { csi } = context;
  if (csi === undefined) throw new AgentError('FailedMount', 'this node takes no CSI drivers');
  const path = await csi.mount({ pod, name, source, readOnly, isNew, retry, signal });
  return { kind: 'path', path, ...(readOnly && { readOnly }) };
}
