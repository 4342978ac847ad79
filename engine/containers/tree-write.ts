/**
 * Writes a tar archive into a file tree that somebody hostile may be changing meanwhile. The directory of each entry is opened
 * inside the root by the kernel, the entry is made by one name in it, and owner and mode are set on what was opened, never by
 * name: a link that appears in between is an error or is replaced, and is never followed.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  statSync,
  statfsSync,
  lstatSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { safeName } from '#lib/tar/names.ts';
import { readTar, type TarEntry } from '#lib/tar/read.ts';
import { TarError } from '#lib/tar/tar.ts';
import { EngineError } from '../engine.ts';
import { OpenFlag, asFileOwner, makeFifo, openInRoot } from '../sys/files.ts';
import { hasCode } from '../sys/libc.ts';
import { pathBelow } from './tree-read.ts';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_CREAT, O_EXCL, O_WRONLY } = constants;
const mostEntries = 1_000_000;
/** Room that stays on the disk. */
const reserveBytes = 64 * 1024 * 1024;
const deepest = 1000;

export interface TreeWriteRequest {
  /** A descriptor of the container's root directory. */
  root: number;
  /** Of a directory in it, `latin1`. */
  path: string;
  idRange: { first: number; length: number };
  /** Instead of what the archive says, as the container counts. */
  owner?: { uid: number; gid: number };
  keepKinds: boolean;
  signal?: AbortSignal;
}

/** @throws TarError on a hostile or malformed archive; what was written until then stays */
export async function writeTree(request: TreeWriteRequest, archive: AsyncIterable<Uint8Array>): Promise<void> {
  const writer = new TreeWriter(request);
  try {
    for await (const entry of readTar(bounded(request, archive), { encoding: 'latin1', maxEntries: mostEntries })) {
      request.signal?.throwIfAborted();
      await writer.accept(entry);
    }
    writer.setTimes();
  } finally {
    writer.close();
  }
}

/** Its bytes, as long as the disk can hold them. */
async function* bounded(request: TreeWriteRequest, archive: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const target = openInRoot(request.root, request.path, OpenFlag.path | O_DIRECTORY);
  const { bavail, bsize, blocks } = statfsSync(`/proc/self/fd/${target}`);
  closeSync(target);
  const room = bavail * bsize - Math.min(reserveBytes, (blocks * bsize) / 20);
  let bytes = 0;
  for await (const chunk of archive) {
    bytes += chunk.byteLength;
    if (bytes > room)
      throw new EngineError('exhausted', `the file system has no room for an archive of more than ${room} bytes`);
    yield chunk;
  }
}

/**
 * The directory inside the root, made with everything above it where it is missing.
 * @returns a descriptor (O_PATH), the caller's to close
 */
export function ensureDirectory(root: number, path: string, owner: number, depth = 0): number {
  try {
    return openInRoot(root, path, OpenFlag.path | O_DIRECTORY);
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || depth > deepest) throw error;
  }
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const name = parts.pop() ?? '.';
  const parent = ensureDirectory(root, parts.join('/'), owner, depth + 1);
  try {
    asFileOwner(owner, owner, () => mkdirSync(pathBelow(parent, name), 0o755));
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  } finally {
    closeSync(parent);
  }
  return openInRoot(root, path, OpenFlag.path | O_DIRECTORY);
}

/** The same for an empty file. */
export function ensureFile(root: number, path: string, owner: number): number {
  const slash = path.lastIndexOf('/');
  const parent = ensureDirectory(root, path.slice(0, slash), owner);
  try {
    const target = pathBelow(parent, path.slice(slash + 1));
    const flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW;
    closeSync(asFileOwner(owner, owner, () => openSync(target, flags, 0o644)));
  } finally {
    closeSync(parent);
  }
  return openInRoot(root, path, OpenFlag.path | O_NOFOLLOW);
}

class TreeWriter {
  readonly #request: TreeWriteRequest;
  /** Entries of one directory come together. */
  #parent: { path: string; descriptor: number } | undefined;
  readonly #times: { path: string; seconds: number }[] = [];

  constructor(request: TreeWriteRequest) {
    this.#request = request;
  }

  async accept(entry: TarEntry): Promise<void> {
    const name = safeName(entry.name);
    // The directory that is written to stays as it is.
    if (name === '') return;
    if (entry.sparse !== undefined)
      throw new TarError(`entry ${JSON.stringify(entry.name)} is sparse: make the archive without --sparse`);
    // As Docker does in a user namespace: a container has no use for a device that it may not open.
    if (entry.type === 'character-device' || entry.type === 'block-device') return;
    const slash = name.lastIndexOf('/');
    const parent = this.#directory(slash < 0 ? '' : name.slice(0, slash));
    const base = name.slice(slash + 1);
    const owner = this.#ownerOf(entry);
    this.#clear(parent, base, entry);
    switch (entry.type) {
      case 'directory':
        return this.#makeDirectory(parent, base, entry, owner, name);
      case 'file':
        return await this.#makeFile(parent, base, entry, owner);
      case 'hard-link':
        return this.#makeLink(parent, base, entry);
      case 'symlink': {
        const target = Buffer.from(entry.linkName ?? '', 'latin1');
        asFileOwner(owner.uid, owner.gid, () => symlinkSync(target, pathBelow(parent, base)));
        lchownSync(pathBelow(parent, base), owner.uid, owner.gid);
        lutimesSync(pathBelow(parent, base), entry.mtimeSeconds, entry.mtimeSeconds);
        return;
      }
      case 'fifo':
        asFileOwner(owner.uid, owner.gid, () => makeFifo(parent, base, entry.mode & 0o777));
        lchownSync(pathBelow(parent, base), owner.uid, owner.gid);
    }
  }

  /** When everything in them is written. */
  setTimes(): void {
    for (const { path, seconds } of this.#times.reverse()) {
      try {
        const at = openInRoot(this.#request.root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        try {
          futimesSync(at, seconds, seconds);
        } finally {
          closeSync(at);
        }
      } catch (error) {
        // The container has taken it away meanwhile.
        if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error;
      }
    }
  }

  close(): void {
    if (this.#parent !== undefined) closeSync(this.#parent.descriptor);
    this.#parent = undefined;
  }

  #directory(path: string): number {
    if (this.#parent?.path === path) return this.#parent.descriptor;
    this.close();
    const { root, idRange } = this.#request;
    const descriptor = ensureDirectory(root, `${this.#request.path}/${path}`, idRange.first);
    this.#parent = { path, descriptor };
    return descriptor;
  }

  #ownerOf(entry: TarEntry): { uid: number; gid: number } {
    const { owner = entry, idRange } = this.#request;
    for (const id of [owner.uid, owner.gid]) {
      if (id >= idRange.length)
        throw new EngineError(
          'invalid',
          `Container ID ${id} cannot be mapped to a host ID: it is not below ${idRange.length}`,
        );
    }
    return { uid: owner.uid + idRange.first, gid: owner.gid + idRange.first };
  }

  /** Takes away what is in the place of the entry. A directory stays where a directory comes. */
  #clear(parent: number, base: string, entry: TarEntry): void {
    const isDirectory = entry.type === 'directory';
    const info = lstatSync(pathBelow(parent, base), { throwIfNoEntry: false });
    if (info === undefined || (info.isDirectory() && isDirectory)) return;
    if (this.#request.keepKinds && info.isDirectory())
      throw new EngineError(
        'invalid',
        `cannot overwrite directory ${JSON.stringify(base)} with non-directory ${JSON.stringify(entry.name)}`,
      );
    if (this.#request.keepKinds && isDirectory)
      throw new EngineError(
        'invalid',
        `cannot overwrite non-directory ${JSON.stringify(base)} with directory ${JSON.stringify(entry.name)}`,
      );
    removeTree(parent, base, 0);
  }

  #makeDirectory(
    parent: number,
    base: string,
    entry: TarEntry,
    owner: { uid: number; gid: number },
    name: string,
  ): void {
    try {
      asFileOwner(owner.uid, owner.gid, () => mkdirSync(pathBelow(parent, base), 0o700));
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    const descriptor = openSync(pathBelow(parent, base), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      fchownSync(descriptor, owner.uid, owner.gid);
      fchmodSync(descriptor, entry.mode);
    } finally {
      closeSync(descriptor);
    }
    this.#times.push({ path: `${this.#request.path}/${name}`, seconds: entry.mtimeSeconds });
  }

  async #makeFile(parent: number, base: string, entry: TarEntry, owner: { uid: number; gid: number }): Promise<void> {
    const flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW;
    const made = asFileOwner(owner.uid, owner.gid, () => openSync(pathBelow(parent, base), flags, 0o600));
    try {
      const handle = await open(`/proc/self/fd/${made}`, O_WRONLY);
      try {
        for await (const chunk of entry.data()) await handle.write(chunk);
      } finally {
        await handle.close();
      }
      fchownSync(made, owner.uid, owner.gid);
      fchmodSync(made, entry.mode);
      futimesSync(made, entry.mtimeSeconds, entry.mtimeSeconds);
    } finally {
      closeSync(made);
    }
  }

  #makeLink(parent: number, base: string, entry: TarEntry): void {
    const target = safeName(entry.linkName ?? '');
    const slash = target.lastIndexOf('/');
    const path = `${this.#request.path}/${slash < 0 ? '' : target.slice(0, slash)}`;
    const from = openInRoot(this.#request.root, path, OpenFlag.path | O_DIRECTORY);
    try {
      linkSync(pathBelow(from, target.slice(slash + 1)), pathBelow(parent, base));
    } catch (error) {
      throw new TarError(
        `hard link ${JSON.stringify(entry.name)} to ${JSON.stringify(entry.linkName)} cannot be made`,
        {
          cause: error,
        },
      );
    } finally {
      closeSync(from);
    }
  }
}

/** Removes one name and what is below it, following nothing. */
function removeTree(parent: number, name: string, depth: number): void {
  if (depth > deepest) throw new TarError(`directories lie more than ${deepest} deep`);
  const path = pathBelow(parent, name);
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info === undefined) return;
  if (!info.isDirectory()) return void unlinkSync(path);
  const descriptor = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const names = readdirSync(`/proc/self/fd/${descriptor}`, { encoding: 'buffer' });
    for (const child of names) removeTree(descriptor, child.toString('latin1'), depth + 1);
  } finally {
    closeSync(descriptor);
  }
  rmdirSync(path);
}

/** Whether the descriptor is of a directory. */
export function isDirectory(descriptor: number): boolean {
  return statSync(`/proc/self/fd/${descriptor}`).isDirectory();
}
