/** Extended attributes of a file, by path; links are followed, so give `/proc/self/fd/N` of a descriptor that names the file itself. */
import { hasCode, syscall } from './libc.ts';

/** As the kernel limits a value, and a list of names (xattr(7)). */
const LARGEST = 64 * 1024;
/** Calls are synchronous, so that one room for all is enough. */
const room = Buffer.alloc(LARGEST);

/** Undefined where the file has no such attribute. */
export function getXattr(path: string, name: string): Buffer | undefined {
  try {
    return Buffer.from(room.subarray(0, syscall('getxattr', path, name, room, LARGEST)));
  } catch (error) {
    if (hasCode(error, 'ENODATA', 'ENOTSUP', 'EOPNOTSUPP', 'ENOENT')) return undefined;
    throw error;
  }
}

/** Every attribute that the caller may see; empty where the file system has none. */
export function allXattrs(path: string): Map<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const name of names(path)) {
    const value = getXattr(path, name);
    if (value !== undefined) found.set(name, value);
  }
  return found;
}

function names(path: string): string[] {
  try {
    const length = syscall('listxattr', path, room, LARGEST);
    return room
      .toString('utf8', 0, length)
      .split('\0')
      .filter((name) => name !== '')
      .sort();
  } catch (error) {
    if (hasCode(error, 'ENOTSUP', 'EOPNOTSUPP', 'ENOENT')) return [];
    throw error;
  }
}
