/**
 * Brings an image's content to the node: manifest for this platform, config and layers, each verified, each layer
 * unpacked. Several pulls of the same blob at the same time fetch it once.
 */
import { SingleFlight } from '#lib/single-flight.ts';
import { EngineError, type PullProgress } from '../engine.ts';
import type { Layers } from './layers.ts';
import {
  choosePlatform,
  type Descriptor,
  LARGEST_MANIFEST,
  type Manifest,
  parseImageConfig,
  parseManifest,
} from './manifest.ts';
import type { ContentStore } from './store.ts';

/** Where an image comes from: a registry, or the content store itself. */
export interface PullSource {
  manifest(reference: string, signal?: AbortSignal): Promise<{ bytes: Buffer; digest: string; mediaType?: string }>;
  /** Puts the blob into the content store. */
  blob(blob: Descriptor, options: { signal: AbortSignal; onProgress?: (current: number) => void }): Promise<void>;
  /** Told of a blob of the image that the content store has already. */
  known?(blob: Descriptor): Promise<void>;
}

interface PullWork {
  signal: AbortSignal;
  architecture?: string;
  variant?: string;
  onProgress?: (progress: PullProgress) => void;
}

const DOWNLOADS_AT_ONCE = 4;

export class Puller {
  readonly #content: ContentStore;
  readonly #layers: Layers;
  readonly #flights = new SingleFlight<void>();
  /** Manifests and their parts that a pull under way needs. */
  readonly #working = new Map<Promise<string>, Set<string>>();

  constructor(content: ContentStore, layers: Layers) {
    this.#content = content;
    this.#layers = layers;
  }

  /** @returns the digest of the manifest for this machine's platform */
  async pull(source: PullSource, reference: string, work: PullWork): Promise<string> {
    const pinned = new Set<string>();
    const pulling = this.#pull(source, reference, work, pinned);
    this.#working.set(pulling, pinned);
    try {
      return await pulling;
    } finally {
      this.#working.delete(pulling);
    }
  }

  /** Unpacks again what is missing of an image whose blobs are here. */
  async unpack(manifestDigest: string): Promise<void> {
    const manifest = parseManifest(await this.#content.readAll(manifestDigest));
    if (manifest.kind !== 'manifest') throw new EngineError('invalid', `${manifestDigest} is an index, not an image`);
    const { config } = parseImageConfig(await this.#content.readAll(manifest.config.digest));
    requireSameCount(manifest.layers.length, config.layers.length);
    await inParallel(config.layers, async (diffId, index) => {
      await this.#layers.ensure(manifest.layers[index]?.digest ?? '', diffId);
    });
  }

  *pinned(): Generator<string> {
    for (const digests of this.#working.values()) yield* digests;
  }

  async idle(): Promise<void> {
    await Promise.allSettled(this.#working.keys());
  }

  async #pull(source: PullSource, reference: string, work: PullWork, pinned: Set<string>): Promise<string> {
    const { digest, manifest } = await this.#manifest(source, reference, work);
    pinned.add(digest);
    const { config, layers } = manifest;
    for (const part of [config, ...layers]) pinned.add(part.digest);
    if (config.size > LARGEST_MANIFEST)
      throw new EngineError('invalid', `the image's config has ${config.size} bytes: at most ${LARGEST_MANIFEST}`);
    await this.#blob(source, config, { signal: work.signal });
    const document = parseImageConfig(await this.#content.readAll(config.digest));
    const diffIds = document.config.layers;
    requireSameCount(layers.length, diffIds.length);
    if (document.config.os !== 'linux')
      throw new EngineError('invalid', `the image is for ${document.config.os}; only linux runs here`);
    for (const { digest: waiting, size } of layers)
      work.onProgress?.({ digest: waiting, state: 'waiting', current: 0, total: size });
    await inParallel(layers, async (layer, index) => {
      const diffId = diffIds[index] ?? '';
      if (this.#content.touch(layer.digest) && this.#layers.directory(diffId) !== undefined) {
        await source.known?.(layer);
        work.onProgress?.({ digest: layer.digest, state: 'exists', current: layer.size, total: layer.size });
        return;
      }
      await this.#blob(source, layer, work);
      work.onProgress?.({ digest: layer.digest, state: 'unpacking', current: layer.size, total: layer.size });
      await this.#layers.ensure(layer.digest, diffId, work.signal);
      work.onProgress?.({ digest: layer.digest, state: 'done', current: layer.size, total: layer.size });
    });
    return digest;
  }

  async #manifest(
    source: PullSource,
    reference: string,
    { signal, architecture, variant }: PullWork,
  ): Promise<{ digest: string; manifest: Extract<Manifest, { kind: 'manifest' }> }> {
    let next = reference;
    for (let depth = 0; depth < 3; depth += 1) {
      const { bytes, digest, mediaType } = await source.manifest(next, signal);
      const manifest = parseManifest(bytes, mediaType);
      if (manifest.kind === 'manifest') {
        await this.#content.write(bytes, { digest });
        return { digest, manifest };
      }
      next = choosePlatform(manifest.manifests, architecture, variant).digest;
    }
    throw new EngineError('invalid', `${reference} is an index of indexes of indexes; no image was found`);
  }

  async #blob(source: PullSource, blob: Descriptor, { signal, onProgress }: PullWork): Promise<void> {
    const report = (state: PullProgress['state'], current: number) =>
      onProgress?.({ digest: blob.digest, state, current, total: blob.size });
    if (this.#content.touch(blob.digest)) {
      await source.known?.(blob);
      return;
    }
    await this.#flights.run(blob.digest, signal, async (shared) => {
      if (this.#content.touch(blob.digest)) return;
      report('downloading', 0);
      await source.blob(blob, { signal: shared, onProgress: (current) => report('downloading', current) });
    });
    report('downloaded', blob.size);
  }
}

function requireSameCount(layers: number, diffIds: number): void {
  if (layers === diffIds) return;
  throw new EngineError('invalid', `the image's manifest has ${layers} layers, its config ${diffIds}`);
}

/** In order of the list, a few at once. The first failure stops what has not begun, and is thrown when all have ended. */
export async function inParallel<Item>(
  items: readonly Item[],
  work: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries();
  let failure: { error: unknown } | undefined;
  const worker = async () => {
    for (const [index, item] of queue) {
      if (failure !== undefined) return;
      try {
        await work(item, index);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(DOWNLOADS_AT_ONCE, items.length) }, worker));
  if (failure !== undefined) throw failure.error;
}
