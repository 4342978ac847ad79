/** Source bits: what was pushed, as package images in the registry. See `Bits` in `staging.ts`. */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { TarInput } from '#lib/tar/write.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { paddingAfter } from '#lib/tar/tar.ts';
import { fileTime, TIMED_PREFIX } from '../images/file-time.ts';
import { CREATED_SECONDS } from '../images/oci.ts';
import { pushLayer } from '../images/push-layer.ts';
import type { RegistryClient } from '../images/registry-client.ts';
import { type Bits, type Resource, StagingError } from '../staging.ts';
import { zipOfPackage } from './download.ts';
import { appRepository, type IndexEntry, NEWEST_PACKAGE, readIndex, readPackage, WORKSPACE, writePackage } from './package-image.ts';
import { type BitsLimits, limits as defaultLimits, refuse, SourceTree, sourcePath } from './refuse.ts';
import { withZip, type ZipFile } from './zip-source.ts';

/** Cloud Foundry matches nothing smaller or larger: telling would cost more than sending. */
const MATCHED = { least: 1, most: 512 * 1024 * 1024 };

/** A file of the package to be, from the zip or from an earlier package. */
interface Source {
  path: string;
  type: 'file' | 'link';
  mode: number;
  sizeBytes: number;
  sha1?: string;
  read(): AsyncIterable<Uint8Array>;
}

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

    async store({ app, zip, resources }) {
      const repository = appRepository(app);
      const known = resources.length === 0 ? new Map<string, Known>() : await knownFiles(registry, [app]);
      if (zip === undefined) return await storeFiles(registry, repository, [], resourcesOf(registry, resources, known), limits);
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

function resourcesOf(registry: RegistryClient, resources: readonly Resource[], known: ReadonlyMap<string, Known>): Source[] {
  return resources.map((resource) => {
    const path = sourcePath(resource.path);
    const found = known.get(resource.sha1);
    if (found === undefined || found.entry.sizeBytes !== resource.sizeBytes) {
      throw refuse(resource.path, `is said to be here with sha1 ${JSON.stringify(resource.sha1)}, but is not: send it in the zip`);
    }
    const { offset, sizeBytes } = found.entry;
    return {
      path,
      type: 'file',
      mode: (resource.mode & 0o777) === 0 ? 0o644 : (resource.mode & 0o777) | 0o600,
      sizeBytes,
      sha1: resource.sha1,
      async *read() {
        if (sizeBytes === 0) return;
        const range = { start: offset, end: offset + sizeBytes - 1 };
        const stream = await registry.readBlob(found.repository, found.layer, range);
        if (stream === undefined) throw new StagingError('registry', `registry lost layer ${found.layer}`);
        yield* stream as AsyncIterable<Buffer>;
      },
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
  for (const { path, type, mode, sizeBytes, read } of zipped) {
    if (type === 'directory') tree.addDirectory(path);
    else {
      tree.addFile(path, type);
      files.push({ path, type, mode, sizeBytes, read });
    }
  }
  for (const source of matched) {
    // What was sent wins over what was matched.
    if (tree.has(source.path)) continue;
    tree.addFile(source.path, 'file');
    files.push(source);
  }
  if (files.length === 0) throw new StagingError('invalid-bits', 'the upload holds no files: push a directory that has some');
  if (files.length > limits.files) throw new StagingError('too-large', `the app has ${files.length} files, more than ${limits.files}`);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  if (sizeBytes > limits.bytes) throw new StagingError('too-large', `the app has ${sizeBytes} bytes, more than ${limits.bytes}`);

  const index: IndexEntry[] = [];
  const tar = packageTar(tree.directories(), files, index);
  const layer = await pushLayer(registry, repository, tar, { compression: 'none' });
  const digest = await writePackage(registry, repository, layer, index, sizeBytes);
  return { image: registry.reference(repository, digest), checksum: layer.diffId, sizeBytes };
}

/** Writes by hand what `writeTar` would, as the index needs the offsets. Directories come before what is in them. */
async function* packageTar(directories: string[], files: Source[], index: IndexEntry[]): AsyncGenerator<Uint8Array> {
  const owner = { uid: 1000, gid: 1000, mtimeSeconds: CREATED_SECONDS };
  let offset = 0;
  const count = <Bytes extends Uint8Array>(bytes: Bytes): Bytes => {
    offset += bytes.byteLength;
    return bytes;
  };
  const names: { name: string; source?: Source }[] = [
    ...directories.map((name) => ({ name })),
    ...files.map((source) => ({ name: source.path, source })),
  ];
  names.sort((left, right) => comparePaths(left.name, right.name));
  yield count(encodeHeader({ ...owner, name: WORKSPACE, type: 'directory', mode: 0o755, sizeBytes: 0 }));
  for (const { name, source } of names) {
    const header: TarInput = { ...owner, name: `${WORKSPACE}/${name}`, type: 'directory', mode: 0o755, sizeBytes: 0 };
    if (source === undefined) {
      yield count(encodeHeader(header));
    } else if (source.type === 'link') {
      const target = Buffer.concat(await Array.fromAsync(source.read())).toString('utf8');
      yield count(encodeHeader({ ...header, type: 'symlink', mode: 0o777, linkName: target }));
    } else {
      const sha1 = createHash('sha1');
      const iterator = source.read()[Symbol.asyncIterator]();
      const prefix: Uint8Array[] = [];
      let held = 0;
      for (let next = held < TIMED_PREFIX ? await iterator.next() : undefined; next !== undefined && next.done !== true; ) {
        prefix.push(next.value);
        held += next.value.byteLength;
        next = held < TIMED_PREFIX ? await iterator.next() : undefined;
      }
      const first = prefix.length === 1 && prefix[0] !== undefined ? prefix[0] : Buffer.concat(prefix);
      const mtimeSeconds = fileTime(first, source.sizeBytes);
      yield count(encodeHeader({ ...header, type: 'file', mode: source.mode, sizeBytes: source.sizeBytes, mtimeSeconds }));
      const start = offset;
      sha1.update(first);
      if (first.byteLength > 0) yield count(first);
      if (held >= TIMED_PREFIX) {
        for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
          sha1.update(next.value);
          yield count(next.value);
        }
      }
      if (offset - start !== source.sizeBytes) throw refuse(source.path, `has other bytes than its ${source.sizeBytes}`);
      const digest = sha1.digest('hex');
      if (source.sha1 !== undefined && source.sha1 !== digest) throw refuse(source.path, 'has another content than its sha1 says');
      index.push({ path: name, sha1: digest, sizeBytes: source.sizeBytes, mode: source.mode, offset: start });
      const padding = paddingAfter(source.sizeBytes);
      if (padding > 0) yield count(TAR_END.subarray(0, padding));
    }
  }
  yield TAR_END;
}

/** Bytewise by component, as GNU tar's --sort=name walks a tree: a directory is followed by all that is in it. */
export function comparePaths(left: string, right: string): number {
  const a = left.split('/');
  const b = right.split('/');
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const order = Buffer.compare(Buffer.from(a[index] ?? ''), Buffer.from(b[index] ?? ''));
    if (order !== 0) return order;
  }
  return a.length - b.length;
}
