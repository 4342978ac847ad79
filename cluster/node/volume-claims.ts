/** From a claim that a pod names to what its volume is on this node. */
import { ApiError, type Client } from '../client/client.ts';
import type { Stored } from '../kinds/kind.ts';
import { nodes, persistentVolumeClaims, persistentVolumes } from '../kinds/resources.ts';
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume } from '../kinds/types/core.ts';
import { claimNameOf } from '../kinds/volume-match.ts';
import { matchesTerm } from '../scheduler/node-selection.ts';
import { AgentError, messageOf } from './errors.ts';
import { prepareHostPath } from './host-path.ts';

export interface BoundVolume {
  claim: Stored<PersistentVolumeClaim>;
  volume: Stored<PersistentVolume>;
  readOnly: boolean;
}

/** Undefined where the pod's volume names no claim. Rejects with `FailedMount`, in a kubelet's words. */
export async function boundVolumeOf(
  client: Client,
  pod: Stored<Pod>,
  source: Volume,
  nodeName: string,
): Promise<BoundVolume | undefined> {
  const name = claimNameOf(pod.metadata.name, source);
  if (name === undefined) return undefined;
  const namespace = pod.metadata.namespace ?? '';
  const fail = (why: string): AgentError =>
    new AgentError('FailedMount', `error processing PVC ${namespace}/${name}: ${why}`);
  const claim = await found(client.get(persistentVolumeClaims, name, namespace), (why) =>
    fail(`failed to fetch PVC from API server: ${why}`),
  );
  const { uid: podUid } = pod.metadata;
  if (source.ephemeral && !claim.metadata.ownerReferences?.some(({ uid, controller }) => controller && uid === podUid))
    throw fail(`PVC was not created for pod ${namespace}/${pod.metadata.name} (pod is not owner)`);
  if (claim.metadata.deletionTimestamp !== undefined) throw fail("can't start pod because PVC is being deleted");
  const volumeName = claim.spec?.volumeName;
  if (claim.status?.phase !== 'Bound' || !volumeName) throw fail('PVC is not bound');
  const volume = await found(client.get(persistentVolumes, volumeName), (why) =>
    fail(`failed to fetch PV "${volumeName}" from API server: ${why}`),
  );
  if (volume.spec?.claimRef?.uid !== claim.metadata.uid) throw fail(`PV "${volumeName}" is bound to another claim`);
  await checkNode(client, volume, nodeName);
  const readOnly = source.persistentVolumeClaim?.readOnly === true || volume.spec.csi?.readOnly === true;
  return { claim, volume, readOnly };
}

async function checkNode(client: Client, volume: Stored<PersistentVolume>, nodeName: string): Promise<void> {
  const terms = volume.spec?.nodeAffinity?.required?.nodeSelectorTerms;
  if (terms === undefined) return;
  const node = await client.get(nodes, nodeName);
  if (terms.some((term) => matchesTerm(term, { name: nodeName, labels: node.metadata.labels ?? {} }))) return;
  throw new AgentError(
    'FailedMount',
    `MountVolume.NodeAffinity check failed for volume "${volume.metadata.name}" : no matching NodeSelectorTerms`,
  );
}

/** What lies on the host for volumes that are no disk volumes: a directory, or a block device. Rejects with `FailedMount`. */
export async function hostPathOf(
  { metadata, spec }: Stored<PersistentVolume>,
  allowed: readonly string[],
): Promise<string> {
  const isBlock = spec?.volumeMode === 'Block';
  const local = spec?.local && { path: spec.local.path, type: isBlock ? 'BlockDevice' : 'DirectoryOrBlockDevice' };
  const source = isBlock ? local : (spec?.hostPath ?? local);
  if (source !== undefined) return await prepareHostPath(source, allowed);
  const [what, instead] = isBlock ? ['give as a device', 'or local'] : ['mount', 'or local or hostPath'];
  throw new AgentError(
    'FailedMount',
    `PersistentVolume "${metadata.name}" is of a kind that this node cannot ${what}: use the StorageClass "local", ${instead}`,
  );
}

async function found<T>(answer: Promise<T>, failure: (why: string) => AgentError): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ApiError) throw failure(messageOf(error));
    throw error;
  }
}
