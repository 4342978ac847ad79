/** The image of the databases in the registry, `postgres/server:<recipe hash>`: made by the first database that needs it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TarInput } from '#lib/tar/write.ts';
import { writeTar } from '#lib/tar/write.ts';
import { directoryEntry, fileEntry } from '../../staging/images/entries.ts';
import type { ImageConfigFile } from '../../staging/images/oci.ts';
import { pushLayer } from '../../staging/images/push-layer.ts';
import type { RegistryClient } from '../../staging/images/registry-client.ts';
import { writeImage } from '../../staging/images/single-layer.ts';
import { mmdebstrap } from '../../staging/stack/mmdebstrap.ts';
import { stackEntries, type StackNotes } from '../../staging/stack/normalise.ts';
import { DROPPED, type Recipe } from './recipe.ts';

const REPOSITORY = 'postgres/server';
const PROGRAM = 'usr/local/bin/start-postgres';

export interface ImageOptions {
  registry: RegistryClient;
  recipe: Recipe;
  /** Holds the unpacked tree while it works. */
  temporaryDirectory: string;
  signal?: AbortSignal;
}

/** @returns its reference. @throws StagingError where it cannot be made; who asks again tries again */
export async function ensureImage(options: ImageOptions): Promise<string> {
  const { registry, recipe } = options;
  const present = await registry.getImage<ImageConfigFile>(REPOSITORY, recipe.hash);
  return registry.reference(REPOSITORY, present?.digest ?? (await build(options)));
}

/** Images of older recipes that no database has. @param used  references */
export async function forgetUnused(registry: RegistryClient, used: readonly string[]): Promise<void> {
  for (const tag of await registry.tags(REPOSITORY)) {
    const stored = await registry.getManifest(REPOSITORY, tag);
    if (stored === undefined || used.includes(registry.reference(REPOSITORY, stored.digest))) continue;
    await registry.deleteManifest(REPOSITORY, stored.digest);
  }
}

async function build({ registry, recipe, temporaryDirectory, ...rest }: ImageOptions): Promise<string> {
  const signal = rest.signal === undefined ? {} : { signal: rest.signal };
  const { suite, packages, leftOut } = recipe;
  const notes: StackNotes = { status: '', offers: '', webServer: new Map() };
  const archive = mmdebstrap({
    action: 'make the image of databases',
    suite,
    packages,
    leftOut,
    temporaryDirectory,
    ...signal,
  });
  const entries = withServer(stackEntries(archive, notes, DROPPED));
  const layer = await pushLayer(registry, REPOSITORY, writeTar(entries, { encoding: 'latin1' }), signal);
  return await writeImage(registry, REPOSITORY, recipe.hash, {
    architecture: recipe.architecture,
    layers: [layer],
    run: {
      User: '1000:1000',
      Env: [
        `PATH=/usr/lib/postgresql/${recipe.major}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        'LANG=C.UTF-8',
        'PGHOST=/tmp',
      ],
      Entrypoint: [`/${PROGRAM}`],
      WorkingDir: '/',
      Labels: { 'org.opencontainers.image.title': 'postgres', 'dev.sampan.postgres.recipe': recipe.hash },
    },
    ...signal,
  });
}

async function* withServer(entries: AsyncIterable<TarInput>): AsyncGenerator<TarInput> {
  const seen = new Set<string>();
  for await (const entry of entries) {
    seen.add(entry.name);
    yield entry;
  }
  for (const name of ['usr/local', 'usr/local/bin', 'etc/postgresql', 'data', 'tls']) {
    if (!seen.has(name)) yield directoryEntry(name);
  }
  const file = (name: string) => readFile(join(import.meta.dirname, name));
  yield fileEntry(PROGRAM, await file('start.sh'), 0o755);
  for (const name of ['hba-tls.conf', 'hba-any.conf', 'ident.conf']) {
    yield fileEntry(`etc/postgresql/${name}`, await file(name));
  }
}
