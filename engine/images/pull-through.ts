/**
 * The node's registry as a cache of other registries. Below `<prefix>/` its repositories are those of the registry that
 * the prefix stands for: what is not here is fetched from there, kept, and served from here from then on.
 *
 * - Content never changes, so what is named by digest is asked for once. A tag is asked for by HEAD at each use, and
 *   its manifest fetched when it means another; callers at the same time share one question and one fetch.
 * - Where upstream does not answer, what is here serves. What upstream says is gone is gone here too, as far as tags
 *   say; what it does not let us have is not served under a tag.
 * - A blob goes to its readers while it is written, each at their own speed; the last byte waits for the digest, so
 *   nobody takes what is not whole for whole. A fetch ends when its last reader leaves.
 * - What is kept are the names and blobs of any repository, and a mark (`:mirrored/…`) that says that blobs may be
 *   missing. Tags that nobody pulled for a week go (`retention.ts`), and what they held with them.
 *
 * Rights are not asked here: callers do that, for their own repository, before.
 */
import { Readable } from 'node:stream';
import { isDigest } from '#lib/digest.ts';
import { SingleFlight, untilAborted } from '#lib/single-flight.ts';
import { EngineError } from '../engine.ts';
import { parseManifest } from './manifest.ts';
import type { PullSource } from './pull.ts';
import type { RegistryClient } from './registry-client.ts';
import { isHost, isRepository } from './reference.ts';
import { findManifest, linksScope, manifestsScope, mirroredScope, referrersScope } from './scopes.ts';
import type { ContentStore } from './store.ts';

/** Upstream's word on a tag is waited for so long where an answer is here already. */
const REVALIDATION_MILLISECONDS = 10_000;
const READ_BYTES = 512 * 1024;

export interface PullThroughOptions {
  content: ContentStore;
  /** Host (`host[:port]`) by prefix. */
  mirrors: Readonly<Record<string, string>>;
  /** With the credentials that are configured for the host. */
  client: (host: string) => RegistryClient;
  /** Told of an upstream that does not answer while what is here serves. */
  onStale?: (repository: string, error: EngineError) => void;
}

interface Upstream {
  client: RegistryClient;
  repository: string;
}

/** `[PREFIX=]HOST`, as a flag has it. @throws EngineError `invalid` */
export function parseMirror(text: string): { prefix: string; host: string } {
  const at = text.indexOf('=');
  const host = text.slice(at + 1);
  const prefix = at < 0 ? host : text.slice(0, at);
  if (!isHost(host))
    throw new EngineError('invalid', `mirror ${JSON.stringify(text)}: ${JSON.stringify(host)} is no host[:port]`);
  if (!isRepository(prefix)) {
    throw new EngineError(
      'invalid',
      `mirror ${JSON.stringify(text)}: repositories cannot begin with ${JSON.stringify(prefix)}; write name=${host} with a name of lowercase letters, digits, dots and dashes`,
    );
  }
  return { prefix, host };
}

export class PullThrough {
  readonly #options: PullThroughOptions;
  readonly #manifests = new SingleFlight<void>();
  readonly #blobs = new SingleFlight<void>();
  readonly #fetches = new Map<string, Fetch>();

  /** @throws EngineError `invalid` on a prefix or host that cannot be */
  constructor(options: PullThroughOptions) {
    this.#options = options;
    for (const [prefix, host] of Object.entries(options.mirrors)) parseMirror(`${prefix}=${host}`);
  }

  /** Whether the repository is another registry's. */
  covers(repository: string): boolean {
    return this.#upstream(repository) !== undefined;
  }

  /** Where repositories of the registry are here; undefined where they are not. */
  prefixOf(host: string): string | undefined {
    return Object.entries(this.#options.mirrors).find(([, mirrored]) => mirrored === host)?.[0];
  }

  /**
   * Makes what the store has under the name what upstream has. @throws EngineError `unavailable` or `unauthorized`
   * where it cannot and nothing is here to serve instead; an unknown name is none.
   */
  async refresh(repository: string, reference: string, signal?: AbortSignal): Promise<void> {
    const upstream = this.#upstream(repository);
    if (upstream === undefined) return;
    const { content } = this.#options;
    const known = findManifest(content, repository, reference);
    const isHere = known !== undefined && content.touch(known);
    if (isHere && isDigest(reference)) return;
    await this.#manifests.run(`${repository} ${reference}`, signal, async (shared) => {
      const late = isHere ? AbortSignal.timeout(REVALIDATION_MILLISECONDS) : undefined;
      try {
        await this.#fetchManifest(
          upstream,
          { repository, reference },
          late === undefined ? shared : AbortSignal.any([shared, late]),
        );
      } catch (error) {
        shared.throwIfAborted();
        const failure = late?.aborted === true ? new EngineError('unavailable', 'no answer in time') : error;
        if (!(failure instanceof EngineError)) throw failure;
        if (failure.code === 'not-found') {
          if (!isDigest(reference)) await content.setName(repository, reference, undefined);
        } else if (failure.code === 'unavailable' && isHere) this.#options.onStale?.(repository, failure);
        else throw failure;
      }
    });
  }

  /** Upstream's tags; those that are here where it does not answer. */
  async tags(repository: string, signal?: AbortSignal): Promise<string[]> {
    const upstream = this.#upstream(repository);
    const here = this.#options.content.names(repository).map(({ name }) => name);
    if (upstream === undefined) return here;
    try {
      return await upstream.client.tags(upstream.repository, signal);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'unavailable' || here.length === 0) throw error;
      this.#options.onStale?.(repository, error);
      return here;
    }
  }

  /** Bytes of a blob that is not linked here, as upstream says. @throws EngineError `not-found` */
  async blobSize(repository: string, digest: string, signal?: AbortSignal): Promise<number> {
    const { client, repository: theirs } = this.#required(repository);
    return await client.blobSize(theirs, digest, signal);
  }

  /** Fetches the blob, or waits for who does. Resolves when it is stored and linked. */
  async fetch(
    repository: string,
    blob: { digest: string; size: number },
    options: { signal: AbortSignal; onProgress?: (current: number) => void },
  ): Promise<void> {
    const { content } = this.#options;
    const { client, repository: theirs } = this.#required(repository);
    const key = `${repository} ${blob.digest}`;
    await this.#blobs.run(key, options.signal, async (signal) => {
      const fetch = new Fetch(content);
      this.#fetches.set(key, fetch);
      try {
        // Other repositories may have brought it; that this one has it too, its size upstream has shown.
        if (!content.touch(blob.digest)) {
          await client.blob(theirs, blob, content, {
            signal,
            onStart: (upload) => fetch.begin(upload),
            onProgress: (current) => {
              fetch.grow();
              options.onProgress?.(current);
            },
          });
        }
        await content.setName(linksScope(repository), blob.digest, blob.digest);
      } finally {
        this.#fetches.delete(key);
        fetch.end();
      }
    });
  }

  /** The blob's bytes, while it is fetched. The stream fails where it is not what the digest says. */
  stream(repository: string, blob: { digest: string; size: number }, signal: AbortSignal): Readable {
    return Readable.from(this.#follow(repository, blob, signal), { objectMode: false, highWaterMark: READ_BYTES });
  }

  /** The engine's own way in. */
  source(repository: string): PullSource {
    const { content } = this.#options;
    return {
      manifest: async (reference, signal) => {
        await this.refresh(repository, reference, signal);
        const digest = findManifest(content, repository, reference);
        if (digest === undefined)
          throw new EngineError('not-found', `no manifest ${reference} in ${repository}, here or upstream`);
        return { bytes: await content.readAll(digest), digest };
      },
      blob: async (blob, options) => await this.fetch(repository, blob, options),
      // Upstream's manifest names it: whoever may read that here may read the blob, also while upstream is down.
      known: async ({ digest }) => await content.setName(linksScope(repository), digest, digest),
    };
  }

  async *#follow(
    repository: string,
    blob: { digest: string; size: number },
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const left = new AbortController();
    const until = AbortSignal.any([signal, left.signal]);
    const whole = this.fetch(repository, blob, { signal: until });
    // It is awaited below, unless the reader leaves first.
    whole.catch(() => undefined);
    let at = 0;
    try {
      const fetch = this.#fetches.get(`${repository} ${blob.digest}`);
      for await (const chunk of fetch?.read(blob.size - 1, until) ?? []) {
        at += chunk.length;
        yield chunk;
      }
      await whole;
      if (at < blob.size) yield* await this.#options.content.read(blob.digest, { start: at });
    } finally {
      left.abort();
      await whole.catch(() => undefined);
    }
  }

  async #fetchManifest(
    { client, repository: theirs }: Upstream,
    { repository, reference }: { repository: string; reference: string },
    signal: AbortSignal,
  ): Promise<void> {
    const { content } = this.#options;
    const named = isDigest(reference);
    const wanted = named ? reference : await client.tagDigest(theirs, reference, signal);
    const scope = manifestsScope(repository);
    if (wanted === undefined || content.getName(scope, wanted) === undefined || !content.touch(wanted)) {
      const { bytes, digest, mediaType } = await client.manifest(theirs, wanted ?? reference, signal);
      const { subject } = parseManifest(bytes, mediaType);
      await content.write(bytes, { digest });
      // Marked before it is named: it must never look like a push that lost its blobs.
      await content.setName(mirroredScope(repository), digest, digest);
      await Promise.all([
        content.setName(scope, digest, digest),
        ...(subject === undefined
          ? []
          : [content.setName(referrersScope(repository), `${subject.digest}@${digest}`, digest)]),
        ...(named ? [] : [content.setName(repository, reference, digest)]),
      ]);
    } else if (!named) await content.setName(repository, reference, wanted);
  }

  #upstream(repository: string): Upstream | undefined {
    for (const [prefix, host] of Object.entries(this.#options.mirrors)) {
      if (!repository.startsWith(`${prefix}/`)) continue;
      const rest = repository.slice(prefix.length + 1);
      // Docker Hub's own images are in `library`, and nobody writes that.
      const isShort = host === 'docker.io' && !rest.includes('/');
      return { client: this.#options.client(host), repository: isShort ? `library/${rest}` : rest };
    }
    return undefined;
  }

  #required(repository: string): Upstream {
    const upstream = this.#upstream(repository);
    if (upstream === undefined) throw new EngineError('not-found', `${repository} is no mirror of another registry's`);
    return upstream;
  }
}

/** A blob on its way into the store, for those who read it meanwhile. */
class Fetch {
  readonly #content: ContentStore;
  #upload: string | undefined;
  #available = 0;
  #isEnded = false;
  #changed = Promise.withResolvers<void>();

  constructor(content: ContentStore) {
    this.#content = content;
  }

  begin(upload: string): void {
    this.#upload = upload;
    this.#wake();
  }

  /** More may have been written. */
  grow(): void {
    if (this.#upload === undefined) return;
    void this.#content.uploadSize(this.#upload).then((size) => {
      if (size === undefined || size <= this.#available) return;
      this.#available = size;
      this.#wake();
    });
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  /** What comes, up to `limit` bytes of it, and not further than until the fetch ends. */
  async *read(limit: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    while (this.#upload === undefined && !this.#isEnded) await untilAborted(this.#changed.promise, signal);
    const file = this.#upload === undefined ? undefined : await this.#content.openUpload(this.#upload);
    if (file === undefined) return;
    try {
      for (let at = 0; ; ) {
        const length = Math.min(READ_BYTES, Math.min(this.#available, limit) - at);
        if (length > 0) {
          const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
          at += bytesRead;
          yield buffer.subarray(0, bytesRead);
        } else if (this.#isEnded) return;
        else await untilAborted(this.#changed.promise, signal);
      }
    } finally {
      await file.close();
    }
  }

  #wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
}
