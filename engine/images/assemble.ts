/**
 * A new image from another one: its layers, perhaps one more, and a configuration (image-spec config.md, manifest.md). Only
 * documents are written; layers that are here are named again.
 */
import { EngineError } from '../engine.ts';
import type { WrittenLayer } from '../written.ts';
import { type Descriptor, OCI_MANIFEST, parseManifest } from './manifest.ts';
import type { ContentStore } from './store.ts';

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar';

/** The `config` of an image configuration, with Docker's additions: what containers are made from. */
export type RunConfig = Readonly<Record<string, unknown>>;

export interface AssembleRequest {
  /** Digest of the base's manifest; absent for an image from nothing. */
  base?: string;
  layer?: WrittenLayer | undefined;
  config: RunConfig;
  createdBy: string;
  comment?: string;
  author?: string;
  createdAt: Date;
}

interface ConfigDocument {
  architecture?: string;
  os?: string;
  author?: string;
  created?: string;
  rootfs: { type: string; diff_ids: string[] };
  history?: Record<string, unknown>[];
}

/** @returns the digest of the manifest; nothing has its name yet. @throws EngineError `not-found` where a part of the base is gone */
export async function assembleImage(content: ContentStore, request: AssembleRequest): Promise<string> {
  const { base, layer, createdAt } = request;
  const from = base === undefined ? undefined : await readImage(content, base);
  const created = createdAt.toISOString();
  const layers = [...(from?.layers ?? [])];
  const diffIds = [...(from?.document.rootfs.diff_ids ?? [])];
  const history = baseHistory(from?.document);
  if (layer !== undefined) {
    layers.push({ mediaType: LAYER_TYPE, digest: layer.digest, size: layer.sizeBytes });
    diffIds.push(layer.digest);
  }
  for (const { digest } of layers)
    if (!content.touch(digest))
      throw new EngineError(
        'not-found',
        `layer ${digest} of the base image is not in the content store; pull it again`,
      );
  history.push({
    created,
    created_by: request.createdBy,
    ...(request.author === undefined ? {} : { author: request.author }),
    ...(request.comment === undefined ? {} : { comment: request.comment }),
    ...(layer === undefined ? { empty_layer: true } : {}),
  });
  const author = request.author ?? from?.document.author;
  const config = await put(content, {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    os: 'linux',
    ...from?.document,
    created,
    ...(author === undefined ? {} : { author }),
    config: request.config,
    rootfs: { type: 'layers', diff_ids: diffIds },
    history,
  });
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: { mediaType: CONFIG_TYPE, ...config }, layers };
  return (await put(content, manifest)).digest;
}

/** The `config` of an image as it was made, with the fields that the engine has no word for. */
export async function readRunConfig(content: ContentStore, imageId: string): Promise<RunConfig> {
  const document = JSON.parse((await content.readAll(imageId)).toString('utf8')) as { config?: RunConfig | null };
  return document.config ?? {};
}

async function readImage(
  content: ContentStore,
  digest: string,
): Promise<{ document: ConfigDocument; layers: Descriptor[] }> {
  const manifest = parseManifest(await content.readAll(digest));
  if (manifest.kind !== 'manifest') throw new EngineError('invalid', `${digest} is an index, not an image`);
  // It was checked when the image came here (`parseImageConfig`).
  const document = JSON.parse((await content.readAll(manifest.config.digest)).toString('utf8')) as ConfigDocument;
  const layers = manifest.layers.map(({ mediaType, digest: layer, size }) => ({
    mediaType: ociLayerType(mediaType),
    digest: layer,
    size,
  }));
  return { document, layers };
}

/** A step for each layer, also where the base tells of fewer: readers count one against the other. */
function baseHistory(document: ConfigDocument | undefined): Record<string, unknown>[] {
  const told = document?.history ?? [];
  const missing = (document?.rootfs.diff_ids.length ?? 0) - told.filter((step) => step['empty_layer'] !== true).length;
  const created = document?.created;
  const unknown = Array.from({ length: Math.max(missing, 0) }, () => ({
    ...(created === undefined ? {} : { created }),
    created_by: '',
  }));
  return [...unknown, ...told];
}

/** A manifest's media types are of one family (image-spec manifest.md). */
function ociLayerType(mediaType: string): string {
  if (!mediaType.startsWith('application/vnd.docker.image.rootfs.')) return mediaType;
  return mediaType.endsWith('.gzip')
    ? `${LAYER_TYPE}+gzip`
    : mediaType.endsWith('zstd')
      ? `${LAYER_TYPE}+zstd`
      : LAYER_TYPE;
}

async function put(content: ContentStore, value: unknown): Promise<{ digest: string; size: number }> {
  const { digest, sizeBytes } = await content.write(Buffer.from(JSON.stringify(value)), {});
  return { digest, size: sizeBytes };
}
