/**
 * Volumes of pods: the contract.
 *
 * A pod's volumes are prepared on the node before its sandbox is made (`pod-volumes.ts`), each volume that some container mounts, as a
 * kubelet does. What cannot be prepared yet is told by `FailedMount` events, and tried again: at once when the ConfigMap or Secret that
 * was missing appears, else after 0.5 s doubling to 2 min. Each container then mounts what is prepared (`mountsOf`).
 *
 *   emptyDir          a file system of its own (`sizeLimit` or 1Gi), which outlives containers, the sandbox and a boot, and goes
 *                     with the pod; in memory (`medium: Memory`) it goes with the sandbox
 *   configMap, secret, projected, downwardAPI
 *                     files in memory in the kubelet's `..data` layout, replaced all at once when the object, the pod's labels or
 *                     annotations change, or a token has had four fifths of its life; what is mounted by `subPath` stays
 *   persistentVolumeClaim, ephemeral
 *                     by the claim's volume: of the driver `local.sampan.dev` a disk volume of the engine (`volume-claims.ts`), of another
 *                     CSI driver what it publishes (`csi/csi.ts`);
 *                     `local` and `hostPath` volumes only below directories that the node was started with; a `local` one that is a
 *                     block device is mounted (`local-devices.ts`)
 *                     of `volumeMode: Block` each of these is a device, but a `hostPath` (`devicesOf`)
 *   csi               of a driver that has volumes in pods
 *   hostPath          the same; else the pod is refused (`security.ts`)
 *
 * Ids: containers see on disk the ids that they use themselves, as every volume is an id-mapped mount. `fsGroup` owns files and
 * directories, and may write; `fsGroupChangePolicy: OnRootMismatch` looks at the root only.
 */
import type { DeviceMapping, Mount, WrittenFile } from '#engine/engine.ts';
import type { Container, VolumeMount } from '../kinds/types/core.ts';
import { expand } from './environment.ts';
import { AgentError } from './errors.ts';

export const defaultDiskBytes = 2 ** 30;

/** What a volume is on this node. */
export type PreparedVolume =
  | { kind: 'files'; files: WrittenFile[]; group?: number }
  | BoundPath
  /** Made by the first container of the sandbox that mounts it. */
  | { kind: 'memory'; sizeBytes?: number; group?: number };

/** Of a directory, or of what the engine gives as a device. */
export interface BoundPath {
  kind: 'path' | 'device';
  path: string;
  readOnly?: boolean;
  noExec?: true;
  noAccessTime?: true;
  /** The PersistentVolume's name, where it is one pod's at a time. */
  exclusive?: string;
  /** Its driver wants to be asked again from time to time. */
  republish?: true;
  /** Who knows how full it is: `here` it is a file system that the engine made. Absent: nobody. */
  measured?: 'here' | 'by-driver';
}

export interface MountsInput {
  container: Container;
  prepared: ReadonlyMap<string, PreparedVolume>;
  environment: ReadonlyMap<string, string>;
}

export function mountsOf({ container, prepared, environment }: MountsInput): Mount[] {
  return (container.volumeMounts ?? []).map((mount) => {
    const volume = prepared.get(mount.name);
    if (!volume) throw invalid(`volumeMount "${mount.name}": the pod has no volume of this name`);
    return mountOf(mount, volume, subPathOf(mount, environment));
  });
}

/** In a kubelet's words. */
export function devicesOf(
  { name: container, volumeDevices = [] }: Pick<Container, 'name' | 'volumeDevices'>,
  prepared: ReadonlyMap<string, PreparedVolume>,
): DeviceMapping[] {
  return volumeDevices.map(({ name, devicePath }) => {
    if (!devicePath.startsWith('/')) throw invalid(`error DevicePath \`${devicePath}\` must be an absolute path`);
    const volume = prepared.get(name);
    if (volume?.kind !== 'device') throw invalid(`cannot find volume "${name}" to pass into container "${container}"`);
    return { hostPath: volume.path, path: devicePath, access: volume.readOnly === true ? 'r' : 'rwm', trusted: true };
  });
}

function mountOf(mount: VolumeMount, volume: PreparedVolume, subPath: string | undefined): Mount {
  const common = { target: mount.mountPath, ...(subPath !== undefined && { subPath }) };
  switch (volume.kind) {
    case 'files':
      return { ...common, kind: 'files', files: volume.files, readOnly: true, ...groupOf(volume) };
    case 'memory': {
      const { sizeBytes } = volume;
      const size = sizeBytes === undefined ? {} : { sizeBytes };
      return {
        ...common,
        kind: 'shared',
        name: mount.name,
        memory: true,
        ...size,
        ...groupOf(volume),
        ...readOnly(mount),
      };
    }
    case 'device':
      throw invalid(`volumeMount "${mount.name}": the volume is a device: name it in volumeDevices`);
    case 'path': {
      const propagation = propagationOf(mount);
      const { path: source, noExec, noAccessTime } = volume;
      const only = volume.readOnly === true ? { readOnly: true } : readOnly(mount);
      const flags = { ...only, ...(noExec && { noExec }), ...(noAccessTime && { noAccessTime }) };
      return { ...common, kind: 'bind', source, ...flags, ...propagation };
    }
  }
}

/** Both ways only for privileged containers: the API refuses it of others, and the engine too. */
function propagationOf({ mountPropagation }: VolumeMount): { propagation?: 'rslave' | 'rshared'; recursive?: true } {
  if (mountPropagation === 'Bidirectional') return { propagation: 'rshared', recursive: true };
  return mountPropagation === 'HostToContainer' ? { propagation: 'rslave' } : {};
}

function groupOf({ group }: { group?: number }): { group?: number } {
  return group === undefined ? {} : { group };
}

function readOnly(mount: VolumeMount): { readOnly?: true } {
  return mount.readOnly === true ? { readOnly: true } : {};
}

function subPathOf(mount: VolumeMount, environment: ReadonlyMap<string, string>): string | undefined {
  const subPath = mount.subPathExpr ? expandAll(mount, mount.subPathExpr, environment) : mount.subPath;
  if (!subPath) return undefined;
  if (subPath.startsWith('/') || subPath.includes('\0') || subPath.split('/').includes('..'))
    throw invalid(`volumeMount "${mount.name}": subPath "${subPath}" must be relative and must not contain ".."`);
  return subPath;
}

function expandAll(mount: VolumeMount, text: string, environment: ReadonlyMap<string, string>): string {
  const expanded = expand(text, environment);
  // A name that is not known must not become a directory of that name.
  const missing = /\$\(([^)]*)\)/.exec(text.replaceAll('$$', ''))?.[1];
  if (missing !== undefined && !environment.has(missing))
    throw invalid(`volumeMount "${mount.name}": subPathExpr "${text}": no environment variable "${missing}"`);
  return expanded;
}

function invalid(message: string): AgentError {
  return new AgentError('CreateContainerConfigError', message);
}
