/**
 * Buildpacks that were uploaded, each an image of one layer: `sampan/buildpacks:<guid>`. The zip is judged as source is;
 * its files become root's, so that no build changes them.
 */
import type { Layer } from './images/oci.ts';
import { ociArchitecture } from './images/oci.ts';
import { pushLayer } from './images/push-layer.ts';
import type { RegistryClient } from './images/registry-client.ts';
import { readSingleLayer, writeImage } from './images/single-layer.ts';
import type { WantedBuildpacks } from './lifecycle/protocol.ts';
import { PackageNote, packageTar, type Source } from './bits/package-tar.ts';
import { limits, SourceTree } from './bits/refuse.ts';
import { withZip } from './bits/zip-source.ts';
import { type BuildpackFiles, StagingError } from './staging.ts';

export const UPLOADED_REPOSITORY = 'sampan/buildpacks';

export function createBuildpackFiles(registry: RegistryClient): BuildpackFiles {
  return {
    store: async ({ buildpack, file, signal }) =>
      await withZip(file, limits, async (entries) => {
        const tree = new SourceTree();
        const files: Source[] = [];
        for (const entry of entries) {
          const { path, type, mode } = entry;
          if (type === 'directory') tree.addDirectory(path);
          else {
            tree.addFile(path, type);
            // Archives that were made where there is no such right do not have it.
            files.push({ ...entry, type, mode: PROGRAM.test(path) ? mode | 0o111 : mode });
          }
        }
        requirePrograms(files);
        const root = `cnb/uploaded/${buildpack}`;
        const tar = packageTar({ directories: tree.directories(), files, root, owner: 0 }, new PackageNote());
        const options = signal === undefined ? {} : { signal };
        const layer = await pushLayer(registry, UPLOADED_REPOSITORY, tar, options);
        const image = { architecture: ociArchitecture(), layers: [layer], run: {}, ...options };
        await writeImage(registry, UPLOADED_REPOSITORY, buildpack, image);
        return { checksum: layer.diffId, sizeBytes: layer.sizeBytes };
      }),
    remove: (buildpack) => registry.deleteManifest(UPLOADED_REPOSITORY, buildpack),
  };
}

/** Of those that a build may use. */
export async function uploadedLayers(registry: RegistryClient, { groups }: WantedBuildpacks): Promise<Layer[]> {
  const names = new Map(
    groups.flat().flatMap((entry) => ('directory' in entry ? [[entry.directory, entry.name]] : [])),
  );
  return await Promise.all(
    [...names].map(async ([guid, name]) => {
      const found = await readSingleLayer(registry, UPLOADED_REPOSITORY, guid);
      if (found !== undefined) return found.layer;
      throw new StagingError('internal', `buildpack ${name} is not in the registry: upload it again`);
    }),
  );
}

const PROGRAM = /^([^/]+\/)?bin\/[^/]+$/;

function requirePrograms(files: readonly Source[]): void {
  const programs = new Set(
    files.filter(({ path }) => PROGRAM.test(path)).map(({ path }) => path.split('/').at(-1) ?? ''),
  );
  const native = programs.has('detect') && programs.has('build');
  if (native || ['compile', 'finalize', 'supply'].some((name) => programs.has(name))) return;
  throw new StagingError(
    'invalid-bits',
    'the upload is no buildpack: it has neither bin/detect and bin/build nor bin/compile, bin/supply or bin/finalize',
  );
}
