/** The engine's contract: what may be mounted into a container, and which devices it may have. */

/**
 * `subPath`, where there is one: not the whole is mounted but what lies there, resolved by the kernel at the moment of mounting.
 * Links are followed as long as they stay within; one that leads out is `invalid`, whatever is done to the tree meanwhile. Missing
 * directories are made, of the mode that the whole has.
 */
export type Mount =
  | {
      kind: 'bind';
      source: string;
      target: string;
      readOnly?: boolean;
      /** Default false. */
      noExec?: boolean;
      noAccessTime?: boolean;
      /** With what is mounted below the source. */
      recursive?: boolean;
      /**
       * `slave`, `rslave`: what is mounted below the source later is seen too. `rshared`: what the container mounts there is seen on
       * the host as well; for privileged containers, of the whole of a source that is on a shared mount. Default `rprivate`.
       */
      propagation?: 'private' | 'rprivate' | 'slave' | 'rslave' | 'rshared';
      /**
       * Where the source is an empty directory it is filled first with what the image has at the target, with owners, modes and
       * extended attributes: whole or not at all.
       */
      seed?: boolean;
      subPath?: string;
    }
  /** Memory; counted against the container's memory. */
  | {
      kind: 'tmpfs';
      target: string;
      sizeBytes?: number;
      mode?: number;
      uid?: number;
      gid?: number;
      inodes?: number;
      readOnly?: boolean;
      /** Default false. */
      noExec?: boolean;
      noAccessTime?: boolean;
    }
  /**
   * Files that the engine writes, owned by the container's root: `path` is relative to `target`. Updated by `updateFiles`, which is
   * why each first name is a link into `..data`, itself a link to a directory that is never changed (the kubelet's layout).
   */
  | {
      kind: 'files';
      target: string;
      files: WrittenFile[];
      /** Owns files and directories; default the container's root group. */
      group?: number;
      readOnly?: boolean;
      subPath?: string;
    }
  /** An empty directory shared by the containers of a sandbox under one name; goes with the sandbox. */
  | {
      kind: 'shared';
      name: string;
      target: string;
      sizeBytes?: number;
      memory?: boolean;
      /** Owns it, and what is made in it. */
      group?: number;
      readOnly?: boolean;
      subPath?: string;
    };

export interface WrittenFile {
  path: string;
  content: Uint8Array;
  /** Default 0644. */
  mode?: number;
  /** Default the container's root. */
  uid?: number;
}

export interface DeviceMapping {
  /** A node of the host, a directory of such, or the `path` of a disk volume of the kind `block` that is mounted. */
  hostPath: string;
  path: string;
  /** Of `r`, `w` and `m`, as cgroups have it. */
  access: string;
  /** The caller answers for it, as it does for the source of a bind. Else it must be in `EngineInfo.allowedDevices`. */
  trusted?: true;
}
