/**
 * Unpacks a layer's archive into a directory: decompressed, checked against its diff id, made harmless by
 * `layer-entries.ts`, and written by GNU tar, which keeps what matters (owners, setuid, extended attributes, hard
 * links, holes, device nodes). tar reads only what we wrote, entry by entry, in one plain format.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { statfs } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import { paddingAfter, TarError } from '#lib/tar/tar.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { EngineError } from '../engine.ts';
import { LayerEntries } from './layer-entries.ts';

export interface UnpackLimits {
  /** Of the unpacked archive. */
  maxBytes: number;
  maxEntries: number;
  /** Beyond `freeRatioBytes`, an archive that grows more than this on decompression is a bomb. */
  maxRatio: number;
  freeRatioBytes: number;
  /** Stays free on the disk. */
  reserveBytes: number;
}

export const UNPACK_LIMITS: UnpackLimits = {
  maxBytes: 64 * 1024 ** 3,
  maxEntries: 1_000_000,
  maxRatio: 200,
  freeRatioBytes: 1024 ** 3,
  reserveBytes: 256 * 1024 ** 2,
};

const CHUNK = 256 * 1024;

export interface UnpackRequest {
  /** The blob's bytes, as they are in the content store: gzip, zstd or plain. */
  source: Readable;
  sourceBytes: number;
  /** An empty directory. */
  directory: string;
  diffId: string;
  limits?: Partial<UnpackLimits>;
  signal?: AbortSignal;
}

/**
 * @returns the sum of the files' bytes
 * @throws EngineError `invalid` on an archive that is malformed, hostile or not the diff id's; `exhausted` when the disk
 *   is full. What was written until then is the caller's to remove.
 */
export async function unpackLayer(request: UnpackRequest): Promise<{ sizeBytes: number }> {
  const limits = { ...UNPACK_LIMITS, ...request.limits };
  const disk = await statfs(request.directory);
  const room = disk.bavail * disk.bsize - limits.reserveBytes;
  const hash = createHash('sha256');
  const tar = startTar(request.directory, request.signal);
  let sizeBytes = 0;
  try {
    const archive = await decompressed(request.source, async function* (plain) {
      let bytes = 0;
      for await (const chunk of plain) {
        bytes += chunk.byteLength;
        checkSize(bytes, request, limits, room);
        hash.update(chunk);
        yield chunk;
      }
    });
    const entries = new LayerEntries();
    const output = new Batches(tar.stdin);
    for await (const entry of readTar(archive, { encoding: 'latin1', maxEntries: limits.maxEntries })) {
      request.signal?.throwIfAborted();
      const { headers, data } = entries.accept(entry);
      for (const header of headers) await output.write(encodeHeader(header, { encoding: 'latin1' }));
      if (!data || entry.sizeBytes === 0) continue;
      for await (const chunk of entry.data()) await output.write(chunk);
      const padding = paddingAfter(entry.sizeBytes);
      if (padding > 0) await output.write(TAR_END.subarray(0, padding));
      sizeBytes += entry.sizeBytes;
    }
    for (const link of entries.links()) await output.write(encodeHeader(link, { encoding: 'latin1' }));
    await output.write(TAR_END);
    await output.flush();
    tar.stdin.end();
    await tar.ended;
  } catch (error) {
    request.source.destroy();
    tar.stdin.destroy();
    // tar's own complaint, when it ended first, is the cause of our failing write.
    const failure = await tar.ended.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    throw explain(error, failure, request);
  }
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== request.diffId) {
    throw new EngineError('invalid', `the layer unpacks to ${actual}, but the image's config says ${request.diffId}`);
  }
  return { sizeBytes };
}

/** What a configuration has to call the layer. @throws EngineError `invalid` on data that are damaged, or a bomb */
export async function diffIdOf(source: Readable, sourceBytes: number): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  const request = { sourceBytes, diffId: '' };
  try {
    const plain = await decompressed(source, async function* (chunks) {
      yield* chunks;
    });
    for await (const chunk of plain) {
      bytes += chunk.byteLength;
      checkSize(bytes, request, UNPACK_LIMITS, Number.POSITIVE_INFINITY);
      hash.update(chunk);
    }
  } catch (error) {
    source.destroy();
    throw explain(error, undefined, request);
  }
  return `sha256:${hash.digest('hex')}`;
}

function checkSize(
  bytes: number,
  request: Pick<UnpackRequest, 'sourceBytes'>,
  limits: UnpackLimits,
  room: number,
): void {
  if (bytes > room)
    throw new EngineError('exhausted', `the disk has no room for a layer of more than ${bytes} bytes; free some space`);
  if (bytes > limits.maxBytes)
    throw new EngineError('invalid', `the layer unpacks to more than ${limits.maxBytes} bytes`);
  if (bytes > limits.freeRatioBytes && bytes > request.sourceBytes * limits.maxRatio) {
    throw new EngineError(
      'invalid',
      `the layer grows more than ${limits.maxRatio} times when it is unpacked: it is taken for a bomb`,
    );
  }
}

/** Tells the compression by the first bytes, whatever a media type claims (RFC 1952, RFC 8878). */
export async function decompressed(
  source: Readable,
  tap: (plain: AsyncIterable<Buffer>) => AsyncIterable<Buffer> = (plain) => plain,
): Promise<AsyncIterable<Buffer>> {
  const iterator = source[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const first = await iterator.next();
  const head: Buffer = first.done === true ? Buffer.alloc(0) : first.value;
  const whole = async function* (): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head;
    yield* { [Symbol.asyncIterator]: () => iterator };
  };
  const decoder =
    head.length > 1 && head[0] === 0x1f && head[1] === 0x8b
      ? createGunzip({ chunkSize: CHUNK })
      : head.length > 3 &&
          (head.readUInt32LE(0) === 0xfd2fb528 || (head.readUInt32LE(0) & 0xfffffff0) >>> 0 === 0x184d2a50)
        ? createZstdDecompress({ chunkSize: CHUNK })
        : undefined;
  if (decoder === undefined) return tap(whole());
  // A failure of the source or of the decoder reaches the reader of the decoder.
  pipeline(whole, decoder).catch((error: Error) => decoder.destroy(error));
  return tap(decoder);
}

function startTar(directory: string, signal: AbortSignal | undefined): { stdin: Writable; ended: Promise<void> } {
  const child = spawn(
    'tar',
    [
      '--extract',
      // Names are safe already. Without this, tar first makes placeholders for links, and can take another file for one.
      '--absolute-names',
      '--file=-',
      `--directory=${directory}`,
      '--numeric-owner',
      '--same-owner',
      '--preserve-permissions',
      '--delay-directory-restore',
      '--xattrs',
      '--xattrs-include=*',
      '--warning=no-timestamp',
      '--read-full-records',
      `--blocking-factor=${CHUNK / 512}`,
    ],
    { stdio: ['pipe', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' }, signal },
  );
  let complaint = '';
  child.stderr.setEncoding('latin1').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-4096);
  });
  const ended = once(child, 'close').then(([code, killedBy]: unknown[]) => {
    if (code !== 0) throw new TarProcessError(complaint.trim() || `tar ended with ${String(code ?? killedBy)}`);
  });
  ended.catch(() => undefined);
  // A write to a tar that has ended fails by itself; the reason comes from `ended`.
  child.stdin.on('error', () => undefined);
  return { stdin: child.stdin, ended };
}

class TarProcessError extends Error {}

function explain(error: unknown, failure: unknown, request: Pick<UnpackRequest, 'diffId' | 'signal'>): unknown {
  if (request.signal?.aborted === true) return request.signal.reason;
  if (error instanceof EngineError) return error;
  if (error instanceof TarError)
    return new EngineError('invalid', `layer ${request.diffId}: ${error.message}`, { cause: error });
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  if (/^Z_|^ZSTD|^ERR_.*ZSTD|^ERR_ZLIB/.test(code)) {
    return new EngineError('invalid', `layer ${request.diffId}: its compressed data are damaged`, { cause: error });
  }
  const cause = failure ?? error;
  const message = cause instanceof Error ? cause.message : String(cause);
  if (message.includes('No space left') || code === 'ENOSPC') {
    return new EngineError('exhausted', `layer ${request.diffId}: the disk is full; free some space`, { cause });
  }
  if (failure instanceof TarProcessError)
    return new EngineError('invalid', `layer ${request.diffId} cannot be unpacked: ${message}`, { cause });
  return new EngineError('internal', `layer ${request.diffId} cannot be unpacked: ${message}`, { cause });
}

/** Joins small writes, and waits while the other side does not read. */
class Batches {
  readonly #stream: Writable;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes >= CHUNK) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#bytes === 0) return;
    const whole =
      this.#chunks.length === 1 && this.#chunks[0] !== undefined
        ? this.#chunks[0]
        : Buffer.concat(this.#chunks, this.#bytes);
    this.#chunks = [];
    this.#bytes = 0;
    if (this.#stream.destroyed) throw new TarProcessError('tar ended early');
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(whole, (error) => (error ? reject(error) : resolve()));
    });
  }
}
