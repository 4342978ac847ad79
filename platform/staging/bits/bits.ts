/** Source bits: what was pushed, as package images in the registry. See `Bits` in `staging.ts`. */
import type { Readable } from 'node:stream';
import { CACHE_TAG } from '../export/previous.ts';
import { copyImage } from '../images/copy-image.ts';
import { makeLayer, pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { type Bits, type Resource, StagingError } from '../staging.ts';
import { zipOfPackage } from './download.ts';
import {
  appRepository,
  type IndexEntry,
  NEWEST_PACKAGE,
  packageTag,
  readIndex,
  readPackage,
  writePackage,
} from './package-image.ts';
import { PackageNote, packageTar, type Source } from './package-tar.ts';
import { LayerReader } from './layer-reader.ts';
import { type BitsLimits, limits as defaultLimits, refuse, SourceTree, sourcePath } from './refuse.ts';
import { withZip, type ZipFile } from './zip-source.ts';

/** Cloud Foundry matches nothing smaller or larger: telling would cost more than sending. */
const MATCHED = { least: 1, most: 512 * 1024 * 1024 };
/** A package of fewer bytes is made in memory. */
const SHORT = 4 * 1024 * 1024;

interface Known {
  repository: string;
  layer: string;
  entry: IndexEntry;
}

export function createBits(registry: RegistryClient, limits: BitsLimits = defaultLimits): Bits {
  return {
    async match(resources, apps) {
      const known = await knownFiles(registry, apps);
      return resources.filter(({ sha1, sizeBytes }) => {
        if (sizeBytes < MATCHED.least || sizeBytes > MATCHED.most) return false;
        return known.get(sha1)?.entry.sizeBytes === sizeBytes;
      });
    },

    async store({ app, zip, resources, sources = [] }) {
      const repository = appRepository(app);
      const known = resources.length === 0 ? new Map<string, Known>() : await knownFiles(registry, [...sources, app]);
      if (zip === undefined)
        return await storeFiles(registry, repository, [], resourcesOf(registry, resources, known), limits);
      return await withZip(zip, limits, async (files) => {
        return await storeFiles(registry, repository, files, resourcesOf(registry, resources, known), limits);
      });
    },

    async read(image): Promise<Readable> {
      const parsed = registry.parse(image);
      const found = parsed === undefined ? undefined : await readPackage(registry, parsed.repository, parsed.digest);
      if (parsed === undefined || found === undefined) {
        throw new StagingError('registry', `package ${image} is not in the registry: push the app again`);
      }
      const entries = await readIndex(registry, parsed.repository, found.manifest);
      return zipOfPackage(registry, parsed.repository, found.layer, entries.length);
    },

    copy: ({ image, app }) =>
      copyImage(registry, image, {
        repository: appRepository(app),
        tags: (digest) => [packageTag(digest), NEWEST_PACKAGE],
      }),

    forgetBuilds: (app) => registry.deleteManifest(appRepository(app), CACHE_TAG),

    async remove(app) {
      const repository = appRepository(app);
      for (const tag of await registry.tags(repository)) await registry.deleteManifest(repository, tag);
    },
  };
}

/** By sha1, from the newest package of each app. */
async function knownFiles(registry: RegistryClient, apps: readonly string[]): Promise<Map<string, Known>> {
  const known = new Map<string, Known>();
  for (const app of apps) {
    const repository = appRepository(app);
    const found = await readPackage(registry, repository, NEWEST_PACKAGE);
    if (found === undefined) continue;
    for (const entry of await readIndex(registry, repository, found.manifest)) {
      known.set(entry.sha1, { repository, layer: found.layer.digest, entry });
    }
  }
  return known;
}

function resourcesOf(
  registry: RegistryClient,
  resources: readonly Resource[],
  known: ReadonlyMap<string, Known>,
): Source[] {
  const readers = new Map<string, LayerReader>();
  return resources.map((resource) => {
    const path = sourcePath(resource.path);
    const found = known.get(resource.sha1);
    if (found === undefined || found.entry.sizeBytes !== resource.sizeBytes) {
      throw refuse(
        resource.path,
        `is said to be here with sha1 ${JSON.stringify(resource.sha1)}, but is not: send it in the zip`,
      );
    }
    const { offset, sizeBytes } = found.entry;
    const reader = readers.get(found.layer) ?? new LayerReader(registry, found.repository, found.layer);
    readers.set(found.layer, reader);
    return {
      path,
      type: 'file',
      mode: (resource.mode & 0o777) === 0 ? 0o644 : (resource.mode & 0o777) | 0o600,
      sizeBytes,
      sha1: resource.sha1,
      read: () => reader.read(offset, sizeBytes),
    };
  });
}

async function storeFiles(
  registry: RegistryClient,
  repository: string,
  zipped: readonly ZipFile[],
  matched: readonly Source[],
  limits: BitsLimits,
): Promise<{ image: string; checksum: string; sizeBytes: number }> {
  const tree = new SourceTree();
  const files: Source[] = [];
  for (const file of zipped) {
    const { path, type } = file;
    if (type === 'directory') tree.addDirectory(path);
    else {
      tree.addFile(path, type);
      files.push({ ...file, type });
    }
  }
  for (const source of matched) {
    // What was sent wins over what was matched.
    if (tree.has(source.path)) continue;
    tree.addFile(source.path, 'file');
    files.push(source);
  }
  if (files.length === 0)
    throw new StagingError('invalid-bits', 'the upload holds no files: push a directory that has some');
  if (files.length > limits.files)
    throw new StagingError('too-large', `the app has ${files.length} files, more than ${limits.files}`);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  if (sizeBytes > limits.bytes)
    throw new StagingError('too-large', `the app has ${sizeBytes} bytes, more than ${limits.bytes}`);

  const note = new PackageNote();
  const tar = packageTar({ directories: tree.directories(), files }, note);
  // With a header and the padding of each file.
  const isShort = sizeBytes + files.length * 1024 < SHORT;
  const { layer, bytes } = isShort
    ? await makeLayer(tar, { compression: 'none' })
    : { layer: await pushLayer(registry, repository, tar, { compression: 'none' }), bytes: undefined };
  const { index, shape } = note;
  const digest = await writePackage(registry, repository, { layer, bytes, sizeBytes, entries: index, shape });
  return { image: registry.reference(repository, digest), checksum: layer.diffId, sizeBytes };
}
