/**
 * The engine's contract: everything that the planks above (the node agent, the Docker API) may ask of it.
 *
 * Vocabulary
 *   sandbox    the shared surroundings of the containers of one pod: a user namespace, the network namespace that it
 *              owns, an IP address, a hostname, an id range. It outlives its containers.
 *   container  one OCI container in a sandbox: an image's layers under a writable layer, started by the OCI runtime
 *              under conmon.
 *   image      a manifest and its config in the content store, with its layers unpacked once for the node.
 *
 * Promises that every implementation keeps (`testing/engine-contract.ts` checks them)
 *   - Crash-only. The engine may be killed between any two instructions. Containers and their logs go on without it.
 *     On open it reads back what is there: a container that ended meanwhile has its true exit status, half-made things
 *     are removed, and nothing that runs is touched.
 *   - An operation that resolved has happened, and is seen by every later call. One that was rejected left nothing behind.
 *   - `remove*` and `stop*` are idempotent: what is not there is removed already.
 *   - Ids of sandboxes and containers are chosen by the engine: 64 lowercase hexadecimal digits.
 *   - Errors are `EngineError`s with a stable code.
 *   - Sizes are bytes, times are milliseconds since the epoch unless a name says otherwise.
 *   - What only Docker's verbs ask (pause, rename, update, usage, files by path) is in `verbs.ts`: the node agent lives without.
 *   - Every long operation takes an `AbortSignal`; after an abort it rejects with the signal's reason and leaves nothing.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import type { DiskVolumes } from './disk-volumes.ts';
import type { DeviceMapping, Mount, WrittenFile } from './mount.ts';
import type { Attachment, NetworkWish, Networks } from './networks.ts';
import type { WrittenFiles } from './written.ts';

export type { DeviceMapping, Mount, WrittenFile } from './mount.ts';

export type EngineErrorCode =
  | 'not-found' // no such image, sandbox or container
  | 'conflict' // wrong state, or a name in use
  | 'invalid' // the request can never work; the message names the field
  | 'unauthorized' // a registry refused the credentials
  | 'forbidden' // it would open this host, and the engine was not opened with the risk; the message names it
  | 'unavailable' // a registry or the runtime did not answer; may work later
  | 'exhausted' // no address, id range, disk or memory left
  | 'internal'; // a defect of ours, or a runtime's error we do not know

export class EngineError extends Error {
  readonly code: EngineErrorCode;
  constructor(code: EngineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EngineError';
    this.code = code;
  }
}

export interface Engine extends WrittenFiles {
  readonly images: Images;
  readonly networks: Networks;
  readonly diskVolumes: DiskVolumes;
  info(): EngineInfo;

  /** Resolves when the sandbox has its namespaces and its IP. Takes a ready one from the pool where there is one. */
  createSandbox(spec: SandboxSpec, options?: { signal?: AbortSignal }): Promise<Sandbox>;
  /** Kills and removes what is left of its containers, then namespaces, address, cgroup and logs directory stay-behinds. */
  removeSandbox(id: string): Promise<void>;
  /**
   * From now on these ports of this host, and no others, lead to the sandbox; port 0 takes a free one. `conflict` where a
   * port is taken. Survives a restart of the engine.
   * @returns what was published, with the host's ports
   */
  publishPorts(id: string, ports: PublishedPort[]): Promise<PublishedPort[]>;
  /**
   * Makes a `lost` sandbox again, which is what a boot of the machine leaves of a durable one: the same id, name, host name, files,
   * id range and (where the engine still has it) address. Its containers can then be started `again`, on what they wrote before.
   * Nothing where it is not lost.
   */
  recoverSandbox(id: string): Promise<Sandbox>;
  /**
   * Connects as a process in the sandbox would: to its own loopback, so that what listens for it alone is reached too, or to
   * `ip`, as far as its packets may go. `unavailable` where nothing listens.
   */
  dialSandbox(id: string, port: number, options?: { ip?: string; signal?: AbortSignal }): Promise<Duplex>;
  sandboxes(): Sandbox[];
  sandbox(id: string): Sandbox | undefined;

  /** Makes the root file system and the OCI bundle; runs nothing. Rejects with `not-found` where the image is not here (it never pulls). */
  createContainer(spec: ContainerSpec, options?: { signal?: AbortSignal }): Promise<Container>;
  /**
   * Resolves when the container's process was executed. `invalid` where the command cannot be executed (no such file, no permission).
   * `conflict` where it is not `created`; with `again`, an `exited` one runs once more, on what it wrote before. `conflict` too
   * where its sandbox is lost or gone.
   */
  startContainer(id: string, options?: { again?: boolean }): Promise<void>;
  /** Sends the stop signal (the spec's, else the image's, else SIGTERM), waits `graceSeconds`, then SIGKILL. Resolves when it is down. */
  stopContainer(id: string, options?: { graceSeconds?: number; signal?: AbortSignal }): Promise<void>;
  /** Sends one signal, by name (`SIGHUP`) or number, to the container's first process. */
  killContainer(id: string, signal: string | number): Promise<void>;
  /** Removes a container that does not run; with `force` kills it first. Its log files are removed with `logs: true`. */
  removeContainer(id: string, options?: { force?: boolean; logs?: boolean }): Promise<void>;
  /** What an exited container has of its spec's mounts is let go: nothing there is in use by it any more. It never runs again. */
  releaseMounts(id: string): Promise<void>;
  containers(): Container[];
  container(id: string): Container | undefined;
  /** Resolves when the container is `exited`, at once where it is already. */
  waitContainer(id: string, options?: { signal?: AbortSignal }): Promise<ContainerExit>;

  /**
   * The standard input of a running container that has `stdin`. Ending it ends the container's input (a terminal gets its
   * end-of-file character); destroying it leaves that open for the next.
   */
  attachInput(id: string): Promise<Writable>;
  /** Of a running container with `tty`. */
  resizeContainer(id: string, size: TerminalSize): Promise<void>;

  /** Runs another process in a running container. */
  exec(id: string, spec: ExecSpec, options?: { signal?: AbortSignal }): Promise<ExecSession>;

  /** Reads the container's log: what is there, then what comes. See `LogOptions`. */
  logs(id: string, options: LogOptions): AsyncIterable<LogRecord>;
  stats(id: string): Promise<ContainerStats>;
  sandboxStats(id: string): Promise<SandboxStats>;
  /**
   * Replaces the files of a container's mount of the kind `files`, all at once: who reads sees the old ones or the new ones. Those of
   * a mount with `subPath` stay. `not-found` where there is no such mount at `target`.
   */
  updateFiles(id: string, target: string, files: readonly WrittenFile[]): Promise<void>;

  /** Every change from now on, in order. A consumer that falls 10,000 events behind is cut off with `unavailable`. */
  events(options?: { signal?: AbortSignal }): AsyncIterable<EngineEvent>;

  /** Stops the engine's own work. Containers go on. */
  close(): Promise<void>;
}

export interface EngineInfo {
  instance: string;
  dataDirectory: string;
  kernel: string;
  cgroups: 'v1' | 'v2';
  runtime: { name: string; path: string; version: string };
  conmonVersion: string;
  cpus: number;
  memoryBytes: number;
  /** How layers get a pod's ids: id-mapped mounts, or a shifted copy where the file system cannot. */
  idMapping: 'mount' | 'copy';
  sandboxPool: { ready: number; target: number };
  /** Range and gateway of the network that pods are in. */
  bridge: { subnet: string; gateway: string; ipv6?: { subnet: string; gateway: string } };
  /** Host directories that bind mounts of the Docker API may be in. */
  allowedBinds: string[];
  allowedRisks: Risk[];
  /** Devices of the host, or directories of them, that containers may be given. */
  allowedDevices: string[];
}

/**
 * What opens this host to a container; `forbidden` unless the engine was opened with it. Each includes those before it.
 *   unconfined       system calls beyond the default profile; /proc and /sys with nothing masked or read-only
 *   host-namespaces  no user namespace of its own (root in it is root here, with the capabilities that it was given), and
 *                    the host's network, processes, IPC or host name
 *   privileged       every capability and every device of the host: root here, in a root file system of its own
 */
export type Risk = 'unconfined' | 'host-namespaces' | 'privileged';

// ------------------------------------------------------------------------------------------------------------- images

/** The node's images. Content is shared with the registry room: pulling from the local registry copies nothing. */
export interface Images {
  /**
   * Fetches what is missing, verifies every byte by digest while it streams, unpacks each layer once, names the image.
   * @param reference  `host[:port]/repository[:tag][@digest]`; without a host it is looked up among local names only.
   */
  pull(reference: string, options?: PullOptions): Promise<Image>;
  /** By reference, by manifest digest or by image id (config digest), whole or at least 12 digits. */
  get(reference: string): Image | undefined;
  list(): Image[];
  tag(source: string, reference: string): Promise<void>;
  /**
   * Drops the name; content that nothing refers to is collected. `conflict` where a container uses it and it is the last
   * name; with `force` it then stays without a name until the container has gone.
   */
  remove(reference: string, options?: { force?: boolean }): Promise<void>;
  /** Absolute paths of the unpacked layers, topmost first as overlayfs wants its lower directories. Unshifted ids. */
  layerDirectories(image: Image): Promise<string[]>;
}

export interface PullOptions {
  credentials?: { username: string; password: string };
  /** PEM bundle that signs the registry's certificate, besides the system's. */
  ca?: string;
  /** Which of an index's images, as OCI names it (`arm64`); default this machine's. */
  architecture?: string;
  /** As OCI names it (`v7`); default the one that runs everywhere. */
  variant?: string;
  onProgress?: (progress: PullProgress) => void;
  signal?: AbortSignal;
}

export interface PullProgress {
  digest: string;
  /** Of a push, `downloading` is on its way up, and `mounted` taken over from another repository (`from`). */
  state: 'waiting' | 'exists' | 'downloading' | 'downloaded' | 'unpacking' | 'done' | 'mounted';
  from?: string;
  current: number;
  total: number;
}

export interface Image {
  /** Image id: the config's digest, `sha256:…`. */
  id: string;
  /** The digest of the manifest. */
  digest: string;
  /** Every name that it has, canonical form (`host/repository:tag`). */
  references: string[];
  /** Sum of its unpacked layers. */
  sizeBytes: number;
  createdAt: number;
  config: ImageConfig;
}

/** The parts of the OCI image configuration that a container is made from (image-spec config.md, `config`). */
export interface ImageConfig {
  architecture: string;
  os: string;
  user?: string;
  env?: string[];
  entrypoint?: string[];
  cmd?: string[];
  workingDirectory?: string;
  labels?: Record<string, string>;
  exposedPorts?: string[];
  stopSignal?: string;
  volumes?: string[];
  healthcheck?: Healthcheck;
  /** diff ids, bottom first */
  layers: string[];
}

/** How a container is asked whether it is well (Docker's extension of the configuration). Times in milliseconds; absent: the default. */
export interface Healthcheck {
  /** `[]`: as the image says; `['NONE']`; `['CMD', program, …]`; `['CMD-SHELL', line]`. */
  test: string[];
  interval?: number;
  timeout?: number;
  startPeriod?: number;
  startInterval?: number;
  retries?: number;
}

// ---------------------------------------------------------------------------------------------------------- sandboxes

export interface SandboxSpec {
  /** Unique among living sandboxes; `conflict` otherwise. The node agent uses `namespace/pod/uid`. */
  name: string;
  hostname: string;
  /** Its /etc/hosts names it `hostname.domain` too. */
  domain?: string;
  /** First line of its /etc/hosts, for who wants to know whose that is. */
  hostsComment?: string;
  labels?: Record<string, string>;
  dns?: { servers?: string[]; searches?: string[]; options?: string[] };
  /** Lines for /etc/hosts besides localhost and the sandbox's own name. */
  hostAliases?: { ip: string; names: string[] }[];
  /**
   * Where its packets may go. `cluster`: everywhere (default). `internet`: never to this host's own addresses, to other
   * pods or to services; for builds, which are untrusted.
   */
  egress?: 'cluster' | 'internet';
  /** For the plugins of an engine whose network is by them (`CNI_ARGS`); nothing to others. */
  networkArguments?: Record<string, string>;
  /** Default: `bridge` alone. Without any it has its loopback and nothing else, for ever. */
  networks?: NetworkWish[];
  /** `02:42:0a:56:00:07`, not of a group. Default: one is made up. */
  mac?: string;
  /** Limits on the sandbox's cgroup, above those of its containers. */
  limits?: Limits;
  /** It and its containers are to outlive a boot of the machine: see `recoverSandbox`. Default: they go with it. */
  durable?: boolean;
  /** Default `own`. `host`: ids are the host's; risk `host-namespaces`. */
  userNamespace?: 'own' | 'host';
  /** Default `own`. `host` goes with the host's user namespace only: no address of its own, no ports to publish. */
  network?: 'own' | 'host';
}

export interface Sandbox {
  id: string;
  name: string;
  hostname: string;
  domain?: string;
  hostsComment?: string;
  labels: Record<string, string>;
  /** In the first of its networks that is not internal, else in the first; empty without any, and with the host's network. */
  ip: string;
  /** Of IPv6, in the first of its networks that has that and is not internal. */
  ip6?: string;
  /** Absent: `bridge` alone. */
  networks?: Attachment[];
  mac?: string;
  dns?: SandboxSpec['dns'];
  hostAliases?: SandboxSpec['hostAliases'];
  createdAt: number;
  egress: 'cluster' | 'internet';
  /** First host id and length of the range that its user namespace maps from 0. */
  idRange: { first: number; length: number };
  networkNamespacePath: string;
  /** Absent where it has the host's. */
  userNamespacePath?: string;
  /** Present where it has the host's network. */
  network?: 'host';
  published?: PublishedPort[];
  /** The machine was booted, or the platform taken down, since it was made: it has neither namespaces nor link. */
  lost?: true;
}

export interface PublishedPort {
  /**
   * Only for this address of the host; `0.0.0.0` is every one of IPv4, `::` every one of IPv6. Where it is absent, every one: then
   * it is published as two, at the same port, where the host has IPv6.
   */
  hostIp?: string;
  hostPort: number;
  port: number;
  protocol: 'tcp' | 'udp';
}

export interface SandboxStats {
  at: number;
  receivedBytes: number;
  sentBytes: number;
}

// --------------------------------------------------------------------------------------------------------- containers

export interface ContainerSpec {
  /** Drawn ahead by a caller who needs it before: 64 hexadecimal digits. Default: the engine draws one. */
  id?: string;
  sandbox: string;
  /** Unique in its sandbox among containers that were not removed. */
  name: string;
  /** A reference or digest of an image that is here. */
  image: string;
  /** Instead of the image's entrypoint and cmd: `command` replaces both, `args` replaces cmd. */
  command?: string[];
  args?: string[];
  workingDirectory?: string;
  /** `NAME=value`, after the image's own, later wins. */
  env?: string[];
  /** `user`, `uid`, `user:group` or `uid:gid`; names are looked up in the image. Default: the image's user. */
  user?: string;
  /** Its start is refused as `invalid` where the user turns out to be root's. */
  nonRoot?: boolean;
  supplementaryGroups?: number[];
  /** The same by name, looked up in the image's /etc/group; numbers too. */
  supplementaryGroupNames?: string[];
  labels?: Record<string, string>;
  limits?: Limits;
  mounts?: Mount[];
  readOnlyRoot?: boolean;
  /** Added to, or dropped from, the default set (Docker's); `ALL` is understood. Names without `CAP_`. */
  capabilities?: { add?: string[]; drop?: string[] };
  /** Default true. */
  noNewPrivileges?: boolean;
  /** Instead of the default profile; what it lets through beyond that is risk `unconfined`. */
  seccomp?: 'unconfined' | SeccompProfile;
  /** `unconfined`: nothing below /proc and /sys is masked or read-only; that risk. */
  systemPaths?: 'unconfined';
  /** In a sandbox with the host's user namespace only; that risk. */
  privileged?: boolean;
  /** Shared with the host, risk `host-namespaces`. `pid` and `ipc` in a sandbox with the host's user namespace only: the kernel refuses their mounts elsewhere. */
  hostNamespaces?: HostNamespace[];
  /**
   * Id of a running container of the same sandbox: this one has no processes of its own but shares those, and ends with that
   * one's first process. `conflict` where that does not run.
   */
  processesOf?: string;
  devices?: DeviceMapping[];
  /** `sandbox`: one IPC namespace for all of its containers that say so (System V, message queues of POSIX). Default: one of its own. */
  ipc?: 'sandbox';
  /** `none`: a network namespace of its own, with a loopback and nothing else. Default: the sandbox's. */
  network?: 'sandbox' | 'none';
  tty?: boolean;
  /** Keeps standard input open for `attach`. */
  stdin?: boolean;
  stopSignal?: string;
  /** Size of /dev/shm; default 64 MiB. */
  sharedMemoryBytes?: number;
  /** As in setrlimit(2), by lowercase name without `RLIMIT_`: `nofile`, `core`. */
  resourceLimits?: { name: string; soft: number; hard: number }[];
  /** Path of a small file for it to write; what it then holds is in `ContainerExit.lastWords`. Empty at the start. */
  lastWords?: string;
  /**
   * Without a path it lies with the container. `none`: on no disk, in memory only, enough for who is attached. The last `maxBytes` in
   * each of `maxFiles` are kept; how much more it may take for a while is in `engine/containers/log-bound.ts`.
   */
  log?: { path?: string; maxBytes: number; maxFiles: number; none?: boolean };
  /** Process 1 is a small init that passes signals on and reaps; `unavailable` where this host has none. */
  init?: boolean;
  /** Of its own namespaces only: `net.…`, `fs.mqueue.…`, and those of System V IPC. */
  sysctls?: Record<string, string>;
  /** -1000 to 1000; nothing below the engine's own is given. */
  oomScoreAdjust?: number;
  /** NIS domain name. */
  domainName?: string;
  annotations?: Record<string, string>;
}

export type HostNamespace = 'pid' | 'ipc' | 'uts' | 'cgroup';

/** Rules of the OCI runtime specification (config-linux.md, seccomp), resolved for this machine and the capabilities. */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures: string[];
  syscalls: SeccompRule[];
}

export interface SeccompRule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: SeccompArgument[];
}

export interface SeccompArgument {
  index: number;
  value: number;
  valueTwo?: number;
  op: string;
}

export interface Limits {
  memoryBytes?: number;
  /** Thousandths of a core, hard limit. */
  cpuMillis?: number;
  /** Relative weight, as cpu.shares (2 to 262144). */
  cpuShares?: number;
  pids?: number;
  /** Memory and swap together, -1 for any amount; default: what `memoryBytes` says, so no swap. */
  memorySwapBytes?: number;
  /** What it is squeezed to when the host lacks memory. */
  memoryReservationBytes?: number;
  /** Processors and memory nodes, as in cpuset(7): `0-1,3`. */
  cpuset?: string;
  memoryNodes?: string;
  /** Share of disk time, 10 to 1000. */
  blockWeight?: number;
  /** Size of the writable layer; writes beyond it get ENOSPC, the host's disk does not fill. */
  diskBytes?: number;
}

export type ContainerState = 'created' | 'running' | 'exited';

export interface Container {
  id: string;
  name: string;
  sandbox: string;
  state: ContainerState;
  /** Host process id of its first process while it runs. */
  pid?: number;
  image: string;
  imageId: string;
  imageDigest: string;
  labels: Record<string, string>;
  createdAt: number;
  startedAt?: number;
  exit?: ContainerExit;
  /** While it runs: its processes are frozen (see `verbs.ts`). */
  paused?: boolean;
  logPath: string;
  spec: ContainerSpec;
}

export interface ContainerExit {
  /** 0 to 255; 128 + signal when a signal ended it. */
  code: number;
  /**
   * Which signal ended it. What the kernel says while the engine runs (6.15 and later); of an end that came while no engine ran only
   * the code is known, and 129 to 159 are then taken for a signal, though `exit 137` says the same.
   */
  signal?: number;
  oomKilled: boolean;
  at: number;
  /** Why it never ran, when the start failed. */
  message?: string;
  /** Of the file that its spec has for them: the first 4,096 bytes. Absent where it wrote none. */
  lastWords?: string;
}

export interface ContainerStats {
  at: number;
  /** Cpu time used since the start, in nanoseconds. */
  cpuNanos: number;
  /** Working set, as Kubernetes counts it: usage less inactive file cache. */
  memoryBytes: number;
  memoryLimitBytes?: number;
  pids: number;
  diskBytes: number;
}

// ---------------------------------------------------------------------------------------------------------------- exec

export interface ExecSpec {
  command: string[];
  env?: string[];
  workingDirectory?: string;
  /** As in `ContainerSpec`; default: the container's user. */
  user?: string;
  tty?: boolean;
  stdin?: boolean;
  /** Initial terminal size, with `tty`. */
  size?: TerminalSize;
}

export interface TerminalSize {
  columns: number;
  rows: number;
}

export interface ExecSession {
  /** Present with `stdin`. Ending it closes the process's standard input. */
  stdin?: Writable;
  stdout: Readable;
  /** Absent with `tty`. */
  stderr?: Readable;
  resize(size: TerminalSize): void;
  /** Resolves when the process ended and its output was read to the end. */
  exited: Promise<{ code: number }>;
  /** Kills the process. */
  kill(): void;
}

// ---------------------------------------------------------------------------------------------------------------- logs

export interface LogOptions {
  follow?: boolean;
  /** The last N records; default all that are kept. */
  tail?: number;
  /** Only records at or after (`since`), before or at (`until`): milliseconds, fractions count. */
  since?: number;
  until?: number;
  stdout?: boolean;
  stderr?: boolean;
  /** Pieces as they were written, not joined to lines: `line` holds the newline where there was one. */
  raw?: boolean;
  /** With `follow`: called when everything that was there has been read. */
  onCaughtUp?: () => void;
  /** Leaves out what is above it, and says so; of both streams together. Not with `raw`. */
  limit?: LogLimit;
  /** Called before the record that follows what is missing, and where nothing follows soon. See `LogGap`. */
  onGap?: (gap: LogGap) => void;
  signal?: AbortSignal;
}

/** A second's worth at once, then as much in a second: by the times at which lines were written. Absent: as much as comes. */
export interface LogLimit {
  bytesPerSecond?: number;
  linesPerSecond?: number;
}

/**
 * Lines that a reader did not get: they were above its limit (`bytes`, `lines`), their file was removed by rotation before it was read
 * (`rotation`), or they are in no file, because that was full and no engine was there to begin another (`overrun`). A long line that
 * was written in pieces may count as several.
 */
export interface LogGap {
  reason: 'bytes' | 'lines' | 'rotation' | 'overrun';
  /** Exact for limits. An estimate for an overrun, where 0 says that nobody knows; and for rotation, where the writer was too fast to be counted. */
  lines: number;
  /** Of the last of them that is known, RFC 3339. */
  time: string;
}

/** One line. Long lines that the writer split into partial records are joined again up to 1 MiB, then cut into several. */
export interface LogRecord {
  /** RFC 3339 with nanoseconds, as written by conmon. */
  time: string;
  stream: 'stdout' | 'stderr';
  /** The bytes of the line without its newline. */
  line: Buffer;
}

// -------------------------------------------------------------------------------------------------------------- events

export interface EngineEvent {
  at: number;
  type:
    | 'sandbox-created'
    | 'sandbox-removed'
    | 'container-created'
    | 'container-started'
    | 'container-exited'
    | 'container-oom'
    | 'container-paused'
    | 'container-unpaused'
    | 'container-removed'
    | 'image-pulled'
    | 'image-tagged'
    | 'image-removed';
  /** Of the sandbox or container, or the image's reference. */
  id: string;
  sandbox?: string;
  exit?: ContainerExit;
}
