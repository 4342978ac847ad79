/**
 * Sends a layer as it is made: tar bytes are hashed (diff id), compressed, hashed again (digest) and streamed to the
 * registry in one pass, without a temporary file.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { constants, createGzip } from 'node:zlib';
import { mediaTypes, type Layer } from './oci.ts';
import type { RegistryClient } from './registry-client.ts';

export interface PushLayerOptions {
  /** Default `gzip` at its fastest level: four times the speed of the default level for a tenth more bytes. */
  compression?: 'gzip' | 'none';
  /** It fits into memory: made there, and sent in one request, or not at all where the repository has it. */
  isShort?: boolean;
  signal?: AbortSignal;
}

export async function pushLayer(
  registry: RegistryClient,
  repository: string,
  tar: AsyncIterable<Uint8Array>,
  options: PushLayerOptions = {},
): Promise<Layer> {
  if (options.isShort === true) {
    const { layer, bytes } = await makeLayer(tar, options);
    await registry.putBlob(repository, bytes, options.signal);
    return layer;
  }
  const { chunks, layer } = hashed(tar, options);
  await registry.streamBlob(repository, chunks, () => layer().digest, options.signal);
  return layer();
}

/** In memory, for who sends it beside something else. */
export async function makeLayer(
  tar: AsyncIterable<Uint8Array>,
  options: Pick<PushLayerOptions, 'compression'> = {},
): Promise<{ layer: Layer; bytes: Buffer }> {
  const { chunks, layer } = hashed(tar, options);
  const bytes = await buffer(chunks);
  return { layer: layer(), bytes };
}

/** `layer` is known when the last of the chunks was taken. */
function hashed(
  tar: AsyncIterable<Uint8Array>,
  { compression }: Pick<PushLayerOptions, 'compression'>,
): { chunks: AsyncGenerator<Uint8Array>; layer: () => Layer } {
  const plain = createHash('sha256');
  const packed = createHash('sha256');
  let sizeBytes = 0;
  let diffId = '';
  let digest = '';

  async function* hashedTar(): AsyncGenerator<Uint8Array> {
    for await (const chunk of inLargeChunks(tar)) {
      plain.update(chunk);
      yield chunk;
    }
    diffId = `sha256:${plain.digest('hex')}`;
  }
  async function* hashedLayer(): AsyncGenerator<Uint8Array> {
    for await (const chunk of compression === 'none' ? hashedTar() : gzipped(hashedTar())) {
      packed.update(chunk);
      sizeBytes += chunk.byteLength;
      yield chunk;
    }
    digest = `sha256:${packed.digest('hex')}`;
  }
  const mediaType = compression === 'none' ? mediaTypes.layer : mediaTypes.layerGzip;
  return { chunks: hashedLayer(), layer: () => ({ mediaType, digest, sizeBytes, diffId }) };
}

async function* gzipped(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gzip = createGzip({ level: constants.Z_BEST_SPEED, chunkSize: 256 * 1024 });
  const input = Readable.from(source, { objectMode: false, highWaterMark: 1024 * 1024 });
  input.on('error', (error) => gzip.destroy(error));
  input.pipe(gzip);
  yield* gzip as AsyncIterable<Buffer>;
}

/** Headers and small files come in pieces of 512 bytes: joined, so that hashing and compressing are not called for each. */
async function* inLargeChunks(source: AsyncIterable<Uint8Array>, size = 128 * 1024): AsyncGenerator<Uint8Array> {
  let buffer = Buffer.allocUnsafe(size);
  let used = 0;
  for await (const chunk of source) {
    if (chunk.byteLength >= size) {
      if (used > 0) yield buffer.subarray(0, used);
      if (used > 0) buffer = Buffer.allocUnsafe(size);
      used = 0;
      yield chunk;
      continue;
    }
    if (used + chunk.byteLength > size) {
      yield buffer.subarray(0, used);
      buffer = Buffer.allocUnsafe(size);
      used = 0;
    }
    buffer.set(chunk, used);
    used += chunk.byteLength;
  }
  if (used > 0) yield buffer.subarray(0, used);
}
