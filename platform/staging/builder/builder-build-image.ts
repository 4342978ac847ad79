/** The layers of a build by a builder image: its own, then ours that run it, then what `build-image.ts` puts there as well. */
import { writeTar } from '#lib/tar/write.ts';
import type { TarInput } from '#lib/tar/write.ts';
import type { Previous } from '../export/previous.ts';
import { directoryEntry } from '../images/entries.ts';
import type { Layer } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { LIFECYCLE, restoredEntries } from './build-image.ts';
import { BUILDER_REPOSITORY, type Builder } from './builder.ts';
import type { BuilderImage } from './builder-image.ts';
import { ensureTools, TOOLS_REPOSITORY, withLoader } from './builder-tools.ts';

export interface BuilderBuildImageOptions {
  registry: RegistryClient;
  repository: string;
  own: Builder;
  opened: BuilderImage;
  previous: Previous;
  source: Layer;
  signal: AbortSignal;
}

export function builderCommand(own: Builder): string[] {
  return [...withLoader(own), ...LIFECYCLE];
}

export async function buildImageLayers(options: BuilderBuildImageOptions): Promise<Layer[]> {
  const { registry, repository, own, opened, previous, source, signal } = options;
  const tools = await ensureTools(registry, own, signal);
  const node = own.seeds.filter(({ buildpack }) => buildpack === 'sampan/nodejs').map(({ layer }) => layer);
  const [restored] = await Promise.all([
    pushLayer(registry, repository, writeTar(frameEntries(previous)), { isShort: true, signal }),
    ...opened.image.layers.map((layer) => registry.shareLayer(repository, layer, opened.image.repository, signal)),
    ...[...node, own.lifecycle].map((layer) => registry.shareLayer(repository, layer, BUILDER_REPOSITORY, signal)),
    registry.shareLayer(repository, tools, TOOLS_REPOSITORY, signal),
  ]);
  const cached = previous.layers.filter(({ cache }) => cache).map(({ layer }) => layer);
  return [...opened.image.layers, ...node, own.lifecycle, tools, ...cached, restored, source];
}

/** Directories that the build's user writes to, whoever they are of in the image. */
function* frameEntries(previous: Previous): Generator<TarInput> {
  for (const name of ['home', 'platform']) yield directoryEntry(name);
  yield directoryEntry('home/vcap', 1000);
  yield* restoredEntries({ seeds: [] }, previous);
}
