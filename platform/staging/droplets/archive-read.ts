/**
 * A droplet that somebody sends: an OCI image layout in a tar, gzip'd or not. Every byte is hostile. The file is read twice:
 * once for what describes the image (small, and anywhere in it), once for the layers, which go to the registry as they
 * come by; the registry checks each against its digest. A blob that the file leaves out must be the app's own already:
 * a digest alone opens nobody else's layers. The image gets its name last.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createGunzip } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import { readTar, type TarEntry } from '#lib/tar/read.ts';
import { TarError } from '#lib/tar/tar.ts';
import type { Descriptor } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { STACK_NAME } from '../stack/recipe.ts';
import { StagingError, type StoredDroplet } from '../staging.ts';
import { blobDigest, imageOf, launchFacts, refuse } from './archived-image.ts';

export interface ArchiveLimits {
  /** Of all entries together, unpacked from the outer gzip. */
  bytes: number;
  entries: number;
  /** Of one manifest or configuration. */
  smallBytes: number;
}

export const limits: ArchiveLimits = { bytes: 4 * 1024 ** 3, entries: 2_000, smallBytes: 4 * 1024 * 1024 };

interface StoreOptions {
  registry: RegistryClient;
  repository: string;
  tag: string;
  file: string;
  limits: ArchiveLimits;
  signal?: AbortSignal | undefined;
}

export async function storeArchive(options: StoreOptions): Promise<StoredDroplet> {
  const { registry, repository, signal } = options;
  const small = await understood(() => readSmall(options));
  const image = imageOf(small);
  await sendLayers(options, image.manifest.layers);
  for (const { digest } of image.manifest.layers) {
    if ((await registry.blobSize(repository, digest, signal)) === undefined)
      throw refuse(`it lacks the layer ${digest}`);
  }
  await registry.putBlob(repository, image.configBytes, signal);
  await registry.putManifest(repository, options.tag, image.manifestBytes, {
    mediaType: image.mediaType,
    ...(signal === undefined ? {} : { signal }),
  });
  const digest = digestOf(image.manifestBytes);
  return {
    image: registry.reference(repository, digest),
    checksum: digest,
    sizeBytes: image.manifest.layers.reduce((sum, { size }) => sum + size, 0),
    ...launchFacts(image.config),
    stack: STACK_NAME,
  };
}

async function understood<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof TarError) throw refuse(error.message, { cause: error });
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code.startsWith('Z_')) throw refuse(`its gzip is damaged (${code})`, { cause: error });
    throw error;
  }
}

async function* entries(options: StoreOptions): AsyncGenerator<TarEntry> {
  const { file, limits: most, signal } = options;
  const source = createReadStream(file, { highWaterMark: 1024 * 1024, ...(signal === undefined ? {} : { signal }) });
  const bytes = (await isGzip(file)) ? source.pipe(createGunzip({ chunkSize: 256 * 1024 })) : source;
  if (bytes !== source) source.on('error', (error) => bytes.destroy(error));
  let total = 0;
  try {
    for await (const entry of readTar(bytes as AsyncIterable<Buffer>, { maxEntries: most.entries })) {
      total += entry.sizeBytes;
      if (total > most.bytes) throw new StagingError('too-large', `the droplet has more than ${most.bytes} bytes`);
      if (entry.type === 'file') yield { ...entry, name: entry.name.replace(/^\.\//, '') };
    }
  } finally {
    source.destroy();
  }
}

async function isGzip(file: string): Promise<boolean> {
  await using handle = await open(file);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
  return bytesRead === 2 && buffer.readUInt16BE(0) === 0x1f8b;
}

/** What is small enough to be a manifest or a configuration, by name; blobs only under the digest that they have. */
async function readSmall(options: StoreOptions): Promise<Map<string, Buffer>> {
  const small = new Map<string, Buffer>();
  let total = 0;
  for await (const entry of entries(options)) {
    const named = entry.name === 'index.json' || blobDigest(entry.name) !== undefined;
    if (!named || entry.sizeBytes > options.limits.smallBytes) continue;
    total += entry.sizeBytes;
    // Small layers are among them: they are few, or it is none of ours.
    if (total > 16 * options.limits.smallBytes) throw refuse('it has too many small blobs');
    const body = Buffer.concat(await Array.fromAsync(entry.data()));
    const digest = blobDigest(entry.name);
    if (digest === undefined || digestOf(body) === digest) small.set(entry.name, body);
  }
  return small;
}

async function sendLayers(options: StoreOptions, layers: readonly Descriptor[]): Promise<void> {
  const { registry, repository, signal } = options;
  const wanted = new Map(layers.map((layer) => [layer.digest, layer]));
  for await (const entry of entries(options)) {
    const digest = blobDigest(entry.name);
    const layer = digest === undefined ? undefined : wanted.get(digest);
    if (layer === undefined) continue;
    wanted.delete(layer.digest);
    if (entry.sizeBytes !== layer.size) throw refuse(`layer ${layer.digest} has not the size that its manifest says`);
    if ((await registry.blobSize(repository, layer.digest, signal)) !== undefined) continue;
    await understood(() => sendLayer(options, layer.digest, entry));
  }
}

async function sendLayer(
  { registry, repository, signal }: StoreOptions,
  digest: string,
  entry: TarEntry,
): Promise<void> {
  const hash = createHash('sha256');
  async function* hashed(): AsyncGenerator<Buffer> {
    for await (const chunk of entry.data()) {
      hash.update(chunk);
      yield chunk;
    }
    if (`sha256:${hash.digest('hex')}` !== digest) throw refuse(`layer ${digest} has other bytes than its digest says`);
  }
  await registry.streamBlob(repository, hashed(), () => digest, signal);
}
