/**
 * `docker save`, `load` and `import`. What is saved is an OCI layout and a Docker archive in one: both point to the same
 * blobs, which are those of the content store, so digests stay what they are.
 */
import { once } from 'node:events';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { readTar } from '#lib/tar/read.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { paddingAfter } from '#lib/tar/tar.ts';
import { EngineError, type Image } from '../engine.ts';
import { imagesOfArchive, putDocument, type Stored } from '../images/archive.ts';
import { OCI_INDEX, OCI_MANIFEST, parseManifest } from '../images/manifest.ts';
import type { NodeImages } from '../images/open.ts';
import { type Call, familiarName, findImage, flag, hubName } from './call.ts';
import { changedConfig } from './config-changes.ts';
import { DockerError } from './errors.ts';
import { Progress } from './progress.ts';

const MOST_FILES = 10_000;
/** Smaller files are no layers worth a line. */
const LOUD_BYTES = 64 * 1024;
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

export async function saveImages(call: Call): Promise<void> {
  const names = call.path['name'] === undefined ? call.query.getAll('names') : [call.path['name']];
  if (names.length === 0) throw new DockerError(400, 'invalid parameter: names is empty: name an image');
  const wanted = new Map<Image, string[]>();
  for (const name of names) {
    const image = findImage(call, name);
    const tags = image.references.filter((one) =>
      [name, `${name}:latest`, hubName(name), `${hubName(name)}:latest`].includes(one),
    );
    wanted.set(image, [...(wanted.get(image) ?? []), ...tags]);
  }
  const { content } = nodeImages(call);
  const { response } = call;
  const write = async (bytes: Buffer): Promise<void> => {
    if (!response.write(bytes)) await once(response, 'drain', { signal: gone.signal });
  };
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const file = async (name: string, size: number, source: AsyncIterable<Buffer>): Promise<void> => {
    await write(encodeHeader({ name, type: 'file', mode: 0o644, uid: 0, gid: 0, sizeBytes: size, mtimeSeconds: 0 }));
    for await (const chunk of source) await write(chunk);
    await write(Buffer.alloc(paddingAfter(size)));
  };
  const document = async (name: string, value: unknown): Promise<void> => {
    const bytes = Buffer.from(JSON.stringify(value));
    await file(name, bytes.length, only(bytes));
  };
  const manifests = [];
  const archive = [];
  const blobs = new Map<string, number>();
  for (const [image, tags] of wanted) {
    const bytes = await content.readAll(image.digest);
    const manifest = parseManifest(bytes);
    if (manifest.kind !== 'manifest') continue;
    blobs.set(image.digest, bytes.length);
    for (const { digest, size } of [manifest.config, ...manifest.layers]) blobs.set(digest, size);
    const descriptor = { mediaType: manifest.mediaType, digest: image.digest, size: bytes.length };
    if (tags.length === 0) manifests.push(descriptor);
    for (const tag of tags) {
      const annotations = {
        'io.containerd.image.name': tag,
        'org.opencontainers.image.ref.name': tag.slice(tag.lastIndexOf(':') + 1),
      };
      manifests.push({ ...descriptor, annotations });
    }
    archive.push({
      Config: blobPath(manifest.config.digest),
      RepoTags: tags.map(familiarName),
      Layers: manifest.layers.map(({ digest }) => blobPath(digest)),
    });
  }
  response.writeHead(200, { 'content-type': 'application/x-tar' });
  for (const [digest, size] of blobs) await file(blobPath(digest), size, await content.read(digest));
  await document('index.json', { schemaVersion: 2, mediaType: OCI_INDEX, manifests });
  await document('manifest.json', archive);
  await document('oci-layout', { imageLayoutVersion: '1.0.0' });
  await write(TAR_END);
  response.end();
}

export async function loadImages(call: Call): Promise<void> {
  const images = nodeImages(call);
  const progress = new Progress(call);
  const files = new Map<string, Stored>();
  const links = new Map<string, string>();
  const quiet = flag(call, 'quiet');
  try {
    for await (const entry of readTar(await decompressed(call.request))) {
      const name = archivePath(entry.name);
      // Docker before 25 writes a layer once, and links where another image has it too.
      if (entry.type === 'symlink' || entry.type === 'hard-link') {
        const from = entry.type === 'symlink' ? posix.dirname(name) : '';
        links.set(name, archivePath(posix.join(from, entry.linkName ?? '')));
      }
      if (entry.type !== 'file') continue;
      if (files.size >= MOST_FILES) throw new EngineError('invalid', `the archive has more than ${MOST_FILES} files`);
      const { digest, sizeBytes } = await images.content.write(entry.data(), {});
      files.set(name, { digest, size: sizeBytes });
      if (!quiet && sizeBytes > LOUD_BYTES)
        progress.say({
          status: 'Loading layer',
          progressDetail: { current: sizeBytes, total: sizeBytes },
          id: digest.slice(7, 19),
        });
    }
    for (const [name, target] of links) {
      const file = files.get(target);
      if (file !== undefined && !files.has(name)) files.set(name, file);
    }
    for (const [digest, names] of await imagesOfArchive(images.content, files)) {
      const image = await images.adopt(digest, names.map(hubName));
      for (const name of names) progress.say({ stream: `Loaded image: ${familiarName(name)}\n` });
      if (names.length === 0) progress.say({ stream: `Loaded image ID: ${image.id}\n` });
    }
    progress.end();
  } catch (error) {
    progress.end(error);
  }
}

function archivePath(name: string): string {
  return posix.normalize(name).replace(/^(\.\/|\/)+/, '');
}

/** The body is the root file system. */
export async function importImage(call: Call): Promise<void> {
  if (call.query.get('fromSrc') !== '-')
    throw new DockerError(
      400,
      'invalid parameter: fromSrc is an address: give the archive itself, with docker import -',
    );
  const images = nodeImages(call);
  const repository = call.query.get('repo') ?? '';
  const tag = call.query.get('tag') ?? '';
  const names = repository === '' ? [] : [hubName(tag === '' ? repository : `${repository}:${tag}`)];
  const layer = await images.content.write(await decompressed(call.request), {});
  const created = new Date().toISOString();
  const config = await putDocument(images.content, {
    created,
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: changedConfig({}, call.query.getAll('changes')),
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
    history: [{ created, comment: call.query.get('message') || 'Imported from -' }],
  });
  const manifest = await putDocument(images.content, {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: CONFIG_TYPE, ...config },
    layers: [{ mediaType: LAYER_TYPE, digest: layer.digest, size: layer.sizeBytes }],
  });
  const progress = new Progress(call);
  const image = await images.adopt(manifest.digest, names);
  progress.say({ status: image.id });
  progress.end();
}

/** By its first bytes: gzip, zstd, or as it is. */
async function decompressed(source: Readable): Promise<AsyncIterable<Buffer>> {
  const iterator = (source as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const first = await iterator.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  const whole = async function* (): AsyncGenerator<Buffer> {
    if (head.length > 0) yield head;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  };
  const isGzip = head[0] === 0x1f && head[1] === 0x8b;
  const isZstd = head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528;
  if (!isGzip && !isZstd) return whole();
  const { Readable: Streams } = await import('node:stream');
  const inflate = isGzip ? createGunzip() : createZstdDecompress();
  const input = Streams.from(whole());
  input.on('error', (error) => inflate.destroy(error));
  return input.pipe(inflate) as AsyncIterable<Buffer>;
}

async function* only(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function nodeImages(call: Call): NodeImages {
  return call.engine.images as NodeImages;
}
