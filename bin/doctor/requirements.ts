/** What Sampan needs of a machine: each requirement judges the facts, and says what was found and what to do. Pure. */
import type { HostErrorCode } from '../host-error.ts';
import { type HostFacts, requiredCommands } from './facts.ts';

export interface Finding {
  name: string;
  /** `missing` can be installed by `doctor --fix`. */
  level: 'ok' | 'warning' | 'missing' | 'error';
  code: HostErrorCode;
  found: string;
  remedy: string;
}

type Requirement = (facts: HostFacts) => Finding;

const gib = 1024 ** 3;

function finding(
  name: string,
  code: HostErrorCode,
  ok: boolean,
  found: string,
  remedy: string,
  level: Finding['level'] = 'error',
): Finding {
  return { name, code, level: ok ? 'ok' : level, found, remedy: ok ? '' : remedy };
}

const requirements: Requirement[] = [
  ({ os, architecture }) =>
    finding(
      'system',
      'wrong-system',
      os === 'linux' && (architecture === 'x64' || architecture === 'arm64'),
      `${os} on ${architecture}`,
      'Use a Linux machine with an x86_64 or arm64 processor.',
    ),
  ({ distribution }) =>
    finding(
      'distribution',
      'wrong-system',
      [distribution.id, ...distribution.like.split(' ')].some((id) => id === 'debian' || id === 'ubuntu'),
      distribution.name,
      'Use Debian 12 or 13, or Ubuntu 24.04: packages and the base stack come from there.',
    ),
  ({ uid }) =>
    finding(
      'root',
      'not-root',
      uid === 0,
      uid === 0 ? 'root' : `user ${uid}`,
      'Run the command as root, for example with sudo: it makes containers, networks and mounts.',
    ),
  ({ kernel }) =>
    finding(
      'kernel',
      'kernel-feature',
      atLeast(kernel, 6, 1),
      kernel,
      'Boot Linux 6.1 or later: id-mapped layers need it.',
    ),
  ({ uid, canMount }) =>
    finding(
      'privileges',
      'kernel-feature',
      uid !== 0 || canMount,
      canMount ? 'may mount' : 'may not mount',
      'This looks like an unprivileged container. Use a machine or a virtual machine, or a container started with all privileges.',
    ),
  ({ cgroups }) =>
    finding(
      'cgroups',
      'kernel-feature',
      cgroups !== 'none',
      cgroups === 'none' ? 'not mounted' : cgroups === 'v1' ? 'v1 (hybrid)' : cgroups,
      'Mount cgroup v2: mount -t cgroup2 none /sys/fs/cgroup.',
    ),
  ({ cgroups, controllers }) => {
    const missing = ['cpu', 'memory', 'pids'].filter((name) => !controllers.includes(name));
    return finding(
      'cgroup controllers',
      'kernel-feature',
      cgroups === 'none' || missing.length === 0,
      controllers.join(' ') || 'none',
      `Enable ${missing.join(', ')}: boot with cgroup_enable=memory where the kernel leaves it out.`,
    );
  },
  ({ fileSystems }) =>
    finding(
      'overlayfs',
      'kernel-feature',
      fileSystems.includes('overlay'),
      fileSystems.includes('overlay') ? 'there' : 'not in /proc/filesystems',
      'Load it: modprobe overlay.',
    ),
  ({ fileSystems }) =>
    finding(
      'ext4',
      'kernel-feature',
      fileSystems.includes('ext4'),
      fileSystems.includes('ext4') ? 'there' : 'not in /proc/filesystems',
      'Load it: modprobe ext4. Disk limits of apps are ext4 images.',
    ),
  ({ userNamespaces }) =>
    finding(
      'user namespaces',
      'kernel-feature',
      userNamespaces > 0,
      `at most ${userNamespaces}`,
      'Allow them: sysctl -w user.max_user_namespaces=15000.',
    ),
  ({ loopControl }) =>
    finding(
      'loop devices',
      'kernel-feature',
      loopControl,
      loopControl ? '/dev/loop-control' : 'no /dev/loop-control',
      'Load them: modprobe loop.',
    ),
  ({ commands }) => {
    const missing = Object.keys(requiredCommands).filter((command) => !commands[command]);
    const packages = [...new Set(missing.map((command) => requiredCommands[command] ?? command))];
    return finding(
      'packages',
      'package-missing',
      missing.length === 0,
      missing.length === 0 ? Object.values(requiredCommands).join(' ') : `missing: ${missing.join(', ')}`,
      `Install them: sampan doctor --fix, or apt-get install --no-install-recommends ${packages.join(' ')}.`,
      'missing',
    );
  },
  ({ caBundle }) =>
    finding(
      'CA bundle',
      'package-missing',
      caBundle,
      caBundle ? '/etc/ssl/certs/ca-certificates.crt' : 'none',
      'Install it: sampan doctor --fix, or apt-get install ca-certificates.',
      'missing',
    ),
  ({ data }) =>
    finding(
      'data directory',
      'io',
      data.writable,
      data.writable ? data.directory : `${data.directory} cannot be written`,
      `Make ${data.directory} writable, or choose another with --data.`,
    ),
  ({ data }) =>
    finding(
      'disk',
      'disk-full',
      data.freeBytes >= 3 * gib,
      `${(data.freeBytes / gib).toFixed(1)} GiB free for ${data.directory}`,
      'Free at least 3 GiB there, or choose another place with --data: the base stack, images and app disks live in it.',
    ),
  ({ memoryBytes }) =>
    finding(
      'memory',
      'kernel-feature',
      memoryBytes >= 1.7 * gib,
      `${(memoryBytes / gib).toFixed(1)} GiB`,
      'Use a machine with 2 GiB or more: builds have 2 GiB each.',
      'warning',
    ),
  ({ takenPorts }) => {
    const [first] = takenPorts;
    return finding(
      'ports',
      'port-taken',
      !first,
      first ? takenPorts.map((port) => `${port.port} (--${port.flag}) is taken`).join(', ') : 'free',
      `Stop the program that listens there (ss -ltnp shows it), or choose another port: --${first?.flag} 0 picks a free one.`,
    );
  },
  ({ openFiles }) =>
    finding(
      'open files',
      'kernel-feature',
      openFiles >= 8192,
      `at most ${openFiles}`,
      'Raise the limit: ulimit -n 65536 before the command, or LimitNOFILE in the unit.',
      'warning',
    ),
  ({ unresolved }) =>
    finding(
      'name resolution',
      'not-ready',
      unresolved.length === 0,
      unresolved.length === 0
        ? 'api, uaa, login, log-cache and ssh resolve'
        : `no address for ${unresolved.join(', ')}`,
      `Only cf and browsers need it, sampan does not. Add to /etc/hosts: 127.0.0.1 ${unresolved.join(' ')}`,
      'warning',
    ),
];

export function judge(facts: HostFacts): Finding[] {
  return requirements.map((requirement) => requirement(facts));
}

function atLeast(kernel: string, major: number, minor: number): boolean {
  const [found = 0, foundMinor = 0] = kernel.split('.').map((part) => Number.parseInt(part, 10));
  return found > major || (found === major && foundMinor >= minor);
}
