/**
 * System calls that Node has no function for. This is the only file that uses `node:ffi`, which is experimental: Node must
 * run with `--experimental-ffi`, and its version is pinned.
 *
 * Calls are synchronous and run on the calling thread, so nothing here may wait: only calls that the kernel answers at once.
 */
import { getSystemErrorName } from 'node:util';
import { constants } from 'node:os';

/** A system call that failed. `code` is the errno's name (`EPERM`), `syscall` what was called. */
export class SystemError extends Error {
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;
  constructor(syscall: string, errno: number, detail: string) {
    const code = errnoName(errno);
    super(`${syscall} failed with ${code}${detail === '' ? '' : `: ${detail}`}`);
    this.name = 'SystemError';
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

function errnoName(errno: number): string {
  // What libuv has no name for it calls an unknown error, and the kernel has more.
  const known = Object.entries(constants.errno).find(([, value]) => value === errno);
  return known === undefined ? getSystemErrorName(-errno) : known[0];
}

/** Numbers by architecture; from 424 on they are the same everywhere (kernel, `syscall.tbl`). */
const numbers = {
  x64: {
    mount: 165,
    umount2: 166,
    ioctl: 16,
    fcntl: 72,
    setns: 308,
    socket: 41,
    bind: 49,
    connect: 42,
    sendto: 44,
    recvfrom: 45,
    lseek: 8,
    unshare: 272,
    close: 3,
    wait4: 61,
    pipe2: 293,
    prlimit64: 302,
    prctl: 157,
    setfsuid: 122,
    setfsgid: 123,
    mknodat: 259,
    fallocate: 285,
    setdomainname: 171,
    openat2: 437,
    getxattr: 191,
    listxattr: 194,
  },
  arm64: {
    mount: 40,
    umount2: 39,
    ioctl: 29,
    fcntl: 25,
    setns: 268,
    socket: 198,
    bind: 200,
    connect: 203,
    sendto: 206,
    recvfrom: 207,
    lseek: 62,
    unshare: 97,
    close: 57,
    wait4: 260,
    pipe2: 59,
    prlimit64: 261,
    prctl: 167,
    setfsuid: 151,
    setfsgid: 152,
    mknodat: 33,
    fallocate: 47,
    setdomainname: 162,
    openat2: 437,
    getxattr: 8,
    listxattr: 11,
  },
} as const;

const common = {
  pidfd_send_signal: 424,
  open_tree: 428,
  move_mount: 429,
  pidfd_open: 434,
  pidfd_getfd: 438,
  mount_setattr: 442,
} as const;

export type SyscallName = keyof typeof numbers.x64 | keyof typeof common;
export type SyscallArgument = number | bigint | string | Uint8Array | null;

/** Functions of the C library that answer 0 or an errno, with how many arguments they take. */
const libraryFunctions = {
  posix_spawn: 6,
  posix_spawn_file_actions_init: 1,
  posix_spawn_file_actions_adddup2: 3,
  posix_spawn_file_actions_addopen: 5,
  posix_spawn_file_actions_addchdir_np: 2,
  posix_spawn_file_actions_destroy: 1,
  posix_spawnattr_init: 1,
  posix_spawnattr_setflags: 2,
  posix_spawnattr_setsigdefault: 2,
  posix_spawnattr_setsigmask: 2,
  posix_spawnattr_destroy: 1,
} as const;

export type LibraryFunction = keyof typeof libraryFunctions;

interface Native {
  call(number: bigint, values: readonly bigint[]): bigint;
  library(name: LibraryFunction, values: readonly bigint[]): number;
  errno(): number;
  address(bytes: Uint8Array): bigint;
  /** glibc's clone(2): a process that runs sleep(3) on that stack. */
  cloneSleeping(stackTop: bigint, flags: number, seconds: bigint): number;
  /** glibc's malloc_trim(3). */
  trim(kept: bigint): number;
}

let native: Native | undefined;
/** The buffers of the last call: held so that no address is that of a collected buffer. */
const held: Uint8Array[] = [];

function load(): Native {
  const ffi = process.getBuiltinModule('node:ffi');
  if (ffi === undefined) {
    throw new Error('the engine needs system calls: run node with --experimental-ffi');
  }
  const { functions } = ffi.dlopen('libc.so.6', {
    syscall: { arguments: ['i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], return: 'i64' },
    __errno_location: { arguments: [], return: 'pointer' },
    clone: { arguments: ['pointer', 'pointer', 'i32', 'i64'], return: 'i32' },
    sleep: { arguments: ['u32'], return: 'u32' },
    malloc_trim: { arguments: ['u64'], return: 'i32' },
  });
  const { functions: library } = ffi.dlopen('libc.so.6', signatures());
  return {
    library: (name, values) => library[name](...values),
    call: (number, [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n]) => functions.syscall(number, a, b, c, d, e, f),
    errno: () => ffi.getInt32(functions.__errno_location()),
    address: (bytes) => ffi.getRawPointer(bytes),
    cloneSleeping: (stackTop, flags, seconds) => functions.clone(functions.sleep.pointer, stackTop, flags, seconds),
    trim: (kept) => functions.malloc_trim(kept),
  };
}

function signatures(): Record<LibraryFunction, { arguments: 'i64'[]; return: 'i32' }> {
  const each = Object.entries(libraryFunctions).map(([name, count]) => [
    name,
    { arguments: Array<'i64'>(count).fill('i64'), return: 'i32' as const },
  ]);
  return Object.fromEntries(each) as ReturnType<typeof signatures>;
}

/** The system call's number on this architecture. */
function syscallNumber(name: SyscallName): number {
  if (name in common) return common[name as keyof typeof common];
  const table = process.arch === 'arm64' ? numbers.arm64 : process.arch === 'x64' ? numbers.x64 : undefined;
  if (table === undefined) throw new Error(`no system call numbers for ${process.arch}: x64 and arm64 are supported`);
  return table[name as keyof typeof numbers.x64];
}

/**
 * Makes one system call. Strings are passed as NUL-terminated UTF-8, byte arrays by address (the kernel may write to them).
 * @returns the result; throws a `SystemError` where it is negative.
 */
export function syscall(name: SyscallName, ...args: SyscallArgument[]): number {
  native ??= load();
  const result = native.call(BigInt(syscallNumber(name)), pass(native, name, args));
  if (result < 0n) throw new SystemError(name, native.errno(), detailOf(args));
  return Number(result);
}

/** As `syscall`, of a function in the C library. */
export function libraryCall(name: LibraryFunction, ...args: SyscallArgument[]): void {
  native ??= load();
  const errno = native.library(name, pass(native, name, args));
  if (errno !== 0) throw new SystemError(name, errno, detailOf(args));
}

/** Where bytes lie; only for as long as somebody holds them. */
export function addressOf(bytes: Uint8Array): bigint {
  native ??= load();
  return native.address(bytes);
}

/** Gives pages of this process's memory that were freed, and that the C library keeps for what comes, back to the kernel. */
export function releaseFreedPages(): void {
  native ??= load();
  native.trim(0n);
}

function pass(api: Native, name: string, args: readonly SyscallArgument[]): bigint[] {
  held.length = 0;
  return args.map((argument) => {
    if (argument === null) return 0n;
    if (typeof argument === 'bigint') return argument;
    if (typeof argument === 'number') return BigInt(argument);
    const bytes = typeof argument === 'string' ? cString(argument, name) : argument;
    held.push(bytes);
    return api.address(bytes);
  });
}

/** @param what  is called with it */
export function cString(text: string, what: string): Buffer {
  if (text.includes('\0')) throw new SystemError(what, constants.errno.EINVAL, 'a string holds a NUL');
  return Buffer.from(`${text}\0`);
}

function detailOf(args: readonly SyscallArgument[]): string {
  return args.filter((argument) => typeof argument === 'string').join(', ');
}

const CLONE_VM = 0x100;
const WAIT_ALL = 0x40000000;
const stackBytes = 65_536;
/** How long the process of `inNewProcess` lives where its maker is killed before it can end it. */
const orphanSeconds = 1n;

/**
 * Runs `use` while there is a process that was made with these flags of clone(2), such as CLONE_NEWUSER, and sleeps; then
 * ends it. It shares our memory, so that nothing is copied (0.5 ms, where starting a program takes 12), and runs nothing of
 * ours: one function of the C library, on a stack of its own.
 */
export function inNewProcess<T>(flags: number, use: (pid: number) => T): T {
  native ??= load();
  const stack = Buffer.alloc(stackBytes);
  const top = (native.address(stack) + BigInt(stackBytes)) & ~15n;
  const pid = native.cloneSleeping(top, flags | CLONE_VM, orphanSeconds);
  if (pid < 0) throw new SystemError('clone', native.errno(), '');
  try {
    return use(pid);
  } finally {
    process.kill(pid, 'SIGKILL');
    syscall('wait4', pid, null, WAIT_ALL, null);
    // Until here the stack is in use.
    held.push(stack);
  }
}

/** True where the error is a system call's with one of the codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
