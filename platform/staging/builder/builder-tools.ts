/**
 * What a build by somebody else's builder image needs of ours, as a layer over that image: a loader, libraries, tar, find and cat
 * of the stack, below `/cnb/tools`. They start by that loader, so that it does not matter which C library the image has, or
 * whether it has such programs.
 */
import { createGunzip } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { directoryEntry } from '../images/entries.ts';
import { type Layer, mediaTypes } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { readSingleLayer, writeImage } from '../images/single-layer.ts';
import { StagingError } from '../staging.ts';
import { BUILDER_REPOSITORY, type Builder } from './builder.ts';

export const TOOLS_REPOSITORY = 'sampan/builder-tools';

const DIRECTORY = 'cnb/tools';
const LOADERS: Readonly<Record<string, string>> = {
  amd64: 'ld-linux-x86-64.so.2',
  arm64: 'ld-linux-aarch64.so.1',
};
const LIBRARY = /^usr\/lib\/[a-z0-9_]+-linux-gnu\/([^/]+\.so(\.[^/]*)?)$/;
const PROGRAM = /^(?:usr\/)?bin\/(tar|find|cat)$/;

/** Words that start a program of the layer, or any other, with its loader and libraries. */
export function withLoader({ architecture }: Pick<Builder, 'architecture'>): string[] {
  const loader = LOADERS[architecture];
  if (loader === undefined)
    throw new StagingError('internal', `builder images cannot be used on ${architecture}: no loader is known for it`);
  return [`/${DIRECTORY}/lib/${loader}`, '--library-path', `/${DIRECTORY}/lib`];
}

/** `tar`, `find` or `cat`. */
export function toolCommand(builder: Pick<Builder, 'architecture'>, name: string): string[] {
  return [...withLoader(builder), `/${DIRECTORY}/bin/${name}`];
}

/** Made once for each stack. */
export async function ensureTools(registry: RegistryClient, builder: Builder, signal: AbortSignal): Promise<Layer> {
  const tag = builder.stack.digest.slice('sha256:'.length, 'sha256:'.length + 40);
  const present = await readSingleLayer(registry, TOOLS_REPOSITORY, tag);
  if (present !== undefined) return present.layer;
  const layer = await pushLayer(registry, TOOLS_REPOSITORY, writeTar(toolEntries(registry, builder)), { signal });
  await writeImage(registry, TOOLS_REPOSITORY, tag, {
    architecture: builder.architecture,
    layers: [layer],
    run: {},
    signal,
  });
  for (const other of await registry.tags(TOOLS_REPOSITORY, signal))
    if (other !== tag) await registry.deleteManifest(TOOLS_REPOSITORY, other, signal);
  return layer;
}

async function* toolEntries(registry: RegistryClient, { stack }: Builder): AsyncGenerator<TarInput> {
  const packed = await registry.readBlob(BUILDER_REPOSITORY, stack.digest);
  if (packed === undefined) throw new StagingError('registry', `registry lost layer ${stack.digest}`);
  const source = stack.mediaType === mediaTypes.layerGzip ? packed.pipe(createGunzip()) : packed;
  packed.on('error', (error) => source.destroy(error));
  for (const name of ['cnb', DIRECTORY, `${DIRECTORY}/bin`, `${DIRECTORY}/lib`]) yield directoryEntry(name);
  for await (const entry of readTar(source as AsyncIterable<Buffer>, { encoding: 'latin1' })) {
    const place = placeOf(entry.name);
    if (place === undefined) continue;
    const { type, mode, mtimeSeconds, sizeBytes } = entry;
    const header = { name: place, mode, mtimeSeconds, uid: 0, gid: 0 };
    if (type === 'file') yield { ...header, type, sizeBytes, data: entry.data() };
    // Between libraries of one directory, by their names alone.
    else if (type === 'symlink' || type === 'hard-link') {
      const target = (entry.linkName ?? '').split('/').at(-1) ?? '';
      const linkName = type === 'symlink' ? target : `${place.slice(0, place.lastIndexOf('/'))}/${target}`;
      yield { ...header, type, sizeBytes: 0, linkName };
    }
  }
}

function placeOf(name: string): string | undefined {
  const library = LIBRARY.exec(name)?.[1];
  if (library !== undefined) return `${DIRECTORY}/lib/${library}`;
  const program = PROGRAM.exec(name)?.[1];
  return program === undefined ? undefined : `${DIRECTORY}/bin/${program}`;
}
