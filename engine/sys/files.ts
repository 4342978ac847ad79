/** Opens files inside an untrusted directory tree: no link leads out of it. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { hasCode, syscall } from './libc.ts';

const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_IN_ROOT = 0x10;

/**
 * Reads a regular file as if `root` were the root directory (openat2(2)): absolute links and `..` stay inside.
 * @returns undefined where there is none, or where it is no regular file; at most `limit` bytes
 */
export function readInRoot(root: string, path: string, limit = 1024 * 1024): Buffer | undefined {
  const directory = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    // struct open_how: flags, mode, resolve. Nonblocking, because a hostile image may have a fifo there.
    const how = Buffer.alloc(24);
    how.writeBigUInt64LE(BigInt(constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY | 0o2000000), 0);
    how.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
    const descriptor = syscall('openat2', directory, path, how, how.length);
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
