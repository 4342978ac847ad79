/** What a pod's volume says of a CSI volume, whether it is a PersistentVolume or stands in the pod itself. */
import { createHash } from 'node:crypto';
import type { Stored } from '../../kinds/kind.ts';
import type { PersistentVolume, SecretReference } from '../../kinds/types/core.ts';
import type { CSIDriverSpec } from '../../kinds/types/storage.ts';
import { AgentError } from '../errors.ts';
import type { CsiRequest } from './csi.ts';
import type { Capability } from './messages.ts';

export interface CsiSource {
  driver: string;
  handle: string;
  /** The PersistentVolume's name; of an inline volume its name in the pod. */
  specName: string;
  lifecycle: 'Persistent' | 'Ephemeral';
  block: boolean;
  fsType: string;
  accessModes: readonly string[];
  mountOptions: readonly string[];
  attributes: Record<string, string>;
  stageSecret?: SecretReference;
  publishSecret?: SecretReference;
  expandSecret?: SecretReference;
}

export function sourceOf({ pod, name, source }: CsiRequest): CsiSource {
  const { namespace = '', uid } = pod.metadata;
  if ('inline' in source) {
    const { driver, fsType = '', volumeAttributes = {}, nodePublishSecretRef: secret } = source.inline;
    return {
      driver,
      handle: `csi-${sha256(`${uid}${name}`)}`,
      specName: name,
      lifecycle: 'Ephemeral',
      block: false,
      fsType,
      accessModes: ['ReadWriteOnce'],
      mountOptions: [],
      attributes: volumeAttributes,
      ...(secret?.name && { publishSecret: { name: secret.name, namespace } }),
    };
  }
  return persistentSource(source.persistent);
}

export function persistentSource({ metadata, spec }: Stored<PersistentVolume>): CsiSource {
  const csi = spec?.csi;
  if (csi === undefined) throw new AgentError('FailedMount', `PersistentVolume "${metadata.name}" is not of CSI`);
  return {
    driver: csi.driver,
    handle: csi.volumeHandle,
    specName: metadata.name,
    lifecycle: 'Persistent',
    block: spec?.volumeMode === 'Block',
    fsType: csi.fsType ?? '',
    accessModes: spec?.accessModes ?? [],
    mountOptions: spec?.mountOptions ?? [],
    attributes: csi.volumeAttributes ?? {},
    ...(csi.nodeStageSecretRef && { stageSecret: csi.nodeStageSecretRef }),
    ...(csi.nodePublishSecretRef && { publishSecret: csi.nodePublishSecretRef }),
    ...(csi.nodeExpandSecretRef && { expandSecret: csi.nodeExpandSecretRef }),
  };
}

/** `group`: for a driver that gives the volume to it by itself. */
export function capabilityOf(
  { block, accessModes, fsType, mountOptions }: CsiSource,
  { group, tellsWriters }: { group?: number | undefined; tellsWriters: boolean },
): Capability {
  return {
    block,
    accessMode: accessModes[0] ?? 'ReadWriteOnce',
    fsType,
    mountFlags: mountOptions,
    tellsWriters,
    ...(group !== undefined && { group }),
  };
}

/** Whether this node gives the volume to the pod's group (Kubernetes "CSIDriver", fsGroupPolicy). */
export function isGivenToGroup(source: CsiSource, driver: CSIDriverSpec): boolean {
  const { fsGroupPolicy = 'ReadWriteOnceWithFSType' } = driver;
  if (fsGroupPolicy === 'File') return true;
  if (fsGroupPolicy === 'None' || source.fsType === '') return false;
  return source.accessModes.includes('ReadWriteOnce') || source.accessModes.includes('ReadWriteOncePod');
}

export function checkLifecycle(source: CsiSource, driver: CSIDriverSpec): void {
  const modes = driver.volumeLifecycleModes ?? ['Persistent'];
  if (!modes.includes(source.lifecycle))
    throw new AgentError(
      'FailedMount',
      `volume mode "${source.lifecycle}" not supported by driver ${source.driver} (only supports [${modes.map((mode) => JSON.stringify(mode)).join(' ')}])`,
    );
}

export function podInfo({ pod }: CsiRequest, { lifecycle }: CsiSource): Record<string, string> {
  const { name, namespace = '', uid } = pod.metadata;
  return {
    'csi.storage.k8s.io/pod.name': name,
    'csi.storage.k8s.io/pod.namespace': namespace,
    'csi.storage.k8s.io/pod.uid': uid,
    'csi.storage.k8s.io/serviceAccount.name': pod.spec?.serviceAccountName ?? '',
    'csi.storage.k8s.io/ephemeral': String(lifecycle === 'Ephemeral'),
  };
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
