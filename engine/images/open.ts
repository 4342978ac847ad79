/**
 * The images of a node, by `Images` in `../engine.ts`, over the content store.
 *
 * An image is a name in the scope `:images` for a manifest whose config and layers are here and unpacked; the name is
 * written last, so what has a name is whole. Everything else is read back from the content when the node opens it.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError, type EngineEvent, type Image, type Images, type PullOptions } from '../engine.ts';
import { namedWhenFull } from '../disk-full.ts';
import type { EngineOptions } from '../options.ts';
import { openContentStore } from './content.ts';
import { Layers } from './layers.ts';
import { type ImageDocument, type Manifest, parseImageConfig, parseManifest } from './manifest.ts';
import { type PullSource, Puller } from './pull.ts';
import { PullThrough } from './pull-through.ts';
import { pushImage } from './push.ts';
import { canonicalReference, parseReference } from './reference.ts';
import { accessKey, type RegistryAccess, RegistryClient } from './registry-client.ts';
import { BUILD_CACHE_SCOPE, DANGLING_SCOPE, findManifest, IMAGES_SCOPE } from './scopes.ts';
import type { CollectOptions, ContentStore } from './store.ts';
import type { UnpackLimits } from './unpack.ts';

/** Decides whether credentials open a repository of the node's own registry; the registry's own rule. */
export type LocalAuthorize = (request: {
  username?: string;
  password?: string;
  repository: string;
  action: 'pull';
}) => boolean | Promise<boolean>;

export interface OpenImagesOptions {
  /** The content lies in `<dataDirectory>/engine/content`. */
  dataDirectory: string;
  registries?: EngineOptions['registries'];
  mirrors?: EngineOptions['mirrors'];
  log?: EngineOptions['log'];
  /** Ids or manifest digests of images that containers are made from; they are never collected. */
  inUse?: () => Iterable<string>;
  onEvent?: (event: EngineEvent) => void;
  unpackLimits?: Partial<UnpackLimits>;
}

/** Connections and tokens are kept for so many registries and accounts. */
const MOST_CLIENTS = 32;

export interface NodeImages extends Images {
  readonly content: ContentStore;
  /** The cache of other registries, which the own registry serves too; pulls from those registries go through it. */
  readonly cache: PullThrough;
  /**
   * From now on images of this host (`host:port`) are the content store's own repositories: nothing is fetched or
   * copied, what the repository does not have does not exist. Without `authorize` every pull is allowed.
   */
  serveLocally(host: string, authorize?: LocalAuthorize): void;
  /** The image's configuration as it was made, with its history. */
  document(image: Image): Promise<ImageDocument>;
  /** When it was pulled, named, pushed or made a container of, whichever was last. */
  lastUsedAt(image: Image): number;
  /** Unpacked bytes of every layer, bottom first. */
  layerSizes(image: Image): number[];
  /**
   * Makes an image of a manifest whose blobs are in the content store: unpacks it and gives it the names; without one it
   * stays until it is removed or collected.
   */
  adopt(digest: string, references: readonly string[]): Promise<Image>;
  /**
   * The same for a step of a build: the image can be found by its id and made containers of, and is in no list. The caller keeps it
   * from collection, by a name in the scope `:build-cache`.
   */
  stage(digest: string): Promise<Image>;
  /** Sends the image that has the name to the registry that the name begins with; what is there already is not sent. */
  push(reference: string, options?: PullOptions): Promise<{ digest: string; sizeBytes: number }>;
  /** Every tag of the repository at its registry. */
  tags(reference: string, options?: PullOptions): Promise<string[]>;
  /** Asks a registry (`host[:port]`) whether it takes the credentials. @throws EngineError `unauthorized` */
  login(host: string, options: PullOptions): Promise<void>;
  /** The manifest or index that a registry has under the name, and nothing else of it. */
  remoteManifest(
    reference: string,
    options?: PullOptions,
  ): Promise<{ bytes: Buffer; digest: string; mediaType?: string }>;
  /** Removes content that no name, container or pull under way needs. For a slow period, never for a hot path. */
  collect(options?: Omit<CollectOptions, 'pinned'>): Promise<{ blobs: number; bytes: number }>;
  close(): Promise<void>;
}

export async function openImages(options: OpenImagesOptions): Promise<NodeImages> {
  const content = openContentStore(join(options.dataDirectory, 'engine', 'content'));
  const images = new LocalImages(content, options);
  await images.load();
  return images;
}

class LocalImages implements NodeImages {
  readonly content: ContentStore;
  readonly cache: PullThrough;
  readonly #options: OpenImagesOptions;
  readonly #layers: Layers;
  readonly #puller: Puller;
  /** By manifest digest. */
  readonly #images = new Map<string, Image>();
  readonly #local = new Map<string, LocalAuthorize | undefined>();
  readonly #clients = new Map<string, RegistryClient>();
  readonly #closing = new AbortController();

  constructor(content: ContentStore, options: OpenImagesOptions) {
    this.content = content;
    this.#options = options;
    this.#layers = new Layers(content, options.unpackLimits);
    this.#puller = new Puller(content, this.#layers);
    this.cache = new PullThrough({
      content,
      mirrors: options.mirrors ?? {},
      client: (host) => this.#client(host, {}),
      onStale: (repository, error) =>
        this.#log('warn', 'an upstream registry does not answer: serving what is here', {
          repository,
          error: error.message,
        }),
    });
  }

  async load(): Promise<void> {
    const names = [IMAGES_SCOPE, DANGLING_SCOPE, BUILD_CACHE_SCOPE].flatMap((scope) => this.content.names(scope));
    await Promise.all(
      [...new Set(names.map(({ digest }) => digest))].map(async (digest) => {
        try {
          await this.#remember(digest);
        } catch (error) {
          this.#log('error', 'an image cannot be read and is left out; pull it again', {
            digest,
            error: String(error),
          });
        }
      }),
    );
  }

  async pull(text: string, options: PullOptions = {}): Promise<Image> {
    try {
      return await this.#pull(text, options);
    } catch (error) {
      throw namedWhenFull(error);
    }
  }

  async #pull(text: string, options: PullOptions): Promise<Image> {
    const reference = parseReference(text);
    const canonical = canonicalReference(reference);
    if (reference.host === undefined) {
      const known = this.get(canonical);
      if (known !== undefined) return known;
      throw new EngineError(
        'not-found',
        `image ${JSON.stringify(text)} is not on this node, and it names no registry to pull from; write host/${text}`,
      );
    }
    const signal =
      options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal]);
    signal.throwIfAborted();
    const source = await this.#source(reference.host, reference.repository, options);
    const digest = await this.#puller.pull(source, reference.digest ?? reference.tag ?? 'latest', {
      signal,
      ...(options.architecture === undefined ? {} : { architecture: options.architecture }),
      ...(options.variant === undefined ? {} : { variant: options.variant }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    });
    const image = await this.#name(canonical, digest);
    this.#emit('image-pulled', canonical);
    return image;
  }

  async login(host: string, options: PullOptions): Promise<void> {
    await this.#client(host, options).login(options.signal);
  }

  async remoteManifest(
    text: string,
    options: PullOptions = {},
  ): Promise<{ bytes: Buffer; digest: string; mediaType?: string }> {
    const { host, repository, digest, tag = 'latest' } = parseReference(text);
    if (host === undefined) throw new EngineError('invalid', `image ${JSON.stringify(text)} names no registry`);
    const source = await this.#source(host, repository, options);
    return await source.manifest(digest ?? tag, options.signal);
  }

  async adopt(digest: string, references: readonly string[]): Promise<Image> {
    const names = references.map((text) => canonicalReference(parseReference(text)));
    await this.#puller.unpack(digest);
    if (names.length === 0 && (this.#images.get(digest)?.references.length ?? 0) === 0)
      await this.content.setName(DANGLING_SCOPE, digest, digest);
    for (const name of names) {
      await this.#name(name, digest);
      this.#emit('image-tagged', name);
    }
    return await this.#remember(digest);
  }

  async stage(digest: string): Promise<Image> {
    this.content.touch(digest);
    await this.#puller.unpack(digest);
    return await this.#remember(digest);
  }

  async push(text: string, options: PullOptions = {}): Promise<{ digest: string; sizeBytes: number }> {
    const reference = parseReference(text);
    const { host, repository, tag = 'latest' } = reference;
    const image = this.#images.get(this.content.getName(IMAGES_SCOPE, canonicalReference(reference)) ?? '');
    if (image === undefined) throw new EngineError('not-found', `image ${JSON.stringify(text)} is not on this node`);
    if (host === undefined)
      throw new EngineError(
        'invalid',
        `image ${JSON.stringify(text)} names no registry; tag it host/${text} and push that`,
      );
    const signal =
      options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal]);
    this.content.touch(image.digest);
    const sources = await this.#mountSources(host, repository, image);
    const push = { content: this.content, repository, tag, digest: image.digest, sources, signal };
    return await pushImage(this.#client(host, options), {
      ...push,
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    });
  }

  async tags(text: string, options: PullOptions = {}): Promise<string[]> {
    const { host, repository } = parseReference(text);
    if (host === undefined)
      throw new EngineError('invalid', `image ${JSON.stringify(text)} names no registry; write host/${text}`);
    if (!this.#local.has(host)) return await this.#client(host, options).tags(repository, options.signal);
    await this.#localSource(host, repository, options);
    const tags = await this.cache.tags(repository, options.signal);
    if (tags.length === 0) throw new EngineError('not-found', `${host} has no repository ${repository}`);
    return tags;
  }

  get(text: string): Image | undefined {
    const byContent = this.#byDigest(text);
    if (byContent !== undefined) return byContent;
    let reference: ReturnType<typeof parseReference>;
    try {
      reference = parseReference(text);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'invalid') return undefined;
      throw error;
    }
    const named = this.content.getName(IMAGES_SCOPE, canonicalReference(reference));
    return this.#images.get(named ?? reference.digest ?? '');
  }

  list(): Image[] {
    const dangling = new Set(this.content.names(DANGLING_SCOPE).map(({ digest }) => digest));
    return [...this.#images.values()].filter(({ digest, references }) => references.length > 0 || dangling.has(digest));
  }

  async tag(source: string, text: string): Promise<void> {
    const image = this.get(source);
    if (image === undefined) throw new EngineError('not-found', `image ${JSON.stringify(source)} is not on this node`);
    const reference = parseReference(text);
    if (reference.digest !== undefined) {
      throw new EngineError(
        'invalid',
        `image reference ${JSON.stringify(text)} names a digest, which cannot be given; use a tag`,
      );
    }
    await this.#name(canonicalReference(reference), image.digest);
    this.#emit('image-tagged', canonicalReference(reference));
  }

  async remove(text: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    const image = this.get(text);
    if (image === undefined) return;
    const byContent = this.#byDigest(text) === image;
    const canonical = byContent ? undefined : canonicalReference(parseReference(text));
    const names = canonical !== undefined && image.references.includes(canonical) ? [canonical] : [...image.references];
    const stays = names.length === image.references.length && this.#isUsed(image);
    if (stays && !force) {
      throw new EngineError(
        'conflict',
        `image ${text} is used by a container and has no other name; remove the container first`,
      );
    }
    if (stays) await this.content.setName(DANGLING_SCOPE, image.digest, image.digest);
    for (const name of names) await this.content.setName(IMAGES_SCOPE, name, undefined);
    if (!stays) await this.content.setName(DANGLING_SCOPE, image.digest, undefined);
    this.#refresh(image);
    if (image.references.length === 0 && !stays) this.#images.delete(image.digest);
    for (const name of names) this.#emit('image-removed', name);
  }

  async layerDirectories(image: Image): Promise<string[]> {
    this.content.touch(image.digest);
    const ids = image.config.layers;
    const missing = ids.filter((id) => this.#layers.directory(id) === undefined);
    if (missing.length > 0) await this.#puller.unpack(image.digest);
    const directories = ids.map((id) => {
      const directory = this.#layers.directory(id);
      if (directory === undefined)
        throw new EngineError('not-found', `layer ${id} of image ${image.id} is not on this node; pull it again`);
      return directory;
    });
    // overlayfs takes a directory once. What a layer that comes again brought below, it brings above as well.
    return [...new Set(directories.reverse())];
  }

  async document(image: Image): Promise<ImageDocument> {
    return parseImageConfig(await this.content.readAll(image.id));
  }

  lastUsedAt(image: Image): number {
    const path = this.content.path(image.digest);
    // The age of a blob begins anew with each use: see `touch`.
    return (path === undefined ? undefined : statSync(path, { throwIfNoEntry: false })?.mtimeMs) ?? 0;
  }

  layerSizes(image: Image): number[] {
    return image.config.layers.map((layer) => this.#layers.sizeBytes(layer));
  }

  serveLocally(host: string, authorize?: LocalAuthorize): void {
    if (this.cache.prefixOf(host) !== undefined)
      throw new EngineError('invalid', `mirror ${host}: it is this node's own registry`);
    this.#local.set(host, authorize);
  }

  async collect(options: Omit<CollectOptions, 'pinned'> = {}): Promise<{ blobs: number; bytes: number }> {
    const steps = new Set(this.content.names(BUILD_CACHE_SCOPE).map(({ digest }) => digest));
    for (const image of [...this.#images.values()]) {
      if (image.references.length > 0 || this.#isUsed(image)) continue;
      await this.content.setName(DANGLING_SCOPE, image.digest, undefined);
      if (!steps.has(image.digest)) this.#images.delete(image.digest);
    }
    return await this.content.collect({
      ...options,
      pinned: [...(this.#options.inUse?.() ?? []), ...this.#puller.pinned()],
    });
  }

  async close(): Promise<void> {
    this.#closing.abort(new EngineError('unavailable', 'the engine is being closed'));
    for (const client of this.#clients.values()) client.close();
    await this.#puller.idle();
    await this.#layers.close();
  }

  /** Repositories of the registry that have layers of the image, as far as the names of this node tell. */
  async #mountSources(host: string, repository: string, image: Image): Promise<Map<string, string[]>> {
    const sources = new Map<string, string[]>();
    const wanted = new Set(image.config.layers);
    for (const other of this.#images.values()) {
      if (!other.config.layers.some((layer) => wanted.has(layer))) continue;
      const manifest = parseManifest(await this.content.readAll(other.digest));
      if (manifest.kind !== 'manifest') continue;
      for (const reference of other.references) {
        const known = parseReference(reference);
        if (known.host !== host || known.repository === repository) continue;
        for (const { digest } of manifest.layers)
          sources.set(digest, [...(sources.get(digest) ?? []), known.repository]);
      }
    }
    return sources;
  }

  async #source(host: string, repository: string, options: PullOptions): Promise<PullSource> {
    if (this.#local.has(host)) return await this.#localSource(host, repository, options);
    // What one's own credentials open is not everybody's: it is not shared.
    const prefix = options.credentials === undefined ? this.cache.prefixOf(host) : undefined;
    return prefix === undefined
      ? this.#remoteSource(host, repository, options)
      : this.cache.source(`${prefix}/${repository}`);
  }

  #remoteSource(host: string, repository: string, options: PullOptions): PullSource {
    const client = this.#client(host, options);
    return {
      manifest: (reference, signal) => client.manifest(repository, reference, signal),
      blob: (blob, blobOptions) => client.blob(repository, blob, this.content, blobOptions),
    };
  }

  #client(host: string, options: PullOptions): RegistryClient {
    const configured = this.#options.registries?.[host] ?? {};
    const { username, password, address } = configured;
    const credentials =
      options.credentials ?? (username !== undefined && password !== undefined ? { username, password } : undefined);
    const ca = options.ca ?? configured.ca;
    const access: RegistryAccess = {
      host,
      ...(credentials === undefined ? {} : { credentials }),
      ...(ca === undefined ? {} : { ca }),
      ...(address === undefined ? {} : { address }),
    };
    const key = accessKey(access);
    const client = this.#clients.get(key) ?? new RegistryClient(access);
    this.#clients.delete(key);
    this.#clients.set(key, client);
    // The one that was longest not asked for goes; a pull that still has it ends with it, its idle connections time out.
    const [oldest] = this.#clients.keys();
    if (this.#clients.size > MOST_CLIENTS && oldest !== undefined) this.#clients.delete(oldest);
    return client;
  }

  async #localSource(host: string, repository: string, options: PullOptions): Promise<PullSource> {
    const authorize = this.#local.get(host);
    const configured = this.#options.registries?.[host] ?? {};
    const allowed = await (authorize?.({ ...configured, ...options.credentials, repository, action: 'pull' }) ?? true);
    if (!allowed)
      throw new EngineError(
        'unauthorized',
        `${host} refuses the credentials for ${repository}; check user name and password`,
      );
    if (this.cache.covers(repository)) return this.cache.source(repository);
    return {
      manifest: async (reference) => {
        const { content } = this;
        const digest = findManifest(content, repository, reference);
        if (digest === undefined)
          throw new EngineError('not-found', `${host} has no manifest ${reference} in ${repository}`);
        return { bytes: await content.readAll(digest), digest };
      },
      blob: async ({ digest }) => {
        throw new EngineError('not-found', `${host} has lost blob ${digest} of ${repository}; push the image again`);
      },
    };
  }

  /** Gives the name to the manifest; an image that loses its last name so stays until it is collected. */
  async #name(canonical: string, digest: string): Promise<Image> {
    const before = this.#images.get(this.content.getName(IMAGES_SCOPE, canonical) ?? '');
    if (before !== undefined && before.digest !== digest && before.references.length === 1) {
      await this.content.setName(DANGLING_SCOPE, before.digest, before.digest);
    }
    this.content.touch(digest);
    await this.content.setName(IMAGES_SCOPE, canonical, digest);
    await this.content.setName(DANGLING_SCOPE, digest, undefined);
    if (before !== undefined) this.#refresh(before);
    return await this.#remember(digest);
  }

  async #remember(digest: string): Promise<Image> {
    const known = this.#images.get(digest);
    if (known !== undefined) {
      this.#refresh(known);
      return known;
    }
    const manifest: Manifest = parseManifest(await this.content.readAll(digest));
    if (manifest.kind !== 'manifest') throw new EngineError('invalid', `${digest} is an index, not an image`);
    const { config, createdAt } = parseImageConfig(await this.content.readAll(manifest.config.digest));
    const sizeBytes = config.layers.reduce((sum, layer) => sum + this.#layers.sizeBytes(layer), 0);
    const image: Image = { id: manifest.config.digest, digest, references: [], sizeBytes, createdAt, config };
    this.#refresh(image);
    this.#images.set(digest, image);
    return image;
  }

  #refresh(image: Image): void {
    image.references = this.content
      .names(IMAGES_SCOPE)
      .flatMap(({ name, digest }) => (digest === image.digest ? [name] : []));
  }

  /** By digest or id, whole or its first 12 digits or more; undefined where several fit. */
  #byDigest(text: string): Image | undefined {
    const exact = this.#images.get(text);
    if (exact !== undefined) return exact;
    const hex = text.startsWith('sha256:') ? text.slice('sha256:'.length) : text;
    if (!/^[0-9a-f]{12,64}$/.test(hex)) return undefined;
    const fitting = [...this.#images.values()].filter(
      ({ id, digest }) => id.startsWith(`sha256:${hex}`) || digest.startsWith(`sha256:${hex}`),
    );
    // Two manifests of one config are one image to whoever asks by id.
    return new Set(fitting.map(({ id }) => id)).size === 1 ? fitting[0] : undefined;
  }

  #isUsed(image: Image): boolean {
    for (const used of this.#options.inUse?.() ?? []) {
      if (used === image.id || used === image.digest) return true;
    }
    return false;
  }

  #emit(type: EngineEvent['type'], id: string): void {
    this.#options.onEvent?.({ at: Date.now(), type, id });
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
    const log = this.#options.log ?? ((...line) => process.stderr.write(`${JSON.stringify(line)}\n`));
    log(level, message, fields);
  }
}
