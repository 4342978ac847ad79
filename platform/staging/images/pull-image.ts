/**
 * An image of another registry brought into this one, for what the platform itself makes of it. Bytes are passed through and checked by
 * their digest; those that are here are not asked for again. What is read without a login is nobody's secret, and kept for all; what
 * an app's login opens is kept in the app's own repository.
 */
import { createHash } from 'node:crypto';
import type { AddressGuard } from '#lib/guarded-address.ts';
import type { RegistryLogins } from '../../resources/registry-logins.ts';
import { StagingError } from '../staging.ts';
import { type ImageConfigFile, imageManifest, type Layer, type Manifest, mediaTypes } from './oci.ts';
import type { RegistryClient } from './registry-client.ts';
import { parseReference, Remote } from './remote-image.ts';

export interface PulledImage {
  /** That its name means now. */
  digest: string;
  config: ImageConfigFile;
  layers: Layer[];
  /** Where the layers are. */
  repository: string;
}

export interface PullOptions {
  /** As users write it. */
  image: string;
  guard: AddressGuard;
  /** Of the app that it is for, and where only that app finds what they open. */
  access?: { logins: RegistryLogins; repository: string };
  onProgress: (message: string) => void;
  signal: AbortSignal;
}

export const PULLED_REPOSITORY = 'sampan/pulled';
const MOST_LAYERS = 200;
const MOST_BYTES = 16 * 1024 ** 3;

/** @throws StagingError `no-image`, `too-large` */
export async function pullImage(registry: RegistryClient, options: PullOptions): Promise<PulledImage> {
  const { image, signal } = options;
  if (image.startsWith(`${registry.host}/`)) return await ownImage(registry, image);
  const parsed = parseReference(image);
  const login = options.access?.logins[parsed.host];
  const repository = login === undefined ? PULLED_REPOSITORY : (options.access?.repository ?? PULLED_REPOSITORY);
  const howToLogin = 'give a login in CF_CNB_REGISTRY_CREDS';
  const remote = new Remote(parsed, { ...options, howToLogin, ...(login === undefined ? {} : { login }) });
  try {
    const { digest, manifest, config } = await remote.image();
    const layers = layersOf(image, manifest, config);
    const missing: Layer[] = [];
    for (const layer of layers)
      if ((await registry.blobSize(repository, layer.digest, signal)) === undefined) missing.push(layer);
    if (missing.length > 0) {
      const mebibytes = Math.ceil(missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 1024 ** 2);
      options.onProgress(`pulling ${image} (${missing.length} layers, ${mebibytes} MiB)`);
    }
    for (const layer of missing) {
      const body = await remote.open(`blobs/${layer.digest}`, '*/*');
      // The registry compares the bytes with the digest.
      await registry.streamBlob(repository, body as AsyncIterable<Buffer>, () => layer.digest, signal);
    }
    const bytes = Buffer.from(JSON.stringify(config));
    await registry.putBlob(repository, bytes, signal);
    // A name for what it means now keeps the layers; what it meant before goes, where no app has it.
    const tag = createHash('sha256').update(image).digest('hex').slice(0, 32);
    await registry.putManifest(repository, tag, imageManifest({ config: bytes, layers }), { signal });
    return { digest, config, layers, repository };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof StagingError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new StagingError('no-image', `image ${image} cannot be pulled: ${why}`, { cause: error });
  } finally {
    remote.close();
  }
}

/** Of this registry, where everybody may have it. */
async function ownImage(registry: RegistryClient, image: string): Promise<PulledImage> {
  const { repository, reference } = parseReference(image);
  if (repository.startsWith('cf/'))
    throw new StagingError('no-image', `image ${image} belongs to an app of the platform`);
  const found = await registry.getImage<ImageConfigFile>(repository, reference);
  if (found === undefined) throw new StagingError('no-image', `image ${image} is not in the registry: push it`);
  const { digest, manifest, config } = found;
  return { digest, config, layers: layersOf(image, manifest, config), repository };
}

function layersOf(image: string, manifest: Manifest, { rootfs }: ImageConfigFile): Layer[] {
  const { layers } = manifest;
  if (layers.length > MOST_LAYERS || layers.reduce((sum, { size }) => sum + size, 0) > MOST_BYTES)
    throw new StagingError('too-large', `image ${image} has more than ${MOST_LAYERS} layers or ${MOST_BYTES} bytes`);
  if (rootfs.diff_ids.length !== layers.length)
    throw new StagingError('no-image', `image ${image} does not say what its layers are`);
  return layers.map(({ mediaType, digest, size }, index) => ({
    mediaType: layerType(image, mediaType),
    digest,
    sizeBytes: size,
    diffId: rootfs.diff_ids[index] ?? '',
  }));
}

/** In OCI's words: what Docker's mean is the same. */
function layerType(image: string, mediaType: string): string {
  if (mediaType.endsWith('.tar+zstd')) return `${mediaTypes.layer}+zstd`;
  if (/\.tar[.+]gzip$/.test(mediaType)) return mediaTypes.layerGzip;
  if (mediaType.endsWith('.tar')) return mediaTypes.layer;
  throw new StagingError('no-image', `image ${image} has a layer of the type ${JSON.stringify(mediaType)}`);
}
