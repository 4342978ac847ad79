/**
 * `docker save`, `load` and `import`. What is saved is an OCI layout and a Docker archive in one: both point to the same
 * blobs, which are those of the content store, so digests stay what they are.
 */
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { digestOf } from '#lib/digest.ts';
import { readTar } from '#lib/tar/read.ts';
import { encodeHeader, TAR_END } from '#lib/tar/write.ts';
import { paddingAfter } from '#lib/tar/tar.ts';
import { EngineError, type Image } from '../engine.ts';
import { DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parseManifest } from '../images/manifest.ts';
import type { NodeImages } from '../images/open.ts';
import { type Call, familiarName, findImage, hubName } from './call.ts';
import { DockerError } from './errors.ts';
import { Progress } from './progress.ts';

const LARGEST_DOCUMENT = 4 * 1024 * 1024;
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

interface Stored {
  digest: string;
  size: number;
}

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
  try {
    for await (const entry of readTar(await decompressed(call.request))) {
      const name = entry.name.replace(/^\.\//, '');
      if (entry.type !== 'file') continue;
      const { digest, sizeBytes } = await images.content.write(entry.data(), {});
      files.set(name, { digest, size: sizeBytes });
    }
    for (const [digest, names] of await manifestsOf(images, files)) {
      const image = await images.adopt(digest, names);
      for (const name of names) progress.say({ stream: `Loaded image: ${familiarName(name)}\n` });
      if (names.length === 0) progress.say({ stream: `Loaded image ID: ${image.id}\n` });
    }
    progress.end();
  } catch (error) {
    progress.end(error);
  }
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
  const config = await put(images, {
    created,
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    config: runConfig(call.query.getAll('changes')),
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
    history: [{ created, comment: call.query.get('message') || 'Imported from -' }],
  });
  const manifest = await put(images, {
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

/** Of Dockerfile's instructions those that change the configuration alone. */
function runConfig(changes: readonly string[]): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const change of changes) {
    const [, instruction = '', rest = ''] = /^\s*(\w+)\s+(.*)$/.exec(change) ?? [];
    const words = (): string[] => (rest.startsWith('[') ? (JSON.parse(rest) as string[]) : ['/bin/sh', '-c', rest]);
    const key = instruction.toUpperCase();
    if (key === 'CMD') config['Cmd'] = words();
    else if (key === 'ENTRYPOINT') config['Entrypoint'] = words();
    else if (key === 'ENV')
      config['Env'] = [...((config['Env'] as string[]) ?? []), rest.includes('=') ? rest : rest.replace(/\s+/, '=')];
    else if (key === 'WORKDIR') config['WorkingDir'] = rest;
    else if (key === 'USER') config['User'] = rest;
    else if (key === 'EXPOSE')
      config['ExposedPorts'] = {
        ...(config['ExposedPorts'] as object),
        [rest.includes('/') ? rest : `${rest}/tcp`]: {},
      };
    else
      throw new DockerError(
        400,
        `invalid parameter: changes: ${JSON.stringify(change)} is no instruction for an import`,
      );
  }
  return config;
}

/** Manifest digests with the names that the archive gives them. */
async function manifestsOf(images: NodeImages, files: ReadonlyMap<string, Stored>): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  const index = await documentOf(images, files, 'index.json');
  for (const { digest, annotations } of (
    index as { manifests?: { digest: string; annotations?: Record<string, string> }[] }
  )?.manifests ?? []) {
    const name = annotations?.['io.containerd.image.name'];
    found.set(digest, [...(found.get(digest) ?? []), ...(name === undefined ? [] : [name])]);
  }
  if (found.size > 0) return found;
  const archive = await documentOf(images, files, 'manifest.json');
  if (!Array.isArray(archive))
    throw new EngineError('invalid', 'the archive has neither index.json nor manifest.json: it is no image');
  for (const { Config, RepoTags, Layers } of archive as {
    Config: string;
    RepoTags?: string[] | null;
    Layers: string[];
  }[]) {
    const part = (name: string): Stored => {
      const stored = files.get(name);
      if (stored === undefined)
        throw new EngineError('invalid', `manifest.json names ${JSON.stringify(name)}, which is not in the archive`);
      return stored;
    };
    const manifest = await put(images, {
      schemaVersion: 2,
      mediaType: DOCKER_MANIFEST,
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', ...part(Config) },
      layers: Layers.map((layer) => ({ mediaType: 'application/vnd.docker.image.rootfs.diff.tar', ...part(layer) })),
    });
    found.set(manifest.digest, [...(found.get(manifest.digest) ?? []), ...(RepoTags ?? [])]);
  }
  return found;
}

async function documentOf(images: NodeImages, files: ReadonlyMap<string, Stored>, name: string): Promise<unknown> {
  const stored = files.get(name);
  if (stored === undefined) return undefined;
  if (stored.size > LARGEST_DOCUMENT)
    throw new EngineError('invalid', `${name} has more than ${LARGEST_DOCUMENT} bytes`);
  try {
    return JSON.parse((await images.content.readAll(stored.digest)).toString('utf8'));
  } catch (cause) {
    throw new EngineError('invalid', `${name} is no JSON`, { cause });
  }
}

async function put(images: NodeImages, value: unknown): Promise<Stored> {
  const bytes = Buffer.from(JSON.stringify(value));
  const { digest, sizeBytes } = await images.content.write(bytes, { digest: digestOf(bytes) });
  return { digest, size: sizeBytes };
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
