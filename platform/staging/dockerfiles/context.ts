/** A package as the context of a build: its files without the directory that they are below. */
import { readTar } from '#lib/tar/read.ts';
import { type TarInput, writeTar } from '#lib/tar/write.ts';
import { WORKSPACE } from '../bits/package-image.ts';
import type { Layer } from '../images/oci.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { StagingError } from '../staging.ts';

export async function* contextOf(
  registry: RegistryClient,
  repository: string,
  layer: Layer,
): AsyncGenerator<Uint8Array> {
  const source = await registry.readBlob(repository, layer.digest);
  if (source === undefined) throw new StagingError('registry', `registry lost layer ${layer.digest}`);
  yield* writeTar(entries(source as AsyncIterable<Buffer>), { encoding: 'latin1' });
}

async function* entries(source: AsyncIterable<Buffer>): AsyncGenerator<TarInput> {
  for await (const entry of readTar(source, { encoding: 'latin1' })) {
    const name = entry.name.slice(WORKSPACE.length + 1);
    if (name === '') continue;
    const { type, mode, uid, gid, sizeBytes, mtimeSeconds, linkName } = entry;
    const header = { name, type, mode, uid, gid, mtimeSeconds };
    if (type === 'file') yield { ...header, sizeBytes, data: entry.data() };
    else yield { ...header, sizeBytes: 0, ...(linkName === undefined ? {} : { linkName }) };
  }
}
