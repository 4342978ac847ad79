/** What this machine is, read once: everything that the requirements judge, and nothing that changes anything. */
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { delimiter, dirname, join } from 'node:path';
import { totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { portIsFree } from '#lib/ports.ts';

export interface HostFacts {
  os: string;
  architecture: string;
  /** PRETTY_NAME of os-release(5), and its id. */
  distribution: { id: string; like: string; name: string };
  kernel: string;
  uid: number;
  /** May it mount? An unprivileged container may not, though it is root in there. */
  canMount: boolean;
  cgroups: 'v2' | 'v1' | 'none';
  /** cgroup v1 controllers, or v2's. */
  controllers: string[];
  /** That the kernel has, or would load as a module when one is mounted. */
  fileSystems: string[];
  userNamespaces: number;
  loopControl: boolean;
  /** Commands that are on the PATH. */
  commands: Record<string, boolean>;
  memoryBytes: number;
  data: { directory: string; freeBytes: number; writable: boolean };
  openFiles: number;
  /** Ports that were asked for by flag and are taken by another program. */
  takenPorts: { flag: string; port: number }[];
  caBundle: boolean;
  /** Names of ours that do not resolve here. */
  unresolved: string[];
  systemd: boolean;
}

const caBundle = '/etc/ssl/certs/ca-certificates.crt';

export const requiredCommands: Record<string, string> = {
  runc: 'runc',
  conmon: 'conmon',
  nft: 'nftables',
  ip: 'iproute2',
  conntrack: 'conntrack',
  haproxy: 'haproxy',
  'nats-server': 'nats-server',
  mmdebstrap: 'mmdebstrap',
  'mkfs.ext4': 'e2fsprogs',
  tar: 'tar',
};

export async function readFacts(options: {
  dataDirectory: string;
  ports: { flag: string; port: number }[];
  /** Names to look up: a resolver that does not answer takes seconds, so nobody but `doctor` asks. */
  names: string[];
}): Promise<HostFacts> {
  const release = osRelease();
  const taken = await Promise.all(options.ports.map(async (port) => ((await portIsFree(port.port)) ? [] : [port])));
  const resolved = await Promise.all(options.names.map(resolves));
  return {
    os: process.platform,
    architecture: process.arch,
    distribution: { id: release.ID ?? 'unknown', like: release.ID_LIKE ?? '', name: release.PRETTY_NAME ?? 'unknown' },
    kernel: read('/proc/sys/kernel/osrelease'),
    uid: process.getuid?.() ?? -1,
    canMount: (BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(read('/proc/self/status'))?.[1] ?? '0'}`) & (1n << 21n)) !== 0n,
    cgroups: existsSync('/sys/fs/cgroup/cgroup.controllers')
      ? 'v2'
      : existsSync('/sys/fs/cgroup/memory')
        ? 'v1'
        : 'none',
    controllers: existsSync('/sys/fs/cgroup/cgroup.controllers')
      ? read('/sys/fs/cgroup/cgroup.controllers').split(' ')
      : ['cpu', 'memory', 'pids', 'devices', 'freezer'].filter((name) => existsSync(`/sys/fs/cgroup/${name}`)),
    fileSystems: [
      ...read('/proc/filesystems')
        .split('\n')
        .map((line) => line.split('\t').at(-1) ?? ''),
      ...kernelModules(),
    ],
    userNamespaces: Number(read('/proc/sys/user/max_user_namespaces')),
    loopControl: existsSync('/dev/loop-control'),
    commands: Object.fromEntries(Object.keys(requiredCommands).map((command) => [command, onPath(command)])),
    memoryBytes: totalmem(),
    data: dataFacts(options.dataDirectory),
    openFiles: Number(/^Max open files\s+(\d+)/m.exec(read('/proc/self/limits'))?.[1] ?? 0),
    takenPorts: taken.flat(),
    caBundle: existsSync(caBundle),
    unresolved: options.names.filter((_, at) => !resolved[at]),
    systemd: existsSync('/run/systemd/system'),
  };
}

/** What `doctor --fix` would install. */
export function missingPackages(): string[] {
  const packages = Object.entries(requiredCommands).flatMap(([command, name]) => (onPath(command) ? [] : [name]));
  if (!existsSync(caBundle)) packages.push('ca-certificates');
  return [...new Set(packages)];
}

async function resolves(name: string): Promise<boolean> {
  const answer = lookup(name).then(
    () => true,
    () => false, // it has no address: that is the finding
  );
  return await Promise.race([answer, delay(3000, false, { ref: false })]);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return ''; // absent on this kernel, or not for us: the requirement that needs it says so
  }
}

function kernelModules(): string[] {
  const list = read(`/lib/modules/${read('/proc/sys/kernel/osrelease')}/modules.dep`);
  return [...list.matchAll(/\/([\w-]+)\.ko(?:\.\w+)?:/g)].map((match) => match[1] ?? '');
}

function osRelease(): Record<string, string> {
  return Object.fromEntries(
    read('/etc/os-release')
      .split('\n')
      .map((line) => line.split('=', 2) as [string, string])
      .map(([key, value]) => [key, (value ?? '').replaceAll('"', '')]),
  );
}

function onPath(command: string): boolean {
  return [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((directory) =>
    existsSync(join(directory, command)),
  );
}

function dataFacts(directory: string): HostFacts['data'] {
  let existing = directory;
  while (!existsSync(existing)) existing = dirname(existing);
  const { bavail, bsize } = statfsSync(existing);
  let writable = true;
  try {
    accessSync(existing, constants.W_OK);
  } catch {
    writable = false;
  }
  return { directory, freeBytes: bavail * bsize, writable };
}
