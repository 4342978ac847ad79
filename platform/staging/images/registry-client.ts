/**
 * A client of the OCI distribution API (distribution-spec v1.1) over HTTPS with basic authentication and connections
 * that are kept. It holds no state besides them. Every failure is a `StagingError` `registry` that names the request.
 */
import { Agent, request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { digestOf } from '#lib/digest.ts';
import { readBounded } from '#lib/read-bounded.ts';
import { StagingError } from '../staging.ts';
import { type Descriptor, mediaTypes, type Layer, type Manifest } from './oci.ts';

export interface RegistryOptions {
  /** `host:port`, as it stands in image references. */
  host: string;
  /** PEM bundle that signs the registry's certificate. */
  ca: string;
  username: string;
  password: string;
  /** How long it may be silent; milliseconds. */
  silence?: number;
}

export interface StoredManifest {
  digest: string;
  mediaType: string;
  body: Buffer;
}

const LARGEST_MANIFEST = 4 * 1024 * 1024;
/** No byte for so long where the registry owes one: it is taken for dead. Milliseconds. */
const SILENCE = 60_000;

interface Call {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Statuses that are answers; any other is an error. */
  expect: number[];
  signal?: AbortSignal | undefined;
}

export class RegistryClient {
  readonly host: string;
  readonly #origin: URL;
  readonly #agent: Agent;
  readonly #authorization: string;
  readonly #silence: number;

  constructor(options: RegistryOptions) {
    this.host = options.host;
    this.#silence = options.silence ?? SILENCE;
    this.#origin = new URL(`https://${options.host}`);
    this.#agent = new Agent({ keepAlive: true, maxSockets: 16, ca: options.ca });
    this.#authorization = `Basic ${Buffer.from(`${options.username}:${options.password}`).toString('base64')}`;
  }

  /** How a pod names an image of a repository. */
  reference(repository: string, digest: string): string {
    return `${this.host}/${repository}@${digest}`;
  }

  /** Repository and digest of a reference of this registry; undefined where it is another's. */
  parse(reference: string): { repository: string; digest: string } | undefined {
    const match = /^([^/]+)\/([^@]+)@(sha256:[0-9a-f]{64})$/.exec(reference);
    if (match?.[1] !== this.host || match[2] === undefined || match[3] === undefined) return undefined;
    return { repository: match[2], digest: match[3] };
  }

  /** Size of a blob that the repository has. */
  async blobSize(repository: string, digest: string, signal?: AbortSignal): Promise<number | undefined> {
    const answer = await this.#drained({
      method: 'HEAD',
      path: `/v2/${repository}/blobs/${digest}`,
      expect: [200, 404],
      signal,
    });
    return answer.statusCode === 200 ? Number(answer.headers['content-length'] ?? 0) : undefined;
  }

  /** The range is inclusive, as in HTTP. Undefined where the blob is not there. */
  async readBlob(
    repository: string,
    digest: string,
    options: { start?: number; end?: number; signal?: AbortSignal } = {},
  ): Promise<Readable | undefined> {
    const ranged = options.start !== undefined;
    const answer = await this.#call({
      method: 'GET',
      path: `/v2/${repository}/blobs/${digest}`,
      headers: ranged ? { range: `bytes=${options.start}-${options.end ?? ''}` } : {},
      expect: ranged ? [206, 404] : [200, 404],
      signal: options.signal,
    });
    if (answer.statusCode !== 404) return answer;
    answer.resume();
    return undefined;
  }

  /** A small blob, checked against its digest. */
  async readSmallBlob(repository: string, digest: string, most = LARGEST_MANIFEST): Promise<Buffer | undefined> {
    const stream = await this.readBlob(repository, digest);
    if (stream === undefined) return undefined;
    const body = await collect(stream, most, `blob ${digest}`);
    if (digestOf(body) !== digest) throw new StagingError('registry', `registry sent other bytes than blob ${digest}`);
    return body;
  }

  /** Sends bytes at hand, unless the repository has them. */
  async putBlob(repository: string, body: Uint8Array, signal?: AbortSignal): Promise<string> {
    const digest = digestOf(body);
    if ((await this.blobSize(repository, digest, signal)) !== undefined) return digest;
    const answer = await this.#drained({
      method: 'POST',
      path: `/v2/${repository}/blobs/uploads/?digest=${digest}`,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(body.byteLength) },
      body,
      expect: [201, 202],
      signal,
    });
    // A registry that takes no blob in one request has opened an upload (distribution-spec, "POST then PUT").
    if (answer.statusCode === 202) await this.#finishUpload(this.#location(answer), digest, signal, body);
    return digest;
  }

  /** Streams a blob whose digest is known when its last byte was sent. */
  async streamBlob(
    repository: string,
    source: AsyncIterable<Uint8Array>,
    digest: () => string,
    signal?: AbortSignal,
  ): Promise<void> {
    const location = await this.#startUpload(repository, signal);
    const headers = { 'content-type': 'application/octet-stream' };
    try {
      const sent = await this.#drained({
        method: 'PATCH',
        path: location,
        headers,
        body: source,
        expect: [202],
        signal,
      });
      await this.#finishUpload(this.#location(sent, location), digest(), signal);
    } catch (error) {
      // Best effort: the registry collects abandoned uploads by itself.
      await this.#drained({ method: 'DELETE', path: location, expect: [204, 404, 405] }).catch(() => undefined);
      throw error;
    }
  }

  /** Makes a blob of another repository this one's, without sending it. False where the registry did not. */
  async mountBlob(repository: string, digest: string, from: string, signal?: AbortSignal): Promise<boolean> {
    if (repository === from) return true;
    if ((await this.blobSize(repository, digest, signal)) !== undefined) return true;
    const answer = await this.#drained({
      method: 'POST',
      path: `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`,
      headers: { 'content-length': '0' },
      expect: [201, 202],
      signal,
    });
    if (answer.statusCode === 201) return true;
    const location = this.#location(answer);
    await this.#drained({ method: 'DELETE', path: location, expect: [204, 404, 405], signal });
    return false;
  }

  /** Mounts a layer, or copies it through this process where the registry does not mount. */
  async shareLayer(repository: string, layer: Layer, from: string, signal?: AbortSignal): Promise<void> {
    if (await this.mountBlob(repository, layer.digest, from, signal)) return;
    const source = await this.readBlob(from, layer.digest, signal === undefined ? {} : { signal });
    if (source === undefined) throw new StagingError('registry', `registry lacks blob ${layer.digest} in ${from}`);
    await this.streamBlob(repository, source, () => layer.digest, signal);
  }

  async getManifest(repository: string, reference: string, signal?: AbortSignal): Promise<StoredManifest | undefined> {
    const answer = await this.#call({
      method: 'GET',
      path: `/v2/${repository}/manifests/${reference}`,
      // Images of users come in Docker's form too; for what is read here the two are the same.
      headers: { accept: `${mediaTypes.manifest}, application/vnd.docker.distribution.manifest.v2+json` },
      expect: [200, 404],
      signal,
    });
    if (answer.statusCode === 404) {
      answer.resume();
      return undefined;
    }
    const body = await collect(answer, LARGEST_MANIFEST, `manifest ${repository}:${reference}`);
    return { digest: digestOf(body), mediaType: answer.headers['content-type'] ?? '', body };
  }

  /** The manifest with its parsed configuration. */
  async getImage<Config>(
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<{ digest: string; manifest: Manifest; config: Config } | undefined> {
    const stored = await this.getManifest(repository, reference, signal);
    if (stored === undefined) return undefined;
    const manifest = JSON.parse(stored.body.toString('utf8')) as Manifest;
    const config = await this.readSmallBlob(repository, manifest.config.digest, 64 * 1024 * 1024);
    if (config === undefined) return undefined;
    return { digest: stored.digest, manifest, config: JSON.parse(config.toString('utf8')) as Config };
  }

  /** Returns the manifest's digest. */
  async putManifest(
    repository: string,
    reference: string,
    body: Uint8Array,
    options: { mediaType?: string; signal?: AbortSignal } = {},
  ): Promise<string> {
    await this.#drained({
      method: 'PUT',
      path: `/v2/${repository}/manifests/${reference}`,
      headers: { 'content-type': options.mediaType ?? mediaTypes.manifest, 'content-length': String(body.byteLength) },
      body,
      expect: [201],
      signal: options.signal,
    });
    return digestOf(body);
  }

  async tags(repository: string, signal?: AbortSignal): Promise<string[]> {
    const answer = await this.#call({
      method: 'GET',
      path: `/v2/${repository}/tags/list`,
      expect: [200, 404],
      signal,
    });
    const body = await collect(answer, LARGEST_MANIFEST, `tags of ${repository}`);
    if (answer.statusCode === 404) return [];
    return (JSON.parse(body.toString('utf8')) as { tags: string[] | null }).tags ?? [];
  }

  /** Manifests of one kind that are about another one. */
  async referrers(repository: string, digest: string, artifactType: string): Promise<Descriptor[]> {
    const answer = await this.#call({
      method: 'GET',
      path: `/v2/${repository}/referrers/${digest}?artifactType=${encodeURIComponent(artifactType)}`,
      expect: [200, 404],
    });
    const body = await collect(answer, LARGEST_MANIFEST, `referrers of ${digest}`);
    if (answer.statusCode === 404) return [];
    return (JSON.parse(body.toString('utf8')) as { manifests: Descriptor[] }).manifests;
  }

  /** By tag or digest; what is not there is deleted already. */
  async deleteManifest(repository: string, reference: string, signal?: AbortSignal): Promise<void> {
    const expect = [200, 202, 404];
    await this.#drained({ method: 'DELETE', path: `/v2/${repository}/manifests/${reference}`, expect, signal });
  }

  close(): void {
    this.#agent.destroy();
  }

  async #startUpload(repository: string, signal: AbortSignal | undefined): Promise<string> {
    const answer = await this.#drained({
      method: 'POST',
      path: `/v2/${repository}/blobs/uploads/`,
      headers: { 'content-length': '0' },
      expect: [202],
      signal,
    });
    return this.#location(answer);
  }

  async #finishUpload(
    location: string,
    digest: string,
    signal: AbortSignal | undefined,
    body?: Uint8Array,
  ): Promise<void> {
    const joint = location.includes('?') ? '&' : '?';
    await this.#drained({
      method: 'PUT',
      path: `${location}${joint}digest=${digest}`,
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(body?.byteLength ?? 0) },
      ...(body === undefined ? {} : { body }),
      expect: [201],
      signal,
    });
  }

  /** Only the path is taken: a registry cannot send us, and our password, to another host. */
  #location(answer: IncomingMessage, otherwise?: string): string {
    const header = answer.headers.location;
    if (header === undefined) {
      if (otherwise !== undefined) return otherwise;
      throw new StagingError('registry', `registry ${this.host} started an upload without a Location header`);
    }
    const url = new URL(header, this.#origin);
    return `${url.pathname}${url.search}`;
  }

  async #drained(call: Call): Promise<IncomingMessage> {
    const answer = await this.#call(call);
    answer.resume();
    return answer;
  }

  /** A connection that was kept may be closed by the other side in the moment in which it is used: what may be repeated is. */
  async #call(call: Call): Promise<IncomingMessage> {
    const again = call.method !== 'POST' && (call.body === undefined || call.body instanceof Uint8Array);
    for (;;) {
      try {
        return await this.#callOnce(call);
      } catch (error) {
        if (!(again && error instanceof StagingError && error.cause instanceof ConnectionLost)) throw error;
      }
    }
  }

  async #callOnce(call: Call): Promise<IncomingMessage> {
    call.signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    // A stack that is being built takes minutes to its first byte: the registry is not kept waiting for it.
    const source =
      call.body === undefined || call.body instanceof Uint8Array ? undefined : await Source.begun(call.body);
    const what = `${call.method} https://${this.host}${call.path}`;
    const fail = (cause: unknown) => {
      if (call.signal?.aborted) reject(call.signal.reason);
      else if (cause instanceof StagingError) reject(cause);
      else reject(new StagingError('registry', `${what}: ${message(cause)}`, { cause }));
    };
    const request = httpsRequest(
      {
        host: this.#origin.hostname.replace(/^\[|\]$/g, ''),
        port: this.#origin.port === '' ? 443 : Number(this.#origin.port),
        method: call.method,
        path: call.path,
        headers: { authorization: this.#authorization, ...call.headers },
        agent: this.#agent,
        timeout: this.#silence,
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      },
      resolve,
    );
    request.on('error', (error: NodeJS.ErrnoException) => {
      const lost = request.reusedSocket && /^(ECONNRESET|EPIPE)$/.test(error.code ?? '');
      fail(lost ? new ConnectionLost(error.message, { cause: error }) : error);
    });
    request.on('timeout', () => {
      if (source?.isAwaited === true) request.setTimeout(this.#silence);
      else request.destroy(new Error(`no byte for ${this.#silence / 1000} s`));
    });
    if (source === undefined) request.end(call.body);
    else {
      const chunks = Readable.from(source.chunks(), { objectMode: false, highWaterMark: 1024 * 1024 });
      pipeline(chunks, request).catch((error: unknown) => {
        // A source that fails (hostile layer, broken exec) is the reason that the caller must see.
        if (source.error === undefined) fail(error);
        else reject(source.error);
        request.destroy();
      });
    }
    const answer = await promise;
    if (source?.error !== undefined) throw source.error;
    if (call.expect.includes(answer.statusCode ?? 0)) return answer;
    const text = (await collect(answer, 64 * 1024, 'error').catch(() => Buffer.alloc(0)))
      .toString('utf8')
      .slice(0, 500);
    throw new StagingError('registry', `${what}: ${answer.statusCode} ${text}`.trimEnd());
  }
}

/** The connection had served other requests before. There are fewer of those after each of these. */
class ConnectionLost extends Error {}

async function collect(stream: Readable, most: number, what: string): Promise<Buffer> {
  const tooLong = () => new StagingError('registry', `registry sent more than ${most} bytes for ${what}`);
  return await readBounded(stream, most, tooLong);
}

function message(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}

/** What is uploaded while it is made. */
class Source {
  error: Error | undefined;
  /** It owes the next chunk; nobody else is late then. */
  isAwaited = false;
  readonly #iterator: AsyncIterator<Uint8Array>;
  #next: IteratorResult<Uint8Array> | undefined;

  private constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#iterator = chunks[Symbol.asyncIterator]();
  }

  /** Resolves when there is a first chunk. */
  static async begun(chunks: AsyncIterable<Uint8Array>): Promise<Source> {
    const source = new Source(chunks);
    await source.#take();
    return source;
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      for (; this.#next?.done === false; await this.#take()) yield this.#next.value;
    } finally {
      await this.#iterator.return?.();
    }
  }

  async #take(): Promise<void> {
    this.isAwaited = true;
    try {
      this.#next = await this.#iterator.next();
    } catch (error) {
      this.error = error instanceof Error ? error : new Error('the source failed', { cause: error });
      throw this.error;
    } finally {
      this.isAwaited = false;
    }
  }
}
