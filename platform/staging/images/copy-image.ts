/** An image for another repository: its layers are mounted, so that nothing is sent; it is whole there before it has a name. */
import { StagingError } from '../staging.ts';
import type { Manifest } from './oci.ts';
import type { RegistryClient } from './registry-client.ts';

/** @returns the reference there. @throws StagingError `registry` where the image is not in this registry any more */
export async function copyImage(
  registry: RegistryClient,
  image: string,
  to: { repository: string; tags: (digest: string) => string[] },
): Promise<string> {
  const from = registry.parse(image);
  const stored = from === undefined ? undefined : await registry.getManifest(from.repository, from.digest);
  if (from === undefined || stored === undefined) {
    throw new StagingError('registry', `${image} is not in the registry any more: push the app that it is of again`);
  }
  const manifest = JSON.parse(stored.body.toString('utf8')) as Manifest;
  for (const { mediaType, digest, size } of [manifest.config, ...manifest.layers]) {
    await registry.shareLayer(to.repository, { mediaType, digest, sizeBytes: size, diffId: '' }, from.repository);
  }
  for (const tag of to.tags(stored.digest)) {
    await registry.putManifest(to.repository, tag, stored.body, { mediaType: stored.mediaType });
  }
  return registry.reference(to.repository, stored.digest);
}
