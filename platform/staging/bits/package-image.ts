/**
 * The package as an image: one uncompressed layer with the source below /workspace, and an index of it. Tag
 * `package-<digest, 40 digits>` keeps one; `package` is the newest of the app.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import { imageManifest, type Layer, type Manifest } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';

export const packageMediaTypes = {
  artifact: 'application/vnd.sampan.package.v1',
  config: 'application/vnd.sampan.package.config.v1+json',
  index: 'application/vnd.sampan.package.index.v1+json.gzip',
} as const;

export const WORKSPACE = 'workspace';
export const NEWEST_PACKAGE = 'package';

export function packageTag(digest: string): string {
  return `package-${digest.slice(7, 47)}`;
}

export function appRepository(app: string): string {
  if (!/^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(app))
    throw new StagingError('internal', `app guid ${JSON.stringify(app)} is no repository name`);
  return `cf/${app}`;
}

/** A regular file of the layer. */
export interface IndexEntry {
  path: string;
  sha1: string;
  sizeBytes: number;
  mode: number;
  /** Of its first byte in the layer. */
  offset: number;
}

interface PackageConfig {
  files: number;
  sizeBytes: number;
  diffId: string;
  /** See `PackageNote`; older packages have none. */
  shape?: string;
}

/** @param content.bytes  of the layer, where the registry has not got it yet */
export async function writePackage(
  registry: RegistryClient,
  repository: string,
  content: {
    layer: Layer;
    bytes: Uint8Array | undefined;
    entries: readonly IndexEntry[];
    sizeBytes: number;
    shape: string;
  },
): Promise<string> {
  const { layer, bytes, entries, sizeBytes, shape } = content;
  const rows = entries.map(({ path, sha1, sizeBytes: size, mode, offset }) => [path, sha1, size, mode, offset]);
  const index = gzipSync(JSON.stringify(rows), { level: 1 });
  const config: PackageConfig = { files: entries.length, sizeBytes, diffId: layer.diffId, shape };
  const configBytes = Buffer.from(JSON.stringify(config));
  const blobs = [...(bytes === undefined ? [] : [bytes]), index, configBytes];
  await Promise.all(blobs.map((blob) => registry.putBlob(repository, blob)));
  const indexDigest = digestOf(index);
  const manifest = imageManifest({
    config: configBytes,
    configMediaType: packageMediaTypes.config,
    artifactType: packageMediaTypes.artifact,
    layers: [layer, { mediaType: packageMediaTypes.index, digest: indexDigest, sizeBytes: index.length, diffId: '' }],
  });
  const digest = digestOf(manifest);
  const tags = [packageTag(digest), NEWEST_PACKAGE];
  await Promise.all(tags.map((tag) => registry.putManifest(repository, tag, manifest)));
  return digest;
}

export async function readPackage(
  registry: RegistryClient,
  repository: string,
  reference: string,
): Promise<{ digest: string; layer: Layer; manifest: Manifest; config: PackageConfig } | undefined> {
  const image = await registry.getImage<PackageConfig>(repository, reference);
  const descriptor = image?.manifest.layers[0];
  if (image === undefined || descriptor === undefined) return undefined;
  const layer = {
    mediaType: descriptor.mediaType,
    digest: descriptor.digest,
    sizeBytes: descriptor.size,
    diffId: image.config.diffId,
  };
  return { digest: image.digest, layer, manifest: image.manifest, config: image.config };
}

export async function readIndex(
  registry: RegistryClient,
  repository: string,
  manifest: Manifest,
): Promise<IndexEntry[]> {
  const descriptor = manifest.layers.find(({ mediaType }) => mediaType === packageMediaTypes.index);
  if (descriptor === undefined) return [];
  const packed = await registry.readSmallBlob(repository, descriptor.digest, 64 * 1024 * 1024);
  if (packed === undefined) return [];
  const rows = JSON.parse(gunzipSync(packed).toString('utf8')) as [string, string, number, number, number][];
  return rows.map(([path, sha1, sizeBytes, mode, offset]) => ({ path, sha1, sizeBytes, mode, offset }));
}
