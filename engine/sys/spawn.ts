/**
 * Starts a program by posix_spawn(3), which shares our memory with the new process until it executes: `child_process` forks, and copying
 * the page tables of a large process takes milliseconds in which nothing else of ours runs.
 */
import { addressOf, cString, hasCode, libraryCall, syscall } from './libc.ts';

export interface SpawnRequest {
  /** Absolute. */
  program: string;
  args: readonly string[];
  environment: Readonly<Record<string, string>>;
  directory: string;
  /** Descriptors of ours by their numbers in the new process; 0, 1 and 2 are /dev/null where they are not named. */
  descriptors: ReadonlyMap<number, number>;
  /** Signals that stay ignored where we ignore them. */
  ignored?: readonly number[];
}

const POSIX_SPAWN_SETSIGDEF = 0x04;
const POSIX_SPAWN_SETSIGMASK = 0x08;
const POSIX_SPAWN_SETSID = 0x80;
const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
const WNOHANG = 1;
/** More than either opaque structure of the C library has (80 and 336 on 64-bit machines). */
const OPAQUE = 512;
const SIGNAL_SET = 128;

/**
 * In a session of its own, with every other signal as it is by default. The caller is its parent: `reap` it.
 * @returns the process id
 */
export function spawnProcess({
  program,
  args,
  environment,
  directory,
  descriptors,
  ignored = [],
}: SpawnRequest): number {
  const actions = Buffer.alloc(OPAQUE);
  const attributes = Buffer.alloc(OPAQUE);
  libraryCall('posix_spawn_file_actions_init', actions);
  libraryCall('posix_spawnattr_init', attributes);
  try {
    for (const target of [0, 1, 2])
      if (!descriptors.has(target))
        libraryCall('posix_spawn_file_actions_addopen', actions, target, '/dev/null', O_RDWR, 0);
    for (const [target, own] of descriptors) libraryCall('posix_spawn_file_actions_adddup2', actions, own, target);
    libraryCall('posix_spawn_file_actions_addchdir_np', actions, directory);
    // Node ignores SIGPIPE, which a program would inherit.
    libraryCall('posix_spawnattr_setsigdefault', attributes, signalsBut(ignored));
    libraryCall('posix_spawnattr_setsigmask', attributes, Buffer.alloc(SIGNAL_SET));
    const flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID;
    libraryCall('posix_spawnattr_setflags', attributes, flags);
    const pid = Buffer.alloc(4);
    const words = pointers([program, ...args]);
    const settings = pointers(Object.entries(environment).map(([name, value]) => `${name}=${value}`));
    pointedTo.push(words.strings, settings.strings);
    libraryCall('posix_spawn', pid, program, actions, attributes, words.list, settings.list);
    return pid.readInt32LE(0);
  } finally {
    pointedTo.length = 0;
    libraryCall('posix_spawnattr_destroy', attributes);
    libraryCall('posix_spawn_file_actions_destroy', actions);
  }
}

/** A set (sigset_t): one bit for each signal, from 1 on. */
function signalsBut(left: readonly number[]): Buffer {
  const set = Buffer.alloc(SIGNAL_SET, 0xff);
  for (const number of left) {
    const at = (number - 1) >> 3;
    set[at] = (set[at] ?? 0) & ~(1 << ((number - 1) & 7));
  }
  return set;
}

/** What the C library reads by pointers of ours: held so that it is not collected meanwhile. */
const pointedTo: Buffer[] = [];

/** An array of C strings that ends with a null pointer; both buffers must be held while it is in use. */
function pointers(texts: readonly string[]): { list: Buffer; strings: Buffer } {
  const each = texts.map((text) => cString(text, 'posix_spawn'));
  const strings = Buffer.concat(each);
  const list = Buffer.alloc(8 * (each.length + 1));
  let at = addressOf(strings);
  for (const [index, one] of each.entries()) {
    list.writeBigUInt64LE(at, 8 * index);
    at += BigInt(one.length);
  }
  return { list, strings };
}

/** Both ends; neither is inherited by a program that is not given it. */
export function makePipe(): { read: number; write: number } {
  const ends = Buffer.alloc(8);
  syscall('pipe2', ends, O_CLOEXEC);
  return { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
}

/** Processes of ours that are about to end. */
const ending = new Set<number>();

/** Takes notice of the end of a process of ours, which is near: until then it stays in the kernel's table. */
export function reap(pid: number): void {
  ending.add(pid);
  reapAll();
  if (ending.size > 0 && !process.listeners('SIGCHLD').includes(reapAll)) process.on('SIGCHLD', reapAll);
}

function reapAll(): void {
  for (const pid of ending) {
    try {
      if (syscall('wait4', pid, null, WNOHANG, null) !== 0) ending.delete(pid);
    } catch (error) {
      if (!hasCode(error, 'ECHILD')) throw error;
      ending.delete(pid);
    }
  }
}
