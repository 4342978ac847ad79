/**
 * Volumes of this cluster's own provisioner: who makes them, and how a node knows its own.
 *
 * The provisioner (a controller) writes PersistentVolumes that name a driver, a node and a size; it touches no disk. The agent of that
 * node makes the volume when a pod mounts it first. It alone takes the volume's disk space back, whenever it is up, and then lifts the
 * finalizer: until then the deleted PersistentVolume stays `Terminating`.
 */
import type { PersistentVolume } from './types/core.ts';

export const localProvisioner = 'sampan.dev/local';
/** `spec.csi.driver`; `volumeHandle` is the name of the volume on its node. */
export const localDriver = 'local.sampan.dev';
/** Label of a PersistentVolume: the name of its node. By it a node may see the volume. */
export const volumeNodeLabel = 'local.sampan.dev/node';
export const volumeFinalizer = 'local.sampan.dev/volume';
/** Annotation: its node has made it. From then on it is never made again: an empty one in its place would hide a loss. */
export const volumeMade = 'local.sampan.dev/made';
/** What a volume has at least. */
export const smallestVolume = 16 * 1024 * 1024;

/** The name of the volume on its node; undefined where it is of another kind. */
export function localHandle({ spec }: PersistentVolume): string | undefined {
  return spec?.csi?.driver === localDriver ? spec.csi.volumeHandle : undefined;
}
