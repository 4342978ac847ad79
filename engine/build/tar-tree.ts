/**
 * A tar archive as a tree that is never unpacked: its bytes lie in one file without a name, which the kernel frees when the
 * build ends, however it ends; an index in memory says what is where. So nothing in the archive (names that lead out, links,
 * devices, races) ever touches this host's file system: a link is text here, and resolved inside the tree.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, open, rm, statfs, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { safeName } from '#lib/tar/names.ts';
import { type ReadOptions, readTar, type TarEntry } from '#lib/tar/read.ts';
import { TarError } from '#lib/tar/tar.ts';
import { EngineError } from '../engine.ts';
import { compareBytes } from '../images/layer-directory.ts';
import { baseOf, parentOf, shown, type Tree, type TreeNode } from '../images/tree.ts';

export interface TarTreeOptions {
  /** Where the file with the bytes is made. */
  directory: string;
  /** For messages: `build context`. */
  what: string;
  maxBytes: number;
  maxEntries: number;
  signal?: AbortSignal;
}

/** Stays free on the disk. */
const RESERVE_BYTES = 256 * 1024 ** 2;
const WRITE_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;
const ROOT: TreeNode = { type: 'directory', mode: 0o755, uid: 0, gid: 0, sizeBytes: 0, mtimeSeconds: 0 };

interface Entry {
  node: TreeNode;
  /** Where a file's bytes begin. */
  offset: number;
  sha256: string;
  children?: Map<string, Entry>;
}

export class TarTree implements Tree {
  readonly #file: FileHandle;
  readonly #root: Entry = directoryEntry({ ...ROOT });
  readonly #where = new WeakMap<TreeNode, Entry>();

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** @throws TarError on an archive that is malformed or hostile; EngineError `exhausted` where the disk has no room for it */
  static async read(source: AsyncIterable<Uint8Array>, options: TarTreeOptions): Promise<TarTree> {
    const tree = new TarTree(await unnamedFile(options.directory));
    try {
      await tree.#fill(source, options);
      return tree;
    } catch (error) {
      await tree.close();
      options.signal?.throwIfAborted();
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC')
        throw new EngineError('exhausted', `the disk has no room for the ${options.what}; free some space`, {
          cause: error,
        });
      throw error;
    }
  }

  /** One file whose length nobody knows before. */
  static async ofFile(
    source: AsyncIterable<Uint8Array>,
    file: { name: string; mode: number; mtimeSeconds: number },
    options: TarTreeOptions,
  ): Promise<TarTree> {
    const tree = new TarTree(await unnamedFile(options.directory));
    try {
      const writer = new Appender(tree.#file);
      const sha256 = await writer.append(limited(source, options));
      await writer.flush();
      const { mode, mtimeSeconds } = file;
      const node: TreeNode = { type: 'file', mode, uid: 0, gid: 0, sizeBytes: writer.size, mtimeSeconds };
      tree.#place(file.name, { node, offset: 0, sha256 });
      return tree;
    } catch (error) {
      await tree.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  lookup(path: string): TreeNode | undefined {
    return this.#find(path)?.node;
  }

  list(path: string): [name: string, node: TreeNode][] {
    const children = [...(this.#find(path)?.children ?? [])];
    return children.map(([name, { node }]): [string, TreeNode] => [name, node]).sort(([a], [b]) => compareBytes(a, b));
  }

  async *data(_path: string, node: TreeNode): AsyncGenerator<Uint8Array> {
    const entry = this.#where.get(node);
    if (entry === undefined) throw new Error('the file was not looked up in this tree');
    for (let at = 0; at < node.sizeBytes; ) {
      const buffer = Buffer.alloc(Math.min(READ_BYTES, node.sizeBytes - at));
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, entry.offset + at);
      if (bytesRead === 0) throw new Error('the file with the archive was cut short');
      yield buffer.subarray(0, bytesRead);
      at += bytesRead;
    }
  }

  /** Of a file's bytes, known since they came by. */
  sha256(node: TreeNode): string {
    return this.#where.get(node)?.sha256 ?? '';
  }

  remove(path: string): void {
    this.#find(parentOf(path))?.children?.delete(baseOf(path));
  }

  async #fill(source: AsyncIterable<Uint8Array>, options: TarTreeOptions): Promise<void> {
    const { what, maxBytes, maxEntries } = options;
    const disk = await statfs(options.directory);
    const room = disk.bavail * disk.bsize - RESERVE_BYTES;
    const writer = new Appender(this.#file);
    const reading: ReadOptions = { encoding: 'latin1', maxEntries };
    let count = 0;
    for await (const entry of readTar(source, reading)) {
      options.signal?.throwIfAborted();
      count += 1;
      if (count % 500 === 0) await setImmediate();
      if (writer.size + entry.sizeBytes > maxBytes)
        throw new EngineError('invalid', `the ${what} has more than ${maxBytes} bytes of files`);
      if (writer.size + entry.sizeBytes > room)
        throw new EngineError('exhausted', `the disk has no room for the ${what}; free some space`);
      await this.#add(entry, writer, what);
    }
    await writer.flush();
  }

  async #add(entry: TarEntry, writer: Appender, what: string): Promise<void> {
    const path = safeName(entry.name);
    const { name: _name, type, linkName, ...header } = entry;
    if (type === 'character-device' || type === 'block-device' || type === 'fifo')
      throw new TarError(
        `${shown(entry.name)} in the ${what} is a ${type}: only files, directories and links can be in it`,
      );
    if (type === 'hard-link') return this.#link(path, safeName(linkName ?? ''), what);
    if (type === 'symlink' && (linkName === undefined || linkName === '' || linkName.length > 4095))
      throw new TarError(`symbolic link ${shown(entry.name)} in the ${what} has no usable target`);
    const node: TreeNode = { ...plainHeader(header), type, ...(type === 'symlink' ? { linkName } : {}) } as TreeNode;
    const offset = writer.size;
    const sha256 = type === 'file' ? await writer.append(entry.data()) : '';
    this.#place(path, { node, offset, sha256, ...(type === 'directory' ? { children: new Map() } : {}) });
  }

  #link(path: string, target: string, what: string): void {
    const entry = this.#find(target);
    if (entry === undefined || entry.node.type === 'directory')
      throw new TarError(`hard link ${shown(path)} in the ${what} is to ${shown(target)}, which is no file before it`);
    entry.node.identity ??= `tar:${entry.offset}:${target}`;
    this.#place(path, entry);
  }

  /** A later entry of the same name replaces the earlier one; a directory keeps what is in it. */
  #place(path: string, entry: Entry): void {
    this.#where.set(entry.node, entry);
    if (path === '') {
      if (entry.node.type === 'directory') this.#root.node = entry.node;
      return;
    }
    let parent = this.#root;
    for (const part of parentOf(path).split('/').filter(Boolean)) {
      let next = parent.children?.get(part);
      if (next === undefined) {
        next = directoryEntry({ ...ROOT });
        parent.children?.set(part, next);
      }
      if (next.children === undefined) throw new TarError(`${shown(path)} lies below something that is no directory`);
      parent = next;
    }
    const before = parent.children?.get(baseOf(path));
    if (before?.children !== undefined && entry.children !== undefined) entry.children = before.children;
    parent.children?.set(baseOf(path), entry);
  }

  #find(path: string): Entry | undefined {
    let entry: Entry | undefined = this.#root;
    for (const part of path === '' ? [] : path.split('/')) entry = entry?.children?.get(part);
    return entry;
  }
}

/** What an archive from outside may say of a file. */
function plainHeader(header: Omit<TarEntry, 'name' | 'type' | 'linkName'>): Omit<TreeNode, 'type'> {
  const { mode, uid, gid, sizeBytes, mtimeSeconds, mtimeNanoseconds, sparse } = header;
  return {
    mode,
    uid,
    gid,
    sizeBytes,
    mtimeSeconds,
    ...(mtimeNanoseconds === undefined ? {} : { mtimeNanoseconds }),
    ...(sparse === undefined ? {} : { sparse }),
  };
}

function directoryEntry(node: TreeNode): Entry {
  return { node, offset: 0, sha256: '', children: new Map() };
}

async function* limited(
  source: AsyncIterable<Uint8Array>,
  { what, maxBytes, signal }: TarTreeOptions,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    signal?.throwIfAborted();
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw new EngineError('invalid', `the ${what} has more than ${maxBytes} bytes`);
    yield chunk;
  }
}

async function unnamedFile(directory: string): Promise<FileHandle> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, randomBytes(8).toString('hex'));
  const file = await open(path, 'wx+', 0o600);
  await rm(path);
  return file;
}

class Appender {
  readonly #file: FileHandle;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #written = 0;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  get size(): number {
    return this.#written + this.#bytes;
  }

  async append(data: AsyncIterable<Uint8Array>): Promise<string> {
    const hash = createHash('sha256');
    for await (const chunk of data) {
      hash.update(chunk);
      this.#chunks.push(chunk);
      this.#bytes += chunk.byteLength;
      if (this.#bytes >= WRITE_BYTES) await this.flush();
    }
    return hash.digest('hex');
  }

  async flush(): Promise<void> {
    const whole = Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [];
    this.#bytes = 0;
    for (let at = 0; at < whole.length; ) {
      const { bytesWritten } = await this.#file.write(whole, at, whole.length - at, this.#written);
      at += bytesWritten;
      this.#written += bytesWritten;
    }
  }
}

/** Files that are only in memory, all in one directory. */
export class MemoryTree implements Tree {
  readonly #files = new Map<string, { node: TreeNode; bytes: Buffer }>();

  add(name: string, bytes: Buffer, mode: number, mtimeSeconds: number): void {
    const node: TreeNode = { type: 'file', mode, uid: 0, gid: 0, sizeBytes: bytes.length, mtimeSeconds };
    this.#files.set(name, { node, bytes });
  }

  lookup(path: string): TreeNode | undefined {
    return path === '' ? ROOT : this.#files.get(path)?.node;
  }

  list(path: string): [string, TreeNode][] {
    return path === '' ? [...this.#files].map(([name, { node }]): [string, TreeNode] => [name, node]) : [];
  }

  async *data(path: string): AsyncGenerator<Uint8Array> {
    const file = this.#files.get(path);
    if (file !== undefined && file.bytes.length > 0) yield file.bytes;
  }
}
