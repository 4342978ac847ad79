/**
 * One unpacked layer, or a container's writable one, as overlayfs keeps it: a whiteout is a character device 0/0, an opaque
 * directory has the attribute `trusted.overlay.opaque`.
 *
 * A container may change its layer while it is read. So every directory is opened from the layer's root through no link
 * (openat2), and what is in it is touched by `descriptor/name` only, never through a longer path: no link that is put
 * somewhere at the wrong moment leads the reader out.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  type BigIntStats,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { openDirectoryBeneath } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import { dataExtents } from '../sys/loop.ts';
import { allXattrs, getXattr } from '../sys/xattrs.ts';
import type { TreeNode } from './tree.ts';

const OPAQUE = 'trusted.overlay.opaque';
/** The rest belongs to overlayfs or to the host's security modules. */
const KEPT_XATTRS = /^user\.(?!overlay\.)|^security\.capability$/;
const READ_BYTES = 256 * 1024;
/** Fewer extents than this are worth a map. */
const MOST_EXTENTS = 10_000;

/** The ids of a layer that is written by a container: `first` is its root. */
export interface IdShift {
  first: number;
  length: number;
}

export interface RawEntry {
  node: TreeNode;
  isWhiteout: boolean;
  bornAt: number;
}

/** A directory that is held open. */
export interface OpenDirectory {
  /** In the order of their bytes. */
  names(): string[];
  entry(name: string): RawEntry | undefined;
  /** The directory itself. */
  self(): RawEntry;
  isOpaque(): boolean;
  close(): void;
}

export class LayerDirectory {
  readonly #root: number;
  readonly #shift: IdShift | undefined;
  readonly #tag: string;

  /** @param tag  tells this layer's files apart from those of others */
  constructor(directory: string, tag: string, shift?: IdShift) {
    this.#root = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
    this.#tag = tag;
    this.#shift = shift;
  }

  close(): void {
    closeSync(this.#root);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Undefined where there is none. */
  open(path: string): OpenDirectory | undefined {
    const descriptor = openDirectoryBeneath(this.#root, path);
    if (descriptor === undefined) return undefined;
    const place = `/proc/self/fd/${descriptor}`;
    return {
      names: () => readdirSync(place, { encoding: 'latin1' }).sort(compareBytes),
      entry: (name) => this.#entry(Buffer.from(`${place}/${name}`, 'latin1')),
      self: () => this.#describe(fstatSync(descriptor, { bigint: true }), Buffer.from(place), place),
      isOpaque: () => getXattr(place, OPAQUE)?.toString() === 'y',
      close: () => closeSync(descriptor),
    };
  }

  #entry(path: Buffer): RawEntry | undefined {
    const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    const isPlain = stat.isFile() || stat.isDirectory();
    if (!isPlain) return this.#describe(stat, path, undefined);
    let descriptor: number;
    try {
      descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      // Taken away, or replaced by something else, between the two looks.
      if (hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO')) return undefined;
      throw error;
    }
    try {
      const now = fstatSync(descriptor, { bigint: true });
      const found = this.#describe(now, path, `/proc/self/fd/${descriptor}`);
      if (found.node.type === 'file') this.#findHoles(found.node, descriptor, now);
      return found;
    } finally {
      closeSync(descriptor);
    }
  }

  #describe(stat: BigIntStats, path: Buffer, attributes: string | undefined): RawEntry {
    const type = typeOf(stat);
    const node: TreeNode = {
      type,
      mode: Number(stat.mode) & 0o7777,
      uid: this.#unshifted(Number(stat.uid)),
      gid: this.#unshifted(Number(stat.gid)),
      sizeBytes: type === 'file' ? Number(stat.size) : 0,
      ...seconds(stat.mtimeNs),
    };
    let isWhiteout = false;
    if (type === 'symlink') node.linkName = readlinkSync(path, { encoding: 'latin1' });
    if (type === 'character-device' || type === 'block-device') {
      node.deviceMajor = Number(((stat.rdev >> 8n) & 0xfffn) | ((stat.rdev >> 32n) & ~0xfffn));
      node.deviceMinor = Number((stat.rdev & 0xffn) | ((stat.rdev >> 12n) & ~0xffn));
      isWhiteout = type === 'character-device' && stat.rdev === 0n;
    }
    if (stat.nlink > 1n && type !== 'directory') node.identity = `${this.#tag}:${stat.ino}`;
    if (attributes !== undefined) {
      const kept = [...allXattrs(attributes)].filter(([name]) => KEPT_XATTRS.test(name));
      if (kept.length > 0) node.xattrs = new Map(kept.map(([name, value]) => [name, plainCapability(name, value)]));
    }
    return { node, isWhiteout, bornAt: Number(stat.birthtimeNs / 1_000_000n) };
  }

  /** Ids outside of the container's range are those of the host's overflow: what nobody in it can own. */
  #unshifted(id: number): number {
    if (this.#shift === undefined) return id;
    const own = id - this.#shift.first;
    return own >= 0 && own < this.#shift.length ? own : 65_534;
  }

  /** A file with holes is written as GNU tar's sparse format 1.0 has it: the map first, then what is no hole. */
  #findHoles(node: TreeNode, descriptor: number, stat: BigIntStats): void {
    const size = node.sizeBytes;
    if (size === 0 || Number(stat.blocks) * 512 >= size) return;
    const extents = dataExtents(descriptor, size);
    if (extents.length > MOST_EXTENTS) return;
    const [only] = extents;
    if (extents.length === 1 && only?.start === 0 && only.end >= size) return;
    node.sparse = {
      format: 'pax',
      records: [
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', String(size)],
      ],
    };
    const pieces = extents.map(({ start, end }) => ({ start, length: Math.min(end, size) - start }));
    pieces.push({ start: size, length: 0 });
    const map = sparseMap(pieces);
    holes.set(node, { map, pieces });
    node.sizeBytes = map.length + pieces.reduce((sum, { length }) => sum + length, 0);
  }

  /** What `node.sizeBytes` announced, also where the file has been cut short since: then zeros stand for the rest. */
  async *data(directory: string, name: string, node: TreeNode): AsyncGenerator<Uint8Array> {
    const handle = await this.#openFile(directory, name);
    try {
      const sparse = holes.get(node);
      if (sparse === undefined) return yield* readExactly(handle, 0, node.sizeBytes);
      yield sparse.map;
      for (const { start, length } of sparse.pieces) yield* readExactly(handle, start, length);
    } finally {
      await handle?.close();
    }
  }

  async #openFile(directory: string, name: string): Promise<FileHandle | undefined> {
    const descriptor = openDirectoryBeneath(this.#root, directory);
    if (descriptor === undefined) return undefined;
    try {
      const path = Buffer.from(`/proc/self/fd/${descriptor}/${name}`, 'latin1');
      const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      if ((await handle.stat()).isFile()) return handle;
      await handle.close();
      return undefined;
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO')) return undefined;
      throw error;
    } finally {
      closeSync(descriptor);
    }
  }
}

/** Maps of files with holes, for as long as their nodes are known. */
const holes = new WeakMap<TreeNode, { map: Buffer; pieces: { start: number; length: number }[] }>();

function sparseMap(pieces: readonly { start: number; length: number }[]): Buffer {
  const text = `${pieces.length}\n${pieces.map(({ start, length }) => `${start}\n${length}\n`).join('')}`;
  const map = Buffer.alloc(Math.ceil(text.length / 512) * 512);
  map.write(text, 'latin1');
  return map;
}

async function* readExactly(handle: FileHandle | undefined, start: number, length: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  while (at < length) {
    const buffer = Buffer.alloc(Math.min(READ_BYTES, length - at));
    const read = (await handle?.read(buffer, 0, buffer.length, start + at))?.bytesRead ?? 0;
    yield read === 0 ? buffer : buffer.subarray(0, read);
    at += read === 0 ? buffer.length : read;
  }
}

function typeOf(stat: BigIntStats): TreeNode['type'] {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'character-device';
  if (stat.isBlockDevice()) return 'block-device';
  return stat.isFIFO() ? 'fifo' : 'socket';
}

function seconds(nanoseconds: bigint): { mtimeSeconds: number; mtimeNanoseconds: number } {
  const rest = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { mtimeSeconds: Number((nanoseconds - rest) / 1_000_000_000n), mtimeNanoseconds: Number(rest) };
}

/**
 * File capabilities that were set in a user namespace name its root on the host (version 3, linux/capability.h); in a layer
 * they are anybody's root's (version 2).
 */
function plainCapability(name: string, value: Buffer): Buffer {
  if (name !== 'security.capability' || value.length !== 24) return value;
  const magic = value.readUInt32LE(0);
  if ((magic & 0xff000000) >>> 0 !== 0x03000000) return value;
  const plain = Buffer.from(value.subarray(0, 20));
  plain.writeUInt32LE(((magic & 0x00ffffff) | 0x02000000) >>> 0, 0);
  return plain;
}

export function compareBytes(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
