/**
 * A container's root file system: the image's layers, unpacked once with the image's own ids, each seen through a mount that shifts
 * ids into the pod's range, under a writable layer.
 */
import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError, type Sandbox } from '../engine.ts';
import { SystemError, hasCode } from '../sys/libc.ts';
import { MountFlag, attachTree, cloneTree, mount, unmount } from '../sys/mounts.ts';
import type { Disks } from './disks.ts';
import type { ContainerPaths } from './layout.ts';

export interface RootfsRequest {
  paths: ContainerPaths;
  sandbox: Sandbox;
  /** Topmost first. */
  layers: string[];
  diskBytes?: number;
  disks: Disks;
}

/** Mounts it at `paths.rootfs`, with what the container wrote before where it did. On failure whatever was mounted is for the caller to remove, below `paths.run`. */
export async function makeRootfs({ paths, sandbox, layers, diskBytes, disks }: RootfsRequest): Promise<void> {
  const top = layers[0];
  if (top === undefined) throw new EngineError('invalid', 'the image has no layers: an empty image cannot run');
  let { upper, work } = paths;
  for (const directory of [paths.rootfs, paths.lower]) mkdirSync(directory, { recursive: true });
  if (diskBytes !== undefined) {
    mkdirSync(paths.diskMount, { recursive: true });
    if (existsSync(paths.disk)) await disks.mountAgain(paths.disk, paths.diskMount);
    else await disks.create(paths.disk, paths.diskMount, diskBytes);
    upper = join(paths.diskMount, 'upper');
    work = join(paths.diskMount, 'work');
  }
  const isNew = !existsSync(upper);
  for (const directory of [upper, work]) mkdirSync(directory, { recursive: true });
  if (isNew) {
    // The overlay's root shows the owner and mode of the upper directory.
    const { mode, uid, gid } = statSync(top);
    chownSync(upper, sandbox.idRange.first + uid, sandbox.idRange.first + gid);
    chmodSync(upper, mode & 0o7777);
  }
  mountOverlay({ paths, sandbox, layers, upper, work });
}

function mountOverlay(request: {
  paths: ContainerPaths;
  sandbox: Sandbox;
  layers: string[];
  upper: string;
  work: string;
}): void {
  const { paths, sandbox, layers, upper, work } = request;
  const trees: number[] = [];
  let attached = 0;
  try {
    for (const directory of layers) trees.push(mapLayer(directory, sandbox.userNamespacePath));
    // Until kernel 6.15 overlayfs takes only mounts that are attached, so they are, for as long as the call takes. Naming them by
    // descriptor keeps the option string (one page at most) short with any number of layers.
    for (const tree of trees) {
      attachTree(tree, paths.lower);
      attached += 1;
    }
    const lower = trees.map((tree) => `/proc/self/fd/${tree}`).join(':');
    // A renamed directory of the image is copied (EXDEV, as with Docker), and a change of mode alone copies the file: whatever the
    // kernel's defaults, the writable layer alone says what was changed, and becomes a layer of an image as it is.
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${work},redirect_dir=off,metacopy=off`;
    if (Buffer.byteLength(options) > 4095) {
      throw new EngineError('invalid', `the image has ${layers.length} layers, which is too many for one overlay`);
    }
    // Devices are in /dev, a file system of its own. Those that an image brought are opened by nobody but the host's root.
    const flags = sandbox.userNamespacePath === undefined ? 0 : MountFlag.noDev;
    mount('overlay', paths.rootfs, 'overlay', flags, options);
  } finally {
    while (attached > 0 && unmount(paths.lower)) attached -= 1;
    for (const tree of trees) closeSync(tree);
  }
}

function mapLayer(directory: string, userNamespacePath: string | undefined): number {
  try {
    return cloneTree(directory, userNamespacePath === undefined ? {} : { userNamespacePath });
  } catch (error) {
    if (!(error instanceof SystemError) || !hasCode(error, 'EINVAL', 'ENOSYS', 'EPERM')) throw error;
    throw new EngineError(
      'unavailable',
      `the file system of ${directory} has no id-mapped mounts (${error.code}): put the data directory on ext4, xfs or btrfs, with kernel 6.1 or later`,
      { cause: error },
    );
  }
}
