/** Opens files inside an untrusted directory tree: no link leads out of it. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { hasCode, syscall } from './libc.ts';

const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const RESOLVE_IN_ROOT = 0x10;

/** What Node has no name for (open(2)). */
export const OpenFlag = { path: 0o10000000, closeOnExec: 0o2000000 } as const;

/**
 * Opens a path as if `root` (a descriptor of a directory) were the root directory (openat2(2)): absolute links and `..` stay
 * inside, and links of the kernel's own (/proc/self/root) are refused. The descriptor is the caller's to close.
 * @param path  bytes as `latin1`, as file names have no encoding
 */
export function openInRoot(root: number, path: string, flags: number): number {
  return openResolved(root, path, { flags, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS });
}

/**
 * Opens a directory below another one, through no link and into no other file system, whatever is done to the tree meanwhile.
 * @param path  bytes as `latin1`; empty for the directory itself
 * @returns a descriptor, the caller's to close; undefined where there is no such directory
 */
export function openDirectoryBeneath(root: number, path: string): number | undefined {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  try {
    return openResolved(root, path, { flags, resolve });
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EXDEV')) return undefined;
    throw error;
  }
}

/**
 * Opens whatever lies below a directory, by O_PATH. Links are followed as long as they stay below; one that leads out, or an
 * absolute one, is EXDEV.
 * @param path  bytes as `latin1`
 */
export function openBeneath(root: number, path: string): number {
  return openResolved(root, path, { flags: OpenFlag.path, resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS });
}

function openResolved(root: number, path: string, { flags, resolve }: { flags: number; resolve: number }): number {
  // struct open_how: flags, mode, resolve.
  const how = Buffer.alloc(24);
  how.writeBigUInt64LE(BigInt(flags | OpenFlag.closeOnExec), 0);
  how.writeBigUInt64LE(BigInt(resolve), 16);
  const bytes = Buffer.from(`${path === '' ? '.' : path}\0`, 'latin1');
  for (let attempt = 0; ; attempt += 1) {
    try {
      return syscall('openat2', root, bytes, how, how.length);
    } catch (error) {
      // Somebody renamed a directory while the kernel stepped through `..`: it asks to be asked again.
      if (!hasCode(error, 'EAGAIN') || attempt >= 100) throw error;
    }
  }
}

/**
 * Sets aside the disk space of a file's first `size` bytes, and makes it that long where it is shorter.
 * @returns false where the file system cannot
 */
export function allocate(file: number, size: number): boolean {
  try {
    syscall('fallocate', file, 0, 0, size);
    return true;
  } catch (error) {
    if (hasCode(error, 'EOPNOTSUPP', 'ENOSYS')) return false;
    throw error;
  }
}

/** A named pipe, in the directory that the descriptor refers to. */
export function makeFifo(directory: number, name: string, mode: number): void {
  const fifo = 0o010000;
  syscall('mknodat', directory, Buffer.from(`${name}\0`, 'latin1'), fifo | mode, 0);
}

/**
 * Runs `body`, which must be synchronous, with files that it makes belonging to this owner: a mount that shifts ids refuses those
 * of an owner that it has no number for, which the host's root is. Rights stay root's. Where the thread cannot become itself
 * again, the process ends.
 */
export function asFileOwner<T>(uid: number, gid: number, body: () => T): T {
  const getBits = 27;
  const setBits = 28;
  const keepCapabilities = 1 << 2;
  const bits = syscall('prctl', getBits, 0, 0, 0, 0);
  syscall('prctl', setBits, bits | keepCapabilities, 0, 0, 0);
  try {
    syscall('setfsgid', gid);
    syscall('setfsuid', uid);
    return body();
  } finally {
    try {
      syscall('setfsuid', 0);
      syscall('setfsgid', 0);
      // Asking for an owner that there cannot be changes nothing and tells the present one.
      if (syscall('setfsuid', 0xffffffff) !== 0) process.abort();
      syscall('prctl', setBits, bits, 0, 0, 0);
    } catch {
      process.abort();
    }
  }
}

/**
 * Reads a regular file as if `root` were the root directory (openat2(2)): absolute links and `..` stay inside.
 * @returns undefined where there is none, or where it is no regular file; at most `limit` bytes
 */
export function readInRoot(root: string, path: string, limit = 1024 * 1024): Buffer | undefined {
  const directory = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    // Nonblocking, because a hostile image may have a fifo there.
    const descriptor = openInRoot(
      directory,
      Buffer.from(path).toString('latin1'),
      constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY,
    );
    try {
      if (!fstatSync(descriptor).isFile()) return undefined;
      const buffer = Buffer.alloc(limit);
      let length = 0;
      for (let read = -1; read !== 0 && length < limit; length += read) {
        read = readSync(descriptor, buffer, length, limit - length, null);
      }
      return buffer.subarray(0, length);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EACCES')) return undefined;
    throw error;
  } finally {
    closeSync(directory);
  }
}
