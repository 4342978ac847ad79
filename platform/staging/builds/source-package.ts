/** The package that a build is of: a layer with the source, in the app's own repository. */
import type { Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type Build, packages } from '../../resources/types.ts';
import { type IndexEntry, readIndex, readPackage } from '../bits/package-image.ts';
import type { Layer } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';

export interface SourcePackage {
  layer: Layer;
  shape: string | undefined;
  index: () => Promise<readonly IndexEntry[]>;
}

export async function sourcePackage(
  { client, registry }: { client: Client; registry: RegistryClient },
  build: Stored<Build>,
  repository: string,
): Promise<SourcePackage> {
  const item = await client.get(packages, build.spec.package, build.metadata.namespace);
  const image = registry.parse(item.spec.image ?? '');
  const found = image === undefined ? undefined : await readPackage(registry, image.repository, image.digest);
  if (image === undefined || found === undefined) {
    throw new StagingError('internal', `package ${build.spec.package} is not in the registry: push the app again`);
  }
  // Nearly every build asks for it: on its way before anybody does.
  const index: Promise<readonly IndexEntry[]> = readIndex(registry, image.repository, found.manifest);
  index.catch(() => undefined);
  await registry.shareLayer(repository, found.layer, image.repository);
  return { layer: found.layer, shape: found.config.shape, index: () => index };
}
