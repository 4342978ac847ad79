/**
 * Tar archives: the vocabulary of the streaming reader (`read.ts`) and the deterministic writer (`write.ts`).
 *
 * Formats: POSIX ustar and pax (IEEE Std 1003.1, pax), and GNU's long names, base-256 numbers and sparse files
 * (tar.texi, "Tar Internals"). Nothing here touches a file system, and nothing here judges names: who unpacks an
 * archive that he did not make calls `safeName` (`names.ts`) on every name.
 *
 * Names are strings of bytes (`latin1`) so that every name survives, or text (`utf8`), at the reader's choice.
 */
export type TarType = 'file' | 'hard-link' | 'symlink' | 'character-device' | 'block-device' | 'directory' | 'fifo';

export interface TarHeader {
  /** As in the archive; directories without their trailing slash. */
  name: string;
  type: TarType;
  /** Permission bits with setuid, setgid and sticky: 0 to 0o7777. */
  mode: number;
  uid: number;
  gid: number;
  /** Bytes of data that follow in the archive; 0 for everything that is no file. */
  sizeBytes: number;
  /** Whole seconds since the epoch, may be negative. */
  mtimeSeconds: number;
  /** 0 to 999,999,999. */
  mtimeNanoseconds?: number;
  /** Target of a link. */
  linkName?: string;
  deviceMajor?: number;
  deviceMinor?: number;
  /** Extended attributes by name; values are bytes (pax `SCHILY.xattr.*`). */
  xattrs?: Map<string, Buffer>;
  /** A file with holes: its map, handed on as it was found. `sizeBytes` is what the archive holds, not the file's length. */
  sparse?: { format: 'pax'; records: [string, string][] } | { format: 'gnu'; header: Buffer; extensions: Buffer };
}

export class TarError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TarError';
  }
}

export const BLOCK = 512;

/** Zero bytes after data of this length, up to a whole block. */
export function paddingAfter(sizeBytes: number): number {
  return (BLOCK - (sizeBytes % BLOCK)) % BLOCK;
}

export const TYPE_FLAGS: Readonly<Record<TarType, string>> = {
  file: '0',
  'hard-link': '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};
