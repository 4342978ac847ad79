/**
 * The images of an archive whose files are in the content store, in every form that `docker save` and others have written:
 *
 *   index.json      an OCI layout (image-spec image-layout.md): Docker from 25, skopeo's `oci-archive`, buildx
 *   manifest.json   Docker from 1.10: a list of configurations, names and layers
 *   repositories    Docker before 1.10: names of layers, each with the configuration of what it tops and its parent
 *
 * The first that is there counts. What is read here came from outside; what does not fit is refused with `invalid`.
 */
import { digestOf } from '#lib/digest.ts';
import { EngineError } from '../engine.ts';
import { choosePlatform, type Descriptor, DOCKER_MANIFEST, parseManifest } from './manifest.ts';
import { isTag, parseReference } from './reference.ts';
import type { ContentStore } from './store.ts';
import { diffIdOf } from './unpack.ts';

export interface Stored {
  digest: string;
  size: number;
}

/** What of the content store is needed. */
export type ArchiveStore = Pick<ContentStore, 'path' | 'read' | 'readAll' | 'write'>;

type Files = ReadonlyMap<string, Stored>;
type Document = Readonly<Record<string, unknown>>;

const LARGEST_DOCUMENT = 4 * 1024 * 1024;
const MOST_PARENTS = 500;
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar';

/** Manifest digests with the names that the archive gives them. */
export async function imagesOfArchive(content: ArchiveStore, files: Files): Promise<Map<string, string[]>> {
  const index = await documentOf(content, files, 'index.json');
  if (index !== undefined) return await imagesOfLayout(content, files);
  const list = await documentOf(content, files, 'manifest.json');
  if (list !== undefined) return await imagesOfList(content, files, list);
  const repositories = await documentOf(content, files, 'repositories');
  if (repositories !== undefined) return await imagesOfRepositories(content, files, repositories);
  throw invalid('the archive has neither index.json nor manifest.json: it is no image');
}

async function imagesOfLayout(content: ArchiveStore, files: Files): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  const stored = files.get('index.json');
  const index = parseManifest(await content.readAll(stored?.digest ?? ''));
  if (index.kind !== 'index') throw invalid('index.json is no index');
  for (const descriptor of index.manifests) {
    const name = nameOf(descriptor);
    const digest = await imageOf(content, descriptor);
    found.set(digest, [...(found.get(digest) ?? []), ...(name === undefined ? [] : [name])]);
  }
  return found;
}

/** The manifest itself, or this machine's of an index; of an index that is not all here, the one that is. */
async function imageOf(content: ArchiveStore, descriptor: Descriptor, depth = 0): Promise<string> {
  if (content.path(descriptor.digest) === undefined)
    throw invalid(`index.json names ${descriptor.digest}, which is not in the archive`);
  const manifest = parseManifest(await content.readAll(descriptor.digest), descriptor.mediaType);
  if (manifest.kind === 'manifest') return descriptor.digest;
  if (depth > 2) throw invalid('index.json leads to indexes of indexes of indexes');
  const here = manifest.manifests.filter(({ digest }) => content.path(digest) !== undefined);
  return await imageOf(content, here.length === 1 && here[0] !== undefined ? here[0] : choosePlatform(here), depth + 1);
}

/** containerd's annotation holds the whole name; the specification's only where somebody put it there. */
function nameOf({ annotations }: Descriptor): string | undefined {
  const whole = annotations?.['io.containerd.image.name'];
  if (whole !== undefined) return whole;
  const name = annotations?.['org.opencontainers.image.ref.name'];
  return name !== undefined && !isTag(name) ? name : undefined;
}

async function imagesOfList(content: ArchiveStore, files: Files, list: unknown): Promise<Map<string, string[]>> {
  if (!Array.isArray(list)) throw invalid('manifest.json is no list');
  const found = new Map<string, string[]>();
  for (const [at, entry] of (list as unknown[]).entries()) {
    const { Config: config, RepoTags: tags, Layers: layers } = object(entry, `manifest.json[${at}]`);
    const digest = await putManifest(
      content,
      fileOf(files, config, 'manifest.json'),
      strings(layers ?? [], `manifest.json[${at}].Layers`).map((layer) => fileOf(files, layer, 'manifest.json')),
    );
    found.set(digest, [...(found.get(digest) ?? []), ...strings(tags ?? [], `manifest.json[${at}].RepoTags`)]);
  }
  return found;
}

async function imagesOfRepositories(
  content: ArchiveStore,
  files: Files,
  repositories: unknown,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const [repository, tags] of Object.entries(object(repositories, 'repositories'))) {
    for (const [tag, id] of Object.entries(object(tags, `repositories[${JSON.stringify(repository)}]`))) {
      const digest = await imageOfChain(content, files, String(id));
      const name = `${repository}:${tag}`;
      parseReference(name);
      found.set(digest, [...(found.get(digest) ?? []), name]);
    }
  }
  return found;
}

/** The configuration of an image in the old form is that of its topmost layer, with the layers below told by `parent`. */
async function imageOfChain(content: ArchiveStore, files: Files, top: string): Promise<string> {
  const chain: { document: Document; layer: Stored }[] = [];
  let next: string | undefined = top;
  while (next !== undefined) {
    if (chain.length > MOST_PARENTS) throw invalid(`image ${top} has more than ${MOST_PARENTS} layers`);
    const layer = fileOf(files, `${next}/layer.tar`, 'repositories');
    const document = object(await documentOf(content, files, `${next}/json`), `${next}/json`);
    chain.unshift({ document, layer });
    next = typeof document['parent'] === 'string' && document['parent'] !== '' ? document['parent'] : undefined;
  }
  const { id: _id, parent: _parent, Size: _size, layer_id: _layer, ...document } = chain.at(-1)?.document ?? {};
  const diffIds = [];
  for (const { layer } of chain) diffIds.push(await diffIdOf(await content.read(layer.digest), layer.size));
  const history = chain.map((step) => {
    const run = object(step.document['container_config'] ?? {}, 'container_config');
    const command = Array.isArray(run['Cmd']) ? { created_by: (run['Cmd'] as unknown[]).join(' ') } : {};
    return { created: step.document['created'], ...command };
  });
  const config = await putDocument(content, { ...document, rootfs: { type: 'layers', diff_ids: diffIds }, history });
  return await putManifest(
    content,
    config,
    chain.map(({ layer }) => layer),
  );
}

async function putManifest(content: ArchiveStore, config: Stored, layers: readonly Stored[]): Promise<string> {
  const { digest } = await putDocument(content, {
    schemaVersion: 2,
    mediaType: DOCKER_MANIFEST,
    config: { mediaType: CONFIG, ...config },
    layers: layers.map((layer) => ({ mediaType: LAYER, ...layer })),
  });
  return digest;
}

export async function putDocument(content: ArchiveStore, value: unknown): Promise<Stored> {
  const bytes = Buffer.from(JSON.stringify(value));
  const { digest, sizeBytes } = await content.write(bytes, { digest: digestOf(bytes) });
  return { digest, size: sizeBytes };
}

async function documentOf(content: ArchiveStore, files: Files, name: string): Promise<unknown> {
  const stored = files.get(name);
  if (stored === undefined) return undefined;
  if (stored.size > LARGEST_DOCUMENT) throw invalid(`${name} has more than ${LARGEST_DOCUMENT} bytes`);
  try {
    return JSON.parse((await content.readAll(stored.digest)).toString('utf8'));
  } catch (cause) {
    throw new EngineError('invalid', `${name} is no JSON`, { cause });
  }
}

function fileOf(files: Files, name: unknown, by: string): Stored {
  const stored = typeof name === 'string' ? files.get(name) : undefined;
  if (stored === undefined) throw invalid(`${by} names ${JSON.stringify(name)}, which is not in the archive`);
  return stored;
}

function object(value: unknown, path: string): Document {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${path} is no JSON object`);
  return value as Document;
}

function strings(value: unknown, path: string): string[] {
  if (!Array.isArray(value) || value.some((one) => typeof one !== 'string'))
    throw invalid(`${path} is no list of strings`);
  return value as string[];
}

function invalid(message: string): EngineError {
  return new EngineError('invalid', message);
}
