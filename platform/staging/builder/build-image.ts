/**
 * The image of one build pod: builder, cached layers of the last build, their metadata, the source. Nothing is copied:
 * the node mounts layers that it mostly has unpacked already. Its tag goes when the build is over.
 */
import { writeTar } from '#lib/tar/write.ts';
import type { TarInput } from '#lib/tar/write.ts';
import { directoryEntry, fileEntry } from '../images/entries.ts';
import type { Layer } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { writeImage } from '../images/single-layer.ts';
import type { Previous } from '../export/previous.ts';
import { type Runtime, RUNTIMES_REPOSITORY } from '../runtimes/runtimes.ts';
import { STACK_ID } from '../stack/recipe.ts';
import { UPLOADED_REPOSITORY } from '../uploaded-buildpacks.ts';
import { BUILDER_REPOSITORY, type Builder } from './builder.ts';

/** The build pod's program; it looks at what is opened by functions of the C library. */
export const LIFECYCLE = [
  '/cnb/node',
  '--experimental-ffi',
  '--disable-warning=ExperimentalWarning',
  '/cnb/lifecycle/main.js',
] as const;

export interface BuildImageOptions {
  registry: RegistryClient;
  repository: string;
  tag: string;
  builder: Builder;
  runtimes: readonly Runtime[];
  previous: Previous;
  /** Of buildpacks that administrators brought. */
  uploaded: readonly Layer[];
  source: Layer;
  signal: AbortSignal;
}

/** Returns the manifest's digest. */
export async function writeBuildImage(options: BuildImageOptions): Promise<string> {
  const { registry, repository, builder, previous, uploaded, source, signal } = options;
  const runtimes = options.runtimes
    .flatMap(({ launch, build }) => [launch, build])
    .filter((each) => each !== undefined);
  const shipped = [builder.stack, ...builder.seeds.map(({ layer }) => layer), builder.lifecycle];
  const cached = previous.layers.filter(({ cache }) => cache).map(({ layer }) => layer);
  const [restored] = await Promise.all([
    pushLayer(registry, repository, writeTar(restoredEntries(builder, previous)), { isShort: true, signal }),
    ...shipped.map((layer) => registry.shareLayer(repository, layer, BUILDER_REPOSITORY, signal)),
    ...runtimes.map((layer) => registry.shareLayer(repository, layer, RUNTIMES_REPOSITORY, signal)),
    ...uploaded.map((layer) => registry.shareLayer(repository, layer, UPLOADED_REPOSITORY, signal)),
  ]);
  return await writeImage(registry, repository, options.tag, {
    architecture: builder.architecture,
    layers: [...shipped, ...runtimes, ...uploaded, ...cached, restored, source],
    run: {
      User: '1000:1000',
      WorkingDir: '/workspace',
      Env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'HOME=/home/vcap',
        'LANG=C.UTF-8',
        `CNB_STACK_ID=${STACK_ID}`,
      ],
      Entrypoint: [...LIFECYCLE],
    },
    signal,
  });
}

/** Metadata of the layers that buildpacks find, in files that they may overwrite. */
export function* restoredEntries(builder: Pick<Builder, 'seeds'>, previous: Previous): Generator<TarInput> {
  const files = new Map<string, string>();
  for (const { buildpack, name, metadata } of [...builder.seeds, ...previous.layers]) {
    files.set(`${buildpack.replaceAll('/', '_')}/${name}.toml`, metadata);
  }
  for (const [buildpack, store] of Object.entries(previous.stores)) {
    files.set(`${buildpack.replaceAll('/', '_')}/store.toml`, store);
  }
  yield directoryEntry('layers', 1000);
  let directory = '';
  for (const [path, content] of [...files].sort(([left], [right]) => (left < right ? -1 : 1))) {
    const parent = path.slice(0, path.indexOf('/'));
    if (parent !== directory) yield directoryEntry(`layers/${parent}`, 1000);
    directory = parent;
    yield { ...fileEntry(`layers/${path}`, content), uid: 1000, gid: 1000 };
  }
}
