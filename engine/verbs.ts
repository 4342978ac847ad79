/**
 * The engine's contract, second half: what only Docker's verbs ask of it. The node agent lives without these, so that an
 * implementation for it has less to keep. The vocabulary, the errors and the promises are those of `engine.ts`.
 *
 * Promises besides
 *   - `paused` is a fact of the kernel's (the cgroup freezer), not of ours: it survives the engine, and an engine that is
 *     opened again reads it back. A paused container is `running`. Stopping or killing it lets it go on, to its end.
 *   - A change of limits is made in the running cgroup and in the record, so that the next start has it too.
 *   - Paths inside a container are resolved by the kernel as if the container's root were the root of the world
 *     (openat2(2), RESOLVE_IN_ROOT), and nothing is ever opened by a name that was checked before: a container that swaps
 *     links while it is read or written leads nobody out of its own file system.
 *   - Owners are told and taken as the container sees them: its root is 0.
 */
import type { Readable } from 'node:stream';
import type { Limits } from './engine.ts';

export interface ContainerVerbs {
  /** Freezes every process of it. `conflict` where it does not run or is paused already. */
  pauseContainer(id: string): Promise<void>;
  /** `conflict` where it is not paused. */
  unpauseContainer(id: string): Promise<void>;
  /** `conflict` where the name is taken in its sandbox. */
  renameContainer(id: string, name: string): Promise<void>;
  /** What is named replaces what was; the rest stays. `invalid` where the kernel refuses (memory below what is in use). */
  updateContainer(id: string, change: ContainerChange): Promise<void>;
  /** Of a running container: its own, and those that were executed in it. */
  processes(id: string): Promise<ContainerProcess[]>;
  /** Of a running container, in the kernel's words. Costs some small reads, and does not look at its disk. */
  usage(id: string): Promise<ContainerUsage>;
  /** Bytes of its writable layer, whether it runs or not. Walks the layer where that has no size of its own. */
  diskUse(id: string): Promise<number>;
  /** Which limits this kernel can keep. */
  limitSupport(): LimitSupport;

  /** What is at the path; a link that is its last component is not followed. `not-found` where there is nothing. */
  statPath(id: string, path: string): Promise<PathStat>;
  /**
   * The file or directory as a tar archive; its first entry is named by the path's last component. Nothing is read ahead of
   * the reader. Other file systems of the container are in it, but for those of the kernel (proc, sysfs, cgroup, devices).
   */
  readArchive(id: string, path: string): Promise<{ stat: PathStat; archive: Readable }>;
  /**
   * Unpacks a plain tar archive below a directory of the container. Device nodes are left out; names that lead out are refused
   * (`invalid`). Entries that were written before a failure stay.
   */
  writeArchive(
    id: string,
    path: string,
    archive: AsyncIterable<Uint8Array>,
    options?: WriteArchiveOptions,
  ): Promise<void>;
}

export interface ContainerChange {
  limits?: Limits;
  labels?: Record<string, string>;
}

export interface ContainerProcess {
  /** As this host counts. */
  pid: number;
  parent: number;
  /** As the container sees them; -1 for what it has no number for. */
  uid: number;
  gid: number;
  /** One letter, as in proc(5): `S`, `R`, `T`. */
  state: string;
  nice: number;
  threads: number;
  virtualBytes: number;
  residentBytes: number;
  startedAt: number;
  cpuMilliseconds: number;
  /** `pts/0`, or `?`. */
  terminal: string;
  name: string;
  /** With its arguments; the name in brackets where it has none. */
  command: string;
}

export interface ContainerUsage {
  at: number;
  cpu: {
    totalNanos: number;
    userNanos: number;
    kernelNanos: number;
    /** Of the whole host, idle time too: what shares are computed from. */
    hostNanos: number;
    onlineCpus: number;
    periods: number;
    throttledPeriods: number;
    throttledNanos: number;
  };
  memory: {
    /** With the file cache. */
    bytes: number;
    /** The largest there was, where the kernel tells. */
    peakBytes?: number;
    limitBytes?: number;
    failures: number;
    /** memory.stat, as the kernel names its fields. */
    counters: Record<string, number>;
  };
  processes: { current: number; limit?: number };
  /** By interface, the loopback left out. */
  networks: Record<string, NetworkUsage>;
  blocks: BlockUsage[];
}

export interface NetworkUsage {
  receivedBytes: number;
  receivedPackets: number;
  receivedErrors: number;
  receivedDropped: number;
  sentBytes: number;
  sentPackets: number;
  sentErrors: number;
  sentDropped: number;
}

/** Of one block device. */
export interface BlockUsage {
  major: number;
  minor: number;
  readBytes: number;
  writtenBytes: number;
  reads: number;
  writes: number;
}

export interface LimitSupport {
  swap: boolean;
  cpuset: boolean;
  blockWeight: boolean;
}

export interface PathStat {
  /** The last component of the path that was asked for. */
  name: string;
  type: 'file' | 'directory' | 'symlink' | 'character-device' | 'block-device' | 'fifo' | 'socket';
  sizeBytes: number;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  modifiedAt: number;
  /** Of a link: the absolute path in the container where it leads. */
  linkTarget?: string;
}

export interface WriteArchiveOptions {
  /** Everything belongs to the container's user, whatever the archive says. */
  ownedByUser?: boolean;
  /** `invalid` where an entry would put a directory in the place of something else, or something else in that of a directory. */
  keepKinds?: boolean;
  signal?: AbortSignal;
}
