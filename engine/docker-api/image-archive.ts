/**
 * `docker save`, `load` and `import`. What is saved is an OCI layout and a Docker archive in one: both point to the same
 * blobs, which are those of the content store, so digests stay what they are.
 */
import { once } from 'node:events';
import { posix } from 'node:path';
import { readTar } from '#lib/tar/read.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { paddingAfter } from '#lib/tar/tar.ts';
import { readConfig, writeConfig } from '../build/config.ts';
import { decompressed } from '../build/decompress.ts';
import { download } from '../build/download.ts';
import { EngineError, type Image } from '../engine.ts';
import { imagesOfArchive, putDocument, type Stored } from '../images/archive.ts';
import { OCI_INDEX, OCI_MANIFEST, parseManifest } from '../images/manifest.ts';
import type { NodeImages } from '../images/open.ts';
import { type Call, familiarName, findImage, flag, hubName } from './call.ts';
import { applyChanges } from './config-changes.ts';
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

/** The root file system is the body, or what an address leads to. */
export async function importImage(call: Call): Promise<void> {
  const source = call.query.get('fromSrc') ?? '-';
  const config = readConfig({});
  applyChanges(config, call.query.getAll('changes'));
  const repository = call.query.get('repo') ?? '';
  const tag = call.query.get('tag') ?? '';
  const names = repository === '' ? [] : [hubName(tag === '' ? repository : `${repository}:${tag}`)];
  const gone = new AbortController();
  call.response.on('close', () => gone.abort(new DockerError(499, 'the client has gone')));
  const progress = new Progress(call);
  try {
    let archive: AsyncIterable<Uint8Array> = call.request;
    if (source !== '-') {
      call.request.resume();
      archive = (await download(addressOf(source), gone.signal)).body;
      progress.say({ status: `Downloading from ${source}` });
    }
    const comment = call.query.get('message') || `Imported from ${source}`;
    const image = await imageOf(nodeImages(call), archive, { names, config: writeConfig(config), comment });
    progress.say({ status: image.id });
    progress.end();
  } catch (error) {
    progress.end(error);
  }
}

/** An image of one layer. */
async function imageOf(
  images: NodeImages,
  archive: AsyncIterable<Uint8Array>,
  { names, config, comment }: { names: string[]; config: Record<string, unknown>; comment: string },
): Promise<Image> {
  const layer = await images.content.write(await decompressed(archive), {});
  const created = new Date().toISOString();
  const document = await putDocument(images.content, {
    created,
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
    history: [{ created, comment }],
  });
  const manifest = await putDocument(images.content, {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: CONFIG_TYPE, ...document },
    layers: [{ mediaType: LAYER_TYPE, digest: layer.digest, size: layer.sizeBytes }],
  });
  return await images.adopt(manifest.digest, names);
}

/** Of an address without a scheme dockerd takes http. */
function addressOf(source: string): string {
  return source.includes('://') ? source : `http://${source}`;
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
