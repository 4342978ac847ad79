/**
 * The engine's contract, third half: directories and devices of a size of their own, for what outlives a container.
 *
 * Each is a file system in an image file, behind a loop device, because no cgroup limits disk and many kernels have no project
 * quotas: a full one gives ENOSPC inside and fills nothing else. Containers get one by a mount of the kind `bind` whose source is
 * its `path`; ids on its disk are those that containers see, whichever sandbox they are in.
 *
 * Promises
 *   - A `lasting` one (default) has its space set aside when it is made, so that a full host can never tear it, and a journal, so
 *     that a boot at any moment leaves what was synced. It outlives containers, sandboxes, the engine and boots, until it is removed.
 *   - A `scratch` one takes what is written, as it is written, and no journal.
 *   - A `block` one has its space set aside as a lasting one, and no file system: containers get it as a device, by a mapping (`devices`)
 *     whose `hostPath` is its `path`. A boot leaves what was synced, block by block.
 *   - One that is made or grown is there whole or not at all, whenever the engine is killed.
 *   - 5 % of the host's disk stay free: `exhausted` where it would not.
 */
export interface DiskVolumes {
  /**
   * Makes it where it is not there, mounts it where it is not mounted, and lets a lasting one grow to the size where it is smaller:
   * while it is in use too, where the engine has CAP_SYS_RESOURCE (a `block` one always), else with the next mount after nobody had it.
   * `sizeBytes` says what it has. Never shrinks. Idempotent. To mount a `block` one is to give it a device, which it keeps when the engine
   * ends. `invalid` where what is there is of the other sort.
   */
  mount(spec: DiskVolumeSpec): Promise<MountedDiskVolume>;
  /**
   * Writes what is not on disk yet. Containers that still have it keep it until they end; but of a `block` one, whose device would else be
   * another's by then: `conflict` while such a container has not ended. Idempotent.
   */
  unmount(name: string): Promise<void>;
  /** With all that is in it; `conflict` as with `unmount`. Idempotent. */
  remove(name: string): Promise<void>;
  list(): DiskVolume[];
}

export type DiskVolumeKind = 'lasting' | 'scratch' | 'block';

export interface DiskVolumeSpec {
  /** At most 200 letters, digits and `._-`. */
  name: string;
  /** At least 16 MiB (4 MiB for scratch). The file system's own needs are within it. */
  sizeBytes: number;
  kind?: DiskVolumeKind;
  /** It was made before: `not-found` where it is not there. */
  existing?: boolean;
}

export interface DiskVolume {
  name: string;
  sizeBytes: number;
  kind: DiskVolumeKind;
  mounted: boolean;
}

export interface MountedDiskVolume extends DiskVolume {
  /** A directory of this host: new, it is empty, root's, and may be written by all. Of a `block` one a file: new, it is of zeros. */
  path: string;
}
