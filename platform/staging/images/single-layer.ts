/** An image of one layer: how the parts of stack and builder are kept in the registry, by a tag that says their content. */
import { imageConfig, imageManifest, type ImageConfigFile, type Layer, type RunConfig } from './oci.ts';
import type { RegistryClient } from './registry-client.ts';

export async function readSingleLayer(
  registry: RegistryClient,
  repository: string,
  tag: string,
): Promise<{ layer: Layer; labels: Record<string, string> } | undefined> {
  const image = await registry.getImage<ImageConfigFile>(repository, tag);
  const [descriptor] = image?.manifest.layers ?? [];
  const [diffId] = image?.config.rootfs.diff_ids ?? [];
  if (descriptor === undefined || diffId === undefined) return undefined;
  const layer = { mediaType: descriptor.mediaType, digest: descriptor.digest, sizeBytes: descriptor.size, diffId };
  return { layer, labels: image?.config.config.Labels ?? {} };
}

export async function writeImage(
  registry: RegistryClient,
  repository: string,
  tag: string,
  image: { architecture: string; layers: readonly Layer[]; run: RunConfig; signal?: AbortSignal },
): Promise<string> {
  const config = imageConfig(image);
  await registry.putBlob(repository, config, image.signal);
  const manifest = imageManifest({ config, layers: image.layers });
  return await registry.putManifest(
    repository,
    tag,
    manifest,
    image.signal === undefined ? {} : { signal: image.signal },
  );
}
