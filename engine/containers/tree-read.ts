/**
 * Reads a file tree that somebody hostile may be changing meanwhile, as a tar archive. Every step goes from the descriptor of a
 * directory to one name in it, and what was opened is looked at again: a name that became a link is left out, never followed.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readlink, stat, statfs } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import { paddingAfter, TarError, type TarHeader, type TarType } from '#lib/tar/tar.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { hasCode } from '../sys/libc.ts';

const CHUNK = 256 * 1024;
const deepest = 1000;
const mostHardLinks = 1_000_000;
/** statfs(2): proc, sysfs, cgroup, cgroup2, devpts, mqueue, securityfs, debugfs, bpf. */
const kernelFileSystems = new Set([
  0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x1cd1, 0x19800202, 0x73636673, 0x64626720, 0xcafe4a11,
]);

export interface TreeRequest {
  /** Of a directory. */
  parent: number;
  /** In it, as `latin1` bytes; `.` for the directory itself. */
  entry: string;
  /** What the first entry of the archive is called. */
  name: string;
  idRange: { first: number; length: number };
}

export function pathBelow(directory: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${directory}/${name}`, 'latin1');
}

/** Whether it is on a file system of the kernel's own, where reading may do things and sizes are lies. */
export async function isKernelFile(descriptor: number): Promise<boolean> {
  return kernelFileSystems.has((await statfs(`/proc/self/fd/${descriptor}`)).type);
}

export async function* readTree(request: TreeRequest): AsyncGenerator<Buffer> {
  const writer = new TreeReader(request.idRange);
  yield* writer.entry(request.parent, request.entry, request.name, 0);
  yield TAR_END;
}

class TreeReader {
  readonly #range: { first: number; length: number };
  readonly #seen = new Map<string, string>();

  constructor(range: { first: number; length: number }) {
    this.#range = range;
  }

  async *entry(parent: number, entry: string, name: string, depth: number): AsyncGenerator<Buffer> {
    const path = pathBelow(parent, entry);
    try {
      const info = entry === '.' ? await stat(path, { bigint: true }) : await lstat(path, { bigint: true });
      if (info.isDirectory()) yield* this.#directory(parent, entry, name, depth);
      else if (info.isFile()) yield* this.#file(path, name);
      else if (info.isSymbolicLink()) {
        const linkName = (await readlink(path, 'buffer')).toString('latin1');
        yield encodeHeader({ ...this.#header(name, 'symlink', info), linkName }, { encoding: 'latin1' });
      } else {
        const type = info.isFIFO()
          ? 'fifo'
          : info.isCharacterDevice()
            ? 'character-device'
            : info.isBlockDevice()
              ? 'block-device'
              : undefined;
        // An archive has no sockets.
        if (type !== undefined) yield encodeHeader(this.#header(name, type, info), { encoding: 'latin1' });
      }
    } catch (error) {
      // Removed or replaced while we looked: as if it had never been there.
      if (depth === 0 || !hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO', 'EINVAL')) throw error;
    }
  }

  async *#directory(parent: number, entry: string, name: string, depth: number): AsyncGenerator<Buffer> {
    if (depth > deepest) throw new TarError(`directories lie more than ${deepest} deep`);
    const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
    const descriptor = openSync(pathBelow(parent, entry), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const info = await stat(`/proc/self/fd/${descriptor}`, { bigint: true });
      yield encodeHeader(this.#header(name, 'directory', info), { encoding: 'latin1' });
      if (await this.#isSkipped(parent, descriptor, entry)) return;
      const names = await readdir(`/proc/self/fd/${descriptor}`, { encoding: 'buffer' });
      for (const child of names.map((bytes) => bytes.toString('latin1')).sort())
        yield* this.entry(descriptor, child, name === '/' ? child : `${name}/${child}`, depth + 1);
    } finally {
      closeSync(descriptor);
    }
  }

  /** File systems of the kernel, and the devices of /dev. */
  async #isSkipped(parent: number, descriptor: number, entry: string): Promise<boolean> {
    if (await isKernelFile(descriptor)) return true;
    if (entry !== 'dev') return false;
    const [own, above] = await Promise.all([stat(`/proc/self/fd/${descriptor}`), stat(`/proc/self/fd/${parent}`)]);
    return own.dev !== above.dev;
  }

  async *#file(path: Buffer, name: string): AsyncGenerator<Buffer> {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = constants;
    const handle = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    try {
      const info = await handle.stat({ bigint: true });
      if (!info.isFile()) return;
      const key = `${info.dev}:${info.ino}`;
      const first = info.nlink > 1n ? this.#seen.get(key) : undefined;
      if (first !== undefined) {
        const header: TarHeader = { ...this.#header(name, 'hard-link', info), linkName: first };
        yield encodeHeader(header, { encoding: 'latin1' });
        return;
      }
      if (info.nlink > 1n && this.#seen.size < mostHardLinks) this.#seen.set(key, name);
      const sizeBytes = Number(info.size);
      yield encodeHeader({ ...this.#header(name, 'file', info), sizeBytes }, { encoding: 'latin1' });
      yield* exactly(handle, sizeBytes);
    } finally {
      await handle.close();
    }
  }

  #header(name: string, type: TarType, info: BigIntStats): TarHeader {
    const major = Number((info.rdev >> 8n) & 0xfffn);
    const minor = Number((info.rdev & 0xffn) | ((info.rdev >> 12n) & 0xfff00n));
    return {
      name,
      type,
      mode: Number(info.mode) & 0o7777,
      uid: this.#inside(Number(info.uid)),
      gid: this.#inside(Number(info.gid)),
      sizeBytes: 0,
      mtimeSeconds: Number(info.mtimeNs / 1_000_000_000n),
      ...(type.endsWith('device') ? { deviceMajor: major, deviceMinor: minor } : {}),
    };
  }

  /** What the host owns is root's there: the files that the engine itself lays into a container. */
  #inside(id: number): number {
    const own = id - this.#range.first;
    return own >= 0 && own < this.#range.length ? own : 0;
  }
}

/** As many bytes as were announced, whatever becomes of the file meanwhile. */
async function* exactly(handle: FileHandle, sizeBytes: number): AsyncGenerator<Buffer> {
  let left = sizeBytes;
  while (left > 0) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(Math.min(CHUNK, left)), 0);
    const chunk = bytesRead === 0 ? Buffer.alloc(Math.min(CHUNK, left)) : buffer.subarray(0, bytesRead);
    left -= chunk.length;
    yield chunk;
  }
  const padding = paddingAfter(sizeBytes);
  if (padding > 0) yield TAR_END.subarray(0, padding);
}
