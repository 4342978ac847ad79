/**
 * The content store on a file system, by the contract in `store.ts`.
 *
 * A blob is written below `uploads`, synced, and renamed into `blobs`; the rename is what makes it exist. Checks of a
 * blob's age and its removal are synchronous, and so is the renewal of its age: within the one process that writes
 * the store, a collection can never take a blob that was touched.
 */
import { once } from 'node:events';
import {
  accessSync,
  chmodSync,
  createReadStream,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
} from 'node:fs';
import { type FileHandle, opendir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ASIDE_PREFIX, syncDirectory } from '#lib/atomic-file.ts';
import { digestOf, parseDigest } from '#lib/digest.ts';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { collect } from './collect.ts';
import { NameStore } from './names.ts';
import { forgetUntagged } from './retention.ts';
import type { BlobInfo, CollectOptions, ContentStore } from './store.ts';
import { ignoreMissing, Uploads } from './uploads.ts';

const SMALL_BYTES = 4 * 1024 * 1024;
const READ_BYTES = 512 * 1024;

/** Opens the store in a directory, which it makes, and removes what a killed writer left half done. */
export function openContentStore(directory: string): ContentStore {
  return new FileContentStore(directory);
}

class FileContentStore implements ContentStore {
  readonly directory: string;
  readonly #names: NameStore;
  readonly #uploads: Uploads;

  constructor(directory: string) {
    this.directory = directory;
    for (const part of ['blobs/sha256', 'blobs/sha512', 'layers']) {
      mkdirSync(join(directory, part), { recursive: true });
    }
    // Unpacked layers hold setuid files of strangers' root: nobody but root may walk in.
    chmodSync(directory, 0o700);
    for (const layer of readdirSync(join(directory, 'layers'))) {
      if (!layer.startsWith(ASIDE_PREFIX)) continue;
      // The tar of a killed engine may write for a moment more.
      rmSync(join(directory, 'layers', layer), { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    }
    this.#names = new NameStore(join(directory, 'names'));
    this.#uploads = new Uploads(join(directory, 'uploads'));
  }

  path(digest: string): string | undefined {
    const path = this.#blobPath(digest);
    if (path === undefined) return undefined;
    try {
      accessSync(path);
      return path;
    } catch {
      return undefined;
    }
  }

  async stat(digest: string): Promise<BlobInfo | undefined> {
    const path = this.#blobPath(digest);
    const found = path === undefined ? undefined : await stat(path).catch(ignoreMissing);
    return found === undefined ? undefined : { digest, sizeBytes: found.size };
  }

  async read(digest: string, range?: { start: number; end?: number }): Promise<Readable> {
    const path = this.#blobPath(digest);
    if (path === undefined) throw missing(digest);
    // Not by a FileHandle: a stream that nobody ends would then end the process, once it is collected.
    const stream = createReadStream(path, { ...range, highWaterMark: READ_BYTES });
    try {
      await once(stream, 'open');
      return stream;
    } catch (error) {
      if (hasCode(error, 'ENOENT')) throw missing(digest);
      throw error;
    }
  }

  async readAll(digest: string): Promise<Buffer> {
    const info = await this.stat(digest);
    const path = this.#blobPath(digest);
    if (info === undefined || path === undefined) throw missing(digest);
    if (info.sizeBytes > SMALL_BYTES) {
      throw new EngineError(
        'invalid',
        `blob ${digest} has ${info.sizeBytes} bytes: a manifest or config has at most ${SMALL_BYTES}`,
      );
    }
    const content = await readFile(path).catch(ignoreMissing);
    if (content === undefined) throw missing(digest);
    return content;
  }

  async write(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    expected: { digest?: string; sizeBytes?: number },
  ): Promise<BlobInfo> {
    if (expected.digest !== undefined) requireDigest(expected.digest);
    if (source instanceof Uint8Array) {
      const algorithm = parseDigest(expected.digest ?? '')?.algorithm ?? 'sha256';
      const digest = digestOf(source, algorithm);
      const sized = expected.sizeBytes === undefined || expected.sizeBytes === source.byteLength;
      if (sized && digest === (expected.digest ?? digest)) {
        if (!this.touch(digest)) await this.#adopt(await this.#uploads.whole(source), digest);
        return { digest, sizeBytes: source.byteLength };
      }
    }
    const id = await this.#uploads.start('private');
    try {
      const size = await this.#uploads.append(id, 0, limited(source, expected.sizeBytes));
      if (expected.sizeBytes !== undefined && size !== expected.sizeBytes) {
        throw new EngineError(
          'invalid',
          `the content has ${size} bytes, not ${expected.sizeBytes} as announced; send it again`,
        );
      }
      return await this.finishUpload(id, expected.digest ?? `sha256:${await this.#uploads.digest(id)}`);
    } finally {
      await this.#uploads.forget(id);
    }
  }

  async remove(digest: string): Promise<void> {
    const path = this.#blobPath(digest);
    if (path !== undefined) await rm(path, { force: true });
  }

  touch(digest: string): boolean {
    const path = this.#blobPath(digest);
    return path !== undefined && touchPath(path);
  }

  async *blobs(): AsyncGenerator<BlobInfo> {
    for (const algorithm of ['sha256', 'sha512']) {
      for await (const entry of await opendir(join(this.directory, 'blobs', algorithm))) {
        const info = await this.stat(`${algorithm}:${entry.name}`);
        if (info !== undefined) yield info;
      }
    }
  }

  startUpload(owner?: 'private' | 'client'): Promise<string> {
    return this.#uploads.start(owner);
  }

  appendUpload(id: string, offset: number, source: AsyncIterable<Uint8Array>): Promise<number> {
    return this.#uploads.append(id, offset, source);
  }

  uploadSize(id: string): Promise<number | undefined> {
    return this.#uploads.size(id);
  }

  openUpload(id: string): Promise<FileHandle | undefined> {
    return this.#uploads.open(id);
  }

  async finishUpload(id: string, digest: string): Promise<BlobInfo> {
    const { algorithm, hex } = requireDigest(digest);
    try {
      const { path, sizeBytes } = await this.#uploads.seal(id, { algorithm, hex });
      await this.#adopt(path, digest);
      await this.#uploads.forget(id);
      return { digest, sizeBytes };
    } catch (error) {
      // Another request that writes to the upload goes on; any other failure leaves nothing.
      if (error instanceof EngineError && error.code === 'conflict') throw error;
      await this.#uploads.forget(id);
      throw error;
    }
  }

  /** Where the blob is here already (another writer was faster), that one stays and is young again. */
  async #adopt(path: string, digest: string): Promise<void> {
    if (this.touch(digest)) {
      await rm(path, { force: true });
      return;
    }
    const { algorithm, hex } = requireDigest(digest);
    const directory = join(this.directory, 'blobs', algorithm);
    renameSync(path, join(directory, hex));
    touchPath(join(directory, hex));
    await syncDirectory(directory);
  }

  cancelUpload(id: string): Promise<void> {
    return this.#uploads.forget(id);
  }

  setName(scope: string, name: string, digest: string | undefined): Promise<void> {
    if (digest !== undefined) requireDigest(digest);
    return this.#names.set(scope, name, digest);
  }

  getName(scope: string, name: string): string | undefined {
    return this.#names.get(scope, name);
  }

  names(scope: string): { name: string; digest: string }[] {
    return this.#names.list(scope);
  }

  scopes(): string[] {
    return this.#names.scopes();
  }

  async collect(options: CollectOptions = {}): Promise<{ blobs: number; bytes: number }> {
    this.#uploads.expire();
    const pinned = [...(options.pinned ?? [])];
    await forgetUntagged(this, {
      before: Date.now() - (options.untaggedGraceMilliseconds ?? 7 * 24 * 60 * 60 * 1000),
      pinned,
    });
    const reached = await collect(this, pinned);
    const before = Date.now() - (options.graceMilliseconds ?? 60 * 60 * 1000);
    let blobs = 0;
    let bytes = 0;
    for await (const { digest, sizeBytes } of this.blobs()) {
      const path = this.#blobPath(digest);
      if (path === undefined || reached.blobs.has(digest) || !isOlder(path, before)) continue;
      unlinkSync(path);
      blobs += 1;
      bytes += sizeBytes;
    }
    for (const hex of readdirSync(join(this.directory, 'layers'))) {
      const path = join(this.directory, 'layers', hex);
      if (hex.startsWith(ASIDE_PREFIX) || reached.layers.has(hex) || !isOlder(path, before)) continue;
      const aside = join(this.directory, 'layers', `${ASIDE_PREFIX}removed-${hex}`);
      renameSync(path, aside);
      await rm(aside, { recursive: true, force: true });
    }
    for (const { scope, name } of reached.links) {
      if (this.path(name) === undefined) await this.setName(scope, name, undefined);
    }
    return { blobs, bytes };
  }

  #blobPath(digest: string): string | undefined {
    const parsed = parseDigest(digest);
    return parsed === undefined ? undefined : join(this.directory, 'blobs', parsed.algorithm, parsed.hex);
  }
}

/** Renews the age of a file or directory; false where it is not there. */
export function touchPath(path: string): boolean {
  try {
    const now = Date.now() / 1000;
    utimesSync(path, now, now);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function isOlder(path: string, before: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && found.mtimeMs < before;
}

async function* limited(
  source: AsyncIterable<Uint8Array> | Uint8Array,
  sizeBytes: number | undefined,
): AsyncGenerator<Uint8Array> {
  let seen = 0;
  for await (const chunk of source instanceof Uint8Array ? [source] : source) {
    seen += chunk.byteLength;
    if (sizeBytes !== undefined && seen > sizeBytes) {
      throw new EngineError(
        'invalid',
        `the content has more than the ${sizeBytes} bytes that were announced; send it again`,
      );
    }
    yield chunk;
  }
}

function requireDigest(digest: string): { algorithm: string; hex: string } {
  const parsed = parseDigest(digest);
  if (parsed === undefined) {
    throw new EngineError(
      'invalid',
      `digest ${JSON.stringify(digest)} is not sha256:<64 hex digits> or sha512:<128 hex digits>`,
    );
  }
  return parsed;
}

function missing(digest: string): EngineError {
  return new EngineError('not-found', `blob ${JSON.stringify(digest)} is not in the content store`);
}
