/**
 * The OCI runtime configuration of a container. Pure: everything that had to be looked up is in the request.
 * Source: opencontainers/runtime-spec 1.0.2, config.md and config-linux.md.
 */
import {
  EngineError,
  type ContainerSpec,
  type HostNamespace,
  type ImageConfig,
  type Limits,
  type SeccompProfile,
} from '../engine.ts';
import { resolveCapabilities } from './capabilities.ts';
import { cpuPeriod, cpuQuota } from './limits.ts';
import type { GivenDevices } from './devices.ts';
import { withoutLoopControl } from './loop-control.ts';
import { seccompProfile } from './seccomp.ts';

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: string[];
}

export interface ContainerUser {
  uid: number;
  gid: number;
  groups: number[];
  /** For HOME, where the environment sets none. */
  home: string;
}

export interface OciRequest {
  spec: ContainerSpec;
  image: ImageConfig;
  user: ContainerUser;
  hostname: string;
  rootfs: string;
  /** Absent where it has the host's. */
  userNamespacePath?: string;
  networkNamespacePath?: string;
  /** Absent where it has its own. */
  processNamespacePath?: string;
  ipcNamespacePath?: string;
  idRange: { first: number; length: number };
  /** Absolute, as the cgroupfs manager wants it. */
  cgroupsPath: string;
  /** Whether the kernel counts swap; a limit on it is an error elsewhere. */
  swapAccounting: boolean;
  cgroupVersion: 'v1' | 'v2';
  /** Prepared sources for what the spec mounts. */
  mounts: OciMount[];
  /** Files of the sandbox: /etc/hosts and the like. */
  etc: { hosts: string; resolver: string; hostname: string };
  /** What the engine may do itself: the most that is had in its own user namespace. */
  engineCapabilities: readonly string[];
  devices: GivenDevices;
  /** What this machine has besides that tells of other tenants; masked. */
  hostMaskedPaths: readonly string[];
  /** The engine's own; a container's is never below it, nor below 0. */
  oomScoreAdjustment: number;
  /** The highest number of open files that may be given: this process's own hard limit. */
  openFiles: number;
  arch: NodeJS.Architecture;
  /** This host's init program, where the spec wants one. */
  init?: string;
}

export interface OciProcess {
  terminal: boolean;
  /** Of the terminal, from before the command runs. */
  consoleSize?: { height: number; width: number };
  user: { uid: number; gid: number; umask?: number; additionalGids: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities: Record<'bounding' | 'effective' | 'permitted' | 'inheritable' | 'ambient', string[]>;
  rlimits: { type: string; hard: number; soft: number }[];
  noNewPrivileges: boolean;
  oomScoreAdj: number;
}

export interface OciConfig {
  ociVersion: string;
  process: OciProcess;
  root: { path: string; readonly: boolean };
  /** Absent where it has the host's. */
  hostname?: string;
  annotations?: Record<string, string>;
  mounts: OciMount[];
  linux: Record<string, unknown>;
}

export const defaultPids = 1024;
/** Where Docker has it too. */
const initTarget = '/sbin/docker-init';
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export const maskedPaths = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
export const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export function ociConfig(request: OciRequest): OciConfig {
  const { spec, idRange, devices } = request;
  const capabilities = capabilitiesOf(request);
  const mapping = [{ containerID: 0, hostID: idRange.first, size: idRange.length }];
  const namespaces = namespacesOf(request);
  const ownName = namespaces.some(({ type }) => type === 'uts');
  const seccomp = seccompOf(request, capabilities);
  return {
    ociVersion: '1.0.2',
    process: ociProcess(request, capabilities),
    root: { path: request.rootfs, readonly: spec.readOnlyRoot === true },
    ...(ownName ? { hostname: request.hostname } : {}),
    ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }),
    mounts: ociMounts(request),
    linux: {
      namespaces,
      ...(request.userNamespacePath === undefined ? {} : { uidMappings: mapping, gidMappings: mapping }),
      cgroupsPath: request.cgroupsPath,
      ...(devices.nodes.length === 0 ? {} : { devices: devices.nodes }),
      resources: { ...ociResources(spec.limits ?? {}, request.swapAccounting), ...deviceRules(devices) },
      ...(spec.sysctls === undefined ? {} : { sysctl: spec.sysctls }),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...systemPaths(request),
      // Else the runtime cuts its mounts off from the host's before it binds any.
      ...(request.mounts.some(({ options }) => options.includes('rshared')) && { rootfsPropagation: 'rshared' }),
    },
  };
}

function capabilitiesOf({ spec, userNamespacePath, engineCapabilities }: OciRequest): string[] {
  const wanted = resolveCapabilities(spec.privileged === true ? { add: ['ALL'] } : spec.capabilities);
  return userNamespacePath === undefined ? wanted.filter((name) => engineCapabilities.includes(name)) : wanted;
}

function namespacesOf(request: OciRequest): { type: string; path?: string }[] {
  const { spec, userNamespacePath, networkNamespacePath, cgroupVersion } = request;
  const joined = new Map([
    ['pid', request.processNamespacePath],
    ['ipc', request.ipcNamespacePath],
  ]);
  const shared = new Set<string>(spec.hostNamespaces ?? []);
  // As Docker: with v1 a privileged container sees the whole tree of cgroups.
  if (spec.privileged === true && cgroupVersion === 'v1') shared.add('cgroup');
  const own: (HostNamespace | 'mount')[] = ['pid', 'ipc', 'uts', 'mount', 'cgroup'];
  return [
    ...(userNamespacePath === undefined ? [] : [{ type: 'user', path: userNamespacePath }]),
    // Without a path the runtime makes one, with a loopback.
    ...(spec.network === 'none'
      ? [{ type: 'network' }]
      : networkNamespacePath === undefined
        ? []
        : [{ type: 'network', path: networkNamespacePath }]),
    ...own
      .filter((type) => !shared.has(type))
      .map((type) => ({ type, path: joined.get(type) }))
      .map(({ type, path }) => (path === undefined ? { type } : { type, path })),
  ];
}

function seccompOf({ spec, arch }: OciRequest, capabilities: string[]): SeccompProfile | undefined {
  const { seccomp, privileged, devices } = spec;
  if (privileged === true) return seccomp === 'unconfined' ? undefined : seccomp;
  const standard = seccompProfile(capabilities, arch);
  if (seccomp !== 'unconfined') return withoutLoopControl(seccomp ?? standard);
  const isGivenVolume = devices?.some(({ trusted }) => trusted === true) === true;
  // An error number beside an action that has none is refused by crun.
  const { architectures } = standard;
  const open = { defaultAction: 'SCMP_ACT_ALLOW', architectures, syscalls: [] };
  return isGivenVolume ? withoutLoopControl(open) : undefined;
}

function systemPaths({ spec, hostMaskedPaths, cgroupVersion }: OciRequest): Record<string, string[]> {
  if (spec.privileged === true || spec.systemPaths === 'unconfined') return {};
  return {
    maskedPaths: [...maskedPaths, ...hostMaskedPaths],
    // With v1 the directory that holds the controllers' mounts is a tmpfs that the runtime leaves writable.
    readonlyPaths: cgroupVersion === 'v1' ? [...readonlyPaths, '/sys/fs/cgroup'] : readonlyPaths,
  };
}

/** The command line that a container runs: the rules of `ContainerSpec`. */
export function commandLine(spec: Pick<ContainerSpec, 'command' | 'args'>, image: ImageConfig): string[] {
  const { entrypoint = [], cmd = [] } = image;
  const args =
    spec.command === undefined ? [...entrypoint, ...(spec.args ?? cmd)] : [...spec.command, ...(spec.args ?? [])];
  if (args[0] === undefined || args[0] === '') {
    throw new EngineError(
      'invalid',
      'no command: the image has neither entrypoint nor cmd, and the spec gives no command',
    );
  }
  return args;
}

/** Later assignments replace earlier ones in place. */
export function mergeEnvironment(...lists: (readonly string[] | undefined)[]): string[] {
  const merged = new Map<string, string>();
  for (const entry of lists.flatMap((list) => list ?? [])) {
    const separator = entry.indexOf('=');
    if (separator < 1 || entry.includes('\0')) {
      throw new EngineError('invalid', `env: ${JSON.stringify(entry)} is not of the form NAME=value`);
    }
    merged.set(entry.slice(0, separator), entry);
  }
  return [...merged.values()];
}

function ociProcess(request: OciRequest, capabilities: string[]): OciProcess {
  const { spec, image, user } = request;
  const defaults = [`PATH=${defaultPath}`, `HOSTNAME=${request.hostname}`, `HOME=${user.home}`];
  if (spec.tty === true) defaults.push('TERM=xterm');
  return {
    terminal: spec.tty === true,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.groups },
    args: [...(request.init === undefined ? [] : [initTarget, '--']), ...commandLine(spec, image)],
    env: mergeEnvironment(defaults, image.env, spec.env),
    cwd: spec.workingDirectory ?? (image.workingDirectory || '/'),
    capabilities: processCapabilities(capabilities, user.uid),
    rlimits: resourceLimits(request),
    noNewPrivileges: spec.noNewPrivileges !== false,
    // Not what the engine was given: a service manager protects it, and a container is killed before it.
    oomScoreAdj: spec.oomScoreAdjust ?? Math.max(0, request.oomScoreAdjustment),
  };
}

const limitNames = new Set([
  ...['as', 'core', 'cpu', 'data', 'fsize', 'locks', 'memlock', 'msgqueue', 'nice', 'nofile', 'nproc', 'rss', 'rtprio'],
  ...['rttime', 'sigpending', 'stack'],
]);

/** None above what the engine itself has. */
function resourceLimits({ spec, openFiles }: OciRequest): OciProcess['rlimits'] {
  const limits = new Map([['nofile', { type: 'RLIMIT_NOFILE', hard: openFiles, soft: openFiles }]]);
  for (const { name, soft, hard } of spec.resourceLimits ?? []) {
    if (!limitNames.has(name))
      throw new EngineError(
        'invalid',
        `resourceLimits: ${JSON.stringify(name)} is no limit; known are ${[...limitNames].join(', ')}`,
      );
    if (!Number.isSafeInteger(soft) || !Number.isSafeInteger(hard) || soft < 0 || hard < soft)
      throw new EngineError(
        'invalid',
        `resourceLimits.${name}: ${soft}:${hard} are not two whole numbers, the first at most the second`,
      );
    if (name === 'nofile' && hard > openFiles)
      throw new EngineError('invalid', `resourceLimits.nofile: ${hard} is more than the engine's own ${openFiles}`);
    limits.set(name, { type: `RLIMIT_${name.toUpperCase()}`, hard, soft });
  }
  return [...limits.values()];
}

/** Root has the whole set; anybody else only the bound on what a file may give. */
export function processCapabilities(capabilities: readonly string[], uid: number): OciProcess['capabilities'] {
  const bounding = capabilities.map((name) => `CAP_${name}`);
  const own = uid === 0 ? bounding : [];
  return { bounding, effective: own, permitted: own, inheritable: [], ambient: [] };
}

function ociMounts(request: OciRequest): OciMount[] {
  const etc = (source: string, destination: string): OciMount => ({
    destination,
    type: 'bind',
    source,
    options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec'],
  });
  const access = request.spec.privileged === true ? 'rw' : 'ro';
  const own = [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    {
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${request.spec.sharedMemoryBytes ?? 65_536 * 1024}`],
    },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', access],
    },
    etc(request.etc.hosts, '/etc/hosts'),
    etc(request.etc.resolver, '/etc/resolv.conf'),
    etc(request.etc.hostname, '/etc/hostname'),
  ];
  if (request.init !== undefined)
    own.push({
      destination: initTarget,
      type: 'bind',
      source: request.init,
      options: ['bind', 'ro', 'nosuid', 'nodev'],
    });
  // A new mqueue shows the namespace's own; shared memory is a directory of the host's.
  const shared = request.spec.hostNamespaces?.includes('ipc') === true ? [hostDirectory('/dev/shm')] : [];
  const given = [...shared, ...request.devices.mounts, ...request.mounts];
  // A mount of the spec replaces ours at the same place; parents come before what lies in them.
  const replaced = new Set(given.map(({ destination }) => destination));
  const wanted = given.sort((a, b) => depth(a.destination) - depth(b.destination));
  return [...own.filter(({ destination }) => !replaced.has(destination)), ...wanted];
}

function hostDirectory(path: string): OciMount {
  return { destination: path, type: 'bind', source: path, options: ['rbind', 'rprivate', 'nosuid', 'noexec', 'nodev'] };
}

function depth(path: string): number {
  return path.split('/').filter((part) => part !== '').length;
}

/** What is given, after what denies all. */
function deviceRules({ rules }: GivenDevices): { devices: GivenDevices['rules'] } {
  return { devices: [{ allow: false, access: 'rwm' }, ...rules] };
}

/** For a start; of a running container the same is written by `limits.ts`. */
export function ociResources(limits: Limits, swapAccounting: boolean): Record<string, unknown> {
  const { memoryBytes, memoryReservationBytes, cpuMillis, cpuShares, cpuset, memoryNodes, blockWeight } = limits;
  const { pids = defaultPids, memorySwapBytes = memoryBytes } = limits;
  const resources: Record<string, unknown> = {
    devices: [{ allow: false, access: 'rwm' }],
    pids: { limit: pids },
  };
  if (memoryBytes !== undefined || memoryReservationBytes !== undefined) {
    resources['memory'] = {
      ...(memoryBytes === undefined ? {} : { limit: memoryBytes }),
      ...(memoryBytes === undefined || !swapAccounting ? {} : { swap: memorySwapBytes }),
      ...(memoryReservationBytes === undefined ? {} : { reservation: memoryReservationBytes }),
    };
  }
  const cpu = {
    ...(cpuMillis === undefined ? {} : { period: cpuPeriod, quota: cpuQuota(cpuMillis) }),
    ...(cpuShares === undefined ? {} : { shares: cpuShares }),
    ...(cpuset === undefined ? {} : { cpus: cpuset }),
    ...(memoryNodes === undefined ? {} : { mems: memoryNodes }),
  };
  if (Object.keys(cpu).length > 0) resources['cpu'] = cpu;
  if (blockWeight !== undefined) resources['blockIO'] = { weight: blockWeight };
  return resources;
}
