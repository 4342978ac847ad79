/** Ways out by system calls. */
import { mkdirSync, openSync, readdirSync } from 'node:fs';
import { type Attack, call, failure } from './attack.ts';

const CLONE_NEWUSER = 0x10000000;
const CLONE_NEWNS = 0x00020000;
const CLONE_FS = 0x00000200;
const SIGCHLD = 17;

const won = (...attempts: [what: string, attempt: () => unknown][]): string | undefined => {
  const through = attempts.filter(([, attempt]) => failure(attempt) === undefined).map(([what]) => what);
  return through.length === 0 ? undefined : through.join(', ');
};

/** Where permission is looked at before the arguments, another error than these means that it was there. */
const permitted = (what: string, attempt: () => unknown): string | undefined => {
  const code = failure(attempt);
  return code === 'EPERM' || code === 'EACCES' || code === 'ENOSYS' ? undefined : `${what}: ${code ?? 'done'}`;
};

export const kernelAttacks: Record<string, Attack> = {
  'unshare a user namespace': () =>
    won(['unshare', () => call('unshare', CLONE_NEWUSER)]) ?? permitted('clone', () => impossibleClone(CLONE_NEWUSER)),
  'unshare a mount namespace': () =>
    won(['unshare', () => call('unshare', CLONE_NEWNS)]) ?? permitted('clone', () => impossibleClone(CLONE_NEWNS)),
  'hide clone flags from the filter in clone3': () =>
    permitted('clone3', () => call('clone3', cloneArguments(BigInt(CLONE_NEWUSER | CLONE_FS)), 64)),
  'load a kernel module': () =>
    permitted('init_module', () => call('init_module', Buffer.alloc(64), 64, '')) ??
    permitted('delete_module', () => call('delete_module', 'no_such_module', 0)),
  'replace the kernel': () => permitted('kexec_load', () => call('kexec_load', 0, 0, null, 0)),
  'reboot the machine': () => won(['reboot', () => call('reboot', 0xfee1dead, 672274793, 0, null)]),
  'set the clock': () => {
    const now = BigInt(Date.now());
    const time = Buffer.alloc(16);
    time.writeBigInt64LE(now / 1000n, 0);
    return won(['clock_settime', () => call('clock_settime', 0, time)]);
  },
  'read and clear the kernel log': () => permitted('syslog', () => call('syslog', 8, null, 0)),
  'use keyrings of the host': () =>
    won(
      ['keyctl', () => call('keyctl', 0, -3, 0, 0, 0)],
      ['add_key', () => call('add_key', 'user', 'x', 'x', 1, -3)],
      ['request_key', () => call('request_key', 'user', 'x', null, -3)],
    ),
  'load a program into the kernel': () => {
    // BPF_PROG_GET_NEXT_ID sees the whole host's.
    const attributes = Buffer.alloc(128);
    return permitted('bpf', () => call('bpf', 11, attributes, 128));
  },
  'watch the whole processor': () => {
    const attributes = Buffer.alloc(128);
    attributes.writeUInt32LE(1, 0);
    attributes.writeUInt32LE(128, 4);
    return won(['perf_event_open', () => call('perf_event_open', attributes, -1, 0, -1, 0)]);
  },
  'queue work around the filter with io_uring': () =>
    won(['io_uring_setup', () => call('io_uring_setup', 1, Buffer.alloc(120))]),
  'stop the kernel in a page fault': () => won(['userfaultfd', () => call('userfaultfd', 0)]),
  'talk to the hypervisor or the kernel’s crypto': () =>
    won(['AF_VSOCK', () => call('socket', 40, 1, 0)], ['AF_ALG', () => call('socket', 38, 5, 0)]),
  'open files of the host by handle': () => {
    // Inode 2, the root of the file system that a bind mount comes from; then inodes as they come.
    const mount = openSync('/attack', 'r');
    const handle = Buffer.alloc(16);
    handle.writeUInt32LE(8, 0);
    handle.writeInt32LE(1, 4);
    handle.writeUInt32LE(2, 8);
    return won(['open_by_handle_at', () => call('open_by_handle_at', mount, handle, 0)]);
  },
  'swap and account on files of one’s own': () =>
    permitted('swapon', () => call('swapon', '/etc/passwd', 0)) ?? permitted('acct', () => call('acct', '/etc/passwd')),
  'make device nodes': () => {
    mkdirSync('/tmp/devices', { recursive: true });
    const nodes: [string, number, number, number][] = [
      ['kmsg', 0o020666, 1, 11],
      ['mem', 0o020666, 1, 1],
      ['disk', 0o060666, 254, 0],
      ['disk2', 0o060666, 8, 0],
      ['loop', 0o020666, 10, 237],
    ];
    const made = nodes.map(([name, mode, major, minor]): [string, () => unknown] => [
      `${name} made and opened`,
      () => {
        call('mknodat', -100, `/tmp/devices/${name}`, mode, (major << 8) | minor);
        openSync(`/tmp/devices/${name}`, 'r');
      },
    ]);
    return won(...made);
  },
  'open a device node of an image': () => {
    const names = readdirSync('/image-devices');
    if (names.length < 3) throw new Error('the image brought no devices');
    return won(...names.map((name): [string, () => unknown] => [name, () => openSync(`/image-devices/${name}`, 'r')]));
  },
  'trace processes that are not one’s own': () => {
    const own = Number(process.pid);
    const others = [...Array(50).keys()].map((index) => index + own + 20).concat([2, 3, 5, 8, 13, 100, 1000, 5000]);
    return won(
      ...others.map((pid): [string, () => unknown] => [`ptrace ${pid}`, () => call('ptrace', 16, pid, null, null)]),
    );
  },
};

/** Sharing what a new namespace cannot share is refused by the kernel (EINVAL), after the filter: no process comes to be. */
function impossibleClone(flag: number): number {
  return call('clone', flag | CLONE_FS | SIGCHLD, 0, 0, 0, 0);
}

function cloneArguments(flags: bigint): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.writeBigUInt64LE(flags, 0);
  bytes.writeBigUInt64LE(BigInt(SIGCHLD), 32);
  return bytes;
}
