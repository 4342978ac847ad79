/**
 * Uploads that can be resumed. The bytes are in a file named by the upload's id; the running hash is in memory and is
 * made again from the file after a restart. An id is 128 random bits: who knows it may write to the upload.
 *
 * An upload whose id nobody outside this process knows (`private`) cannot be resumed by anybody: what a killed process
 * left of those goes when the next one starts, the others when nothing came for a day.
 */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { createReadStream, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeNewFile } from '#lib/atomic-file.ts';
import { EngineError } from '../engine.ts';

const PRIVATE_PREFIX = 'private-';
const EXPIRY_MILLISECONDS = 24 * 60 * 60 * 1000;
/** Written to the file in pieces of this size. */
const WRITE_BYTES = 1024 * 1024;
/** How much may wait in the page cache before its way to the disk is started, so that the last sync has little to do. */
const SYNC_BYTES = 32 * 1024 * 1024;

interface Upload {
  size: number;
  /** sha256 of the first `size` bytes. */
  hash: Hash;
  busy: boolean;
  /** A write failed half way: size and hash are to be read from the file again. */
  isTorn?: boolean;
}

export class Uploads {
  readonly #directory: string;
  readonly #open = new Map<string, Upload>();

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    for (const file of readdirSync(directory)) {
      if (file.startsWith(PRIVATE_PREFIX)) rmSync(join(directory, file), { force: true });
    }
    this.expire();
  }

  async start(owner: 'private' | 'client' = 'client'): Promise<string> {
    const id = `${owner === 'private' ? PRIVATE_PREFIX : ''}${randomBytes(16).toString('hex')}`;
    const handle = await open(this.path(id), 'wx', 0o600);
    await handle.close();
    this.#open.set(id, { size: 0, hash: createHash('sha256'), busy: false });
    return id;
  }

  async size(id: string): Promise<number | undefined> {
    const upload = this.#open.get(id);
    if (upload !== undefined) return upload.size;
    if (!isUploadId(id)) return undefined;
    return (await stat(this.path(id)).catch(ignoreMissing))?.size;
  }

  async open(id: string): Promise<FileHandle | undefined> {
    return isUploadId(id) ? await open(this.path(id), 'r').catch(ignoreMissing) : undefined;
  }

  /** What arrived before a failing source failed is kept. */
  async append(id: string, offset: number, source: AsyncIterable<Uint8Array>): Promise<number> {
    const upload = await this.#acquire(id);
    try {
      if (offset !== upload.size) {
        throw new EngineError('conflict', `upload ${id} has ${upload.size} bytes: cannot append at ${offset}`);
      }
      const handle = await open(this.path(id), 'r+');
      try {
        await writeAll(handle, upload, source);
      } finally {
        await handle.close();
      }
      return upload.size;
    } finally {
      upload.busy = false;
      if (upload.isTorn === true) this.#open.delete(id);
    }
  }

  /** Bytes at hand, as an upload of this process that is ready to be moved away. */
  async whole(bytes: Uint8Array): Promise<string> {
    const path = this.path(`${PRIVATE_PREFIX}${randomBytes(16).toString('hex')}`);
    try {
      await writeNewFile(path, bytes, 0o444);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
    return path;
  }

  /** Checks and syncs the bytes; the caller moves the file away and calls `forget`, also after a failure. */
  async seal(id: string, expected: { algorithm: string; hex: string }): Promise<{ path: string; sizeBytes: number }> {
    const upload = await this.#acquire(id);
    try {
      const path = this.path(id);
      const hash =
        expected.algorithm === 'sha256' ? upload.hash.copy() : await hashFile(path, expected.algorithm, upload.size);
      const actual = hash.digest('hex');
      if (actual !== expected.hex) {
        throw new EngineError(
          'invalid',
          `the content's digest is ${expected.algorithm}:${actual}, not ${expected.algorithm}:${expected.hex} as announced; send it again`,
        );
      }
      const handle = await open(path, 'r+');
      try {
        await handle.chmod(0o444);
        await handle.sync();
      } finally {
        await handle.close();
      }
      return { path, sizeBytes: upload.size };
    } finally {
      upload.busy = false;
    }
  }

  /** sha256 of what is there; for content whose digest nobody announced. */
  async digest(id: string): Promise<string> {
    const upload = await this.#acquire(id);
    upload.busy = false;
    return upload.hash.copy().digest('hex');
  }

  async forget(id: string): Promise<void> {
    if (!isUploadId(id)) return;
    this.#open.delete(id);
    await rm(this.path(id), { force: true });
  }

  /** Removes uploads that nothing was appended to for a day. */
  expire(): void {
    for (const file of readdirSync(this.#directory)) {
      const path = join(this.#directory, file);
      const age = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
      if (age < EXPIRY_MILLISECONDS || this.#open.get(file)?.busy === true) continue;
      this.#open.delete(file);
      rmSync(path, { force: true });
    }
  }

  path(id: string): string {
    return join(this.#directory, id);
  }

  async #acquire(id: string): Promise<Upload> {
    let upload = this.#open.get(id);
    if (upload === undefined && isUploadId(id)) {
      const size = (await stat(this.path(id)).catch(ignoreMissing))?.size;
      if (size !== undefined && !this.#open.has(id)) {
        const restored: Upload = { size, hash: createHash('sha256'), busy: true };
        this.#open.set(id, restored);
        restored.hash = await hashFile(this.path(id), 'sha256', size);
        return restored;
      }
      upload = this.#open.get(id);
    }
    if (upload === undefined) throw new EngineError('not-found', `upload ${JSON.stringify(id)} is not here`);
    if (upload.busy) throw new EngineError('conflict', `upload ${id} is being written by another request`);
    upload.busy = true;
    return upload;
  }
}

function isUploadId(id: string): boolean {
  return /^(private-)?[0-9a-f]{32}$/.test(id);
}

/** Hashes on this thread while the pieces are written on another. */
async function writeAll(handle: FileHandle, upload: Upload, source: AsyncIterable<Uint8Array>): Promise<void> {
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let unsynced = 0;
  let syncing: Promise<unknown> = Promise.resolve();
  const flush = async () => {
    if (pendingBytes === 0) return;
    const chunks = pending;
    const bytes = pendingBytes;
    pending = [];
    pendingBytes = 0;
    // Until it is written the hash is ahead of the file.
    upload.isTorn = true;
    const writing = writePieces(handle, chunks, upload.size);
    for (const chunk of chunks) upload.hash.update(chunk);
    await writing;
    upload.isTorn = false;
    upload.size += bytes;
    unsynced += bytes;
    if (unsynced >= SYNC_BYTES) {
      unsynced = 0;
      await syncing;
      // A failure here comes back from the sync in `seal`, or from the next write.
      syncing = handle.datasync().catch(() => undefined);
    }
  };
  try {
    for await (const chunk of source) {
      pending.push(chunk);
      pendingBytes += chunk.byteLength;
      if (pendingBytes >= WRITE_BYTES) await flush();
    }
  } finally {
    if (!upload.isTorn) await flush();
    await syncing;
  }
}

async function writePieces(handle: FileHandle, chunks: Uint8Array[], position: number): Promise<void> {
  const total = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  let { bytesWritten: done } = await handle.writev(chunks, position);
  if (done === total) return;
  const whole = Buffer.concat(chunks, total);
  while (done < total) done += (await handle.write(whole, done, undefined, position + done)).bytesWritten;
}

async function hashFile(path: string, algorithm: string, size: number): Promise<Hash> {
  const hash = createHash(algorithm);
  if (size === 0) return hash;
  for await (const chunk of createReadStream(path, { end: size - 1, highWaterMark: WRITE_BYTES })) hash.update(chunk);
  return hash;
}

export function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
