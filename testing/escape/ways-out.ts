/** The known ways out of a container, why each fails, and the test that tries it. `docs/reference/security.md` is made of this. */

export interface WayOut {
  attack: string;
  why: string;
  /** Where it is tried: a file and, unless it is `inside`, the name of the test there. */
  test: string;
  /** Tried by `attacker.fixture.ts`, by default and with each commonly added capability. */
  inside?: true;
}

const inside = (attack: string, why: string): WayOut => ({
  attack,
  why,
  test: 'engine/docker-api/escapes.test.ts',
  inside: true,
});

const hostFile = 'engine/docker-api/hostile.test.ts';

export const WAYS_OUT: readonly WayOut[] = [
  inside(
    'unshare a user namespace',
    'the filter stops `unshare` and `clone` with any namespace flag; open with SYS_ADMIN, over what is the container’s own',
  ),
  inside('unshare a mount namespace', 'the same'),
  inside('hide clone flags from the filter in clone3', '`clone3` does not exist (ENOSYS): libc falls back to `clone`'),
  inside('load a kernel module', 'the filter; with SYS_MODULE the kernel asks for it on the host'),
  inside('replace the kernel', 'the filter; no capability opens it'),
  inside('reboot the machine', 'the filter; with SYS_BOOT it ends the container’s own process namespace'),
  inside('set the clock', 'the filter; with SYS_TIME the kernel asks for it on the host'),
  inside('read and clear the kernel log', 'the filter; with SYSLOG the kernel asks for it on the host'),
  inside('use keyrings of the host', 'the filter; no capability opens it'),
  inside('load a program into the kernel', 'the filter; with BPF the kernel asks for it on the host'),
  inside('watch the whole processor', 'the filter; with PERFMON the kernel asks for it on the host'),
  inside('queue work around the filter with io_uring', 'the filter; no capability opens it'),
  inside('stop the kernel in a page fault', 'the filter; no capability opens it'),
  inside('talk to the hypervisor or the kernel’s crypto', 'the filter stops AF_VSOCK and AF_ALG sockets'),
  inside('open files of the host by handle', 'the filter; with DAC_READ_SEARCH the kernel asks for it on the host'),
  inside('swap and account on files of one’s own', 'the filter; the kernel asks for the capability on the host'),
  inside('make device nodes', 'nobody makes devices in a user namespace'),
  inside(
    'open a device node of an image',
    'the root file system is mounted `nodev`, and the devices cgroup denies all but the harmless',
  ),
  inside('trace processes that are not one’s own', 'a process namespace of its own: there are none'),
  inside(
    'write kernel settings below /proc/sys',
    'read-only; without that (SYS_ADMIN) they belong to root of the host, who is nobody inside',
  ),
  inside('write kernel settings in a new /proc', 'the same'),
  inside('press the system request key', 'the same'),
  inside('read the memory of the kernel', 'masked; without the mask the kernel asks for SYS_RAWIO on the host'),
  inside('take the kernel’s addresses', 'the kernel shows zeros to whoever lacks SYSLOG on the host'),
  inside('write below /sys: uevent_helper, power, parameters of modules', 'read-only, and owned by root of the host'),
  inside('be killed after everybody else', 'lowering `oom_score_adj` asks for SYS_RESOURCE on the host'),
  inside(
    'have a release agent run on the host',
    'read-only; the cgroup namespace has no root of a hierarchy, and the option asks for SYS_ADMIN on the host',
  ),
  inside('lift one’s own limits in the cgroup', 'read-only, and owned by root of the host'),
  inside(
    'mount a disk of the host',
    'there is no node of it, and disk file systems cannot be mounted in a user namespace',
  ),
  inside(
    'make a read-only mount of the host writable',
    'it is read-only before it comes into the user namespace, which locks that',
  ),
  inside('write through a nested overlay', 'what is written goes to the upper directory'),
  inside('write to files that the engine shares', 'owned by root of the host, and read-only'),
  inside('leave by a descriptor that was left open', 'none leads out'),
  inside('see processes of others', 'a process namespace of its own'),
  inside('read files of the host through /proc', 'the same'),
  inside('leave by chroot', 'the old root was detached by `pivot_root`'),
  inside(
    'reach services on this host’s loopback',
    'a network namespace of its own; packets to 127.0.0.0/8 are dropped where they arrive',
  ),
  inside('reach sockets of the engine', 'neither their files nor their network namespace are there'),
  inside(
    'send in the name of another pod',
    'packets are dropped whose sender is not routed to the link that they came by',
  ),
  {
    attack: 'overwrite the runtime while it executes (CVE-2019-5736)',
    why: 'it runs from a sealed copy, and its file belongs to root of the host',
    test: `${hostFile}: the runtime is not overwritten while it executes`,
  },
  {
    attack: 'start in a descriptor of the runtime (CVE-2024-21626)',
    why: 'the runtime closes what it opened and checks where it is',
    test: `${hostFile}: a working directory leads to no descriptor of the runtime`,
  },
  {
    attack: 'mount over a link in the image (CVE-2021-30465)',
    why: 'targets are resolved inside the root file system, by descriptor',
    test: `${hostFile}: a link where a mount goes stays inside`,
  },
  {
    attack: 'swap a directory for a link while another container mounts',
    why: 'the same',
    test: `${hostFile}: a link that appears while a mount is made stays inside`,
  },
  {
    attack: 'a working directory that is a link',
    why: 'it is made and entered inside',
    test: `${hostFile}: a working directory that is a link is made inside`,
  },
  {
    attack: 'layers with paths, links, whiteouts and devices that lead out',
    why: 'names are made harmless before tar sees them',
    test: 'engine/images/unpack.test.ts: hostile layer: ${what}',
  },
  {
    attack: 'users and groups of a hostile image',
    why: 'read without following links out of the root file system; ids end at the range',
    test: 'engine/containers/users.test.ts: files of an image are read without leaving it',
  },
  {
    attack: 'mount the engine’s socket or the host’s root',
    why: 'bind mounts lie below allowed directories only',
    test: 'engine/docker-api/risks.test.ts: refuses, and says which flag takes the risk',
  },
  {
    attack: 'lead out of an allowed directory by a link',
    why: 'the path without links is what counts',
    test: 'engine/docker-api/run.test.ts: what lies below an allowed directory is mounted, and no link leads out of it',
  },
  {
    attack: 'type into the terminal of whoever looks (TIOCSTI)',
    why: 'the terminal is one of the container’s own; bytes are carried, not the device',
    test: `${hostFile}: a terminal is the container’s own`,
  },
  {
    attack: 'fork without end',
    why: 'a limit on processes, 1,024 by default',
    test: `${hostFile}: bombs end at the limits`,
  },
  {
    attack: 'take all memory',
    why: 'the limit that was asked for; the container is killed, not its neighbours',
    test: `${hostFile}: bombs end at the limits`,
  },
  {
    attack: 'fill the disk, with bytes or with inodes',
    why: 'a writable layer of a fixed size, where one was asked for',
    test: `${hostFile}: a limited disk ends, in bytes and in inodes`,
  },
  {
    attack: 'fill the disk with output',
    why: 'logs are rotated by size',
    test: `${hostFile}: output without end keeps to the log’s size`,
  },
  {
    attack: 'fill the disk with output while the engine is away',
    why: 'the kernel ends the file that is written at a bound',
    test: 'engine/containers/log-overrun.test.ts: while the engine is frozen, killed or away the kernel bounds the log, and what is missing is told',
  },
  {
    attack: 'free the loop device of a volume, so that its number is another file',
    why: 'ioctl requests of loop devices are refused beside every seccomp profile',
    test: `engine/containers/disk-volumes.test.ts: a device without a file system: kept, grown, given to one container at its path, and never another file's`,
  },
  {
    attack: 'shut the null device of the host, given away by an old crun',
    why: 'it is taken back before the container runs, and no exec has it',
    test: "engine/sys/take-back.test.ts: what a container's root was given, and shut to others, is everybody's again",
  },
  {
    attack: 'huge environments and arguments',
    why: 'bodies have a largest size; what the kernel refuses is told',
    test: `${hostFile}: huge environments and arguments are refused by name`,
  },
];
