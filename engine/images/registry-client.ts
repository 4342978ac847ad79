/**
 * Reads manifests and blobs from a registry (OCI distribution-spec 1.1, "Pull") over HTTPS, with basic or bearer
 * authentication (Docker's token specification). A download that breaks goes on where it stopped. A registry on an
 * address of this machine may speak plain HTTP, as with Docker: it is asked by HTTPS first, and taken at its word when
 * it shows that it knows no TLS. What it says is then as safe as the machine.
 */
import { createHash } from 'node:crypto';
import { Agent as HttpAgent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { isIPv4 } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { outsideTls } from '#lib/authorities.ts';
import { digestOf, parseDigest } from '#lib/digest.ts';
import { parseChallenges } from '#lib/http-challenges.ts';
import { readBounded } from '#lib/read-bounded.ts';
import { EngineError } from '../engine.ts';
import { LARGEST_MANIFEST, MANIFEST_TYPES } from './manifest.ts';
import { isTag } from './reference.ts';
import type { ContentStore } from './store.ts';

export interface RegistryAccess {
  host: string;
  credentials?: { username: string; password: string };
  /** PEM, besides the system's. */
  ca?: string;
  /** `host:port` where it answers, where that is not its name. */
  address?: string;
}

const IDLE_MILLISECONDS = 60_000;
const ATTEMPTS = 4;
const MOST_PAGES = 1000;

export class RegistryClient {
  readonly #access: RegistryAccess;
  #origin: URL;
  readonly #agent: Agent;
  readonly #plainAgent = new HttpAgent({ keepAlive: true });
  /** By scope. */
  readonly #authorization = new Map<string, string>();

  constructor(access: RegistryAccess) {
    this.#access = access;
    const named = access.host === 'docker.io' ? 'registry-1.docker.io' : access.host;
    this.#origin = new URL(`https://${access.address ?? named}`);
    this.#agent = new Agent({
      keepAlive: true,
      ...outsideTls(access.ca),
      // Proxies are for the world outside; our own addresses never go there.
      ...(access.address !== undefined || isLoopback(this.#origin.hostname) ? {} : { proxyEnv: process.env }),
    });
  }

  close(): void {
    this.#agent.destroy();
    this.#plainAgent.destroy();
  }

  /** Asks whether the registry takes the credentials, by its base endpoint. @throws EngineError `unauthorized` */
  async login(signal?: AbortSignal): Promise<void> {
    const scope = '';
    await this.#retrying(signal, async () => {
      const url = new URL('/v2/', this.#origin);
      let response = await this.#request(url, {}, signal);
      if (response.statusCode === 401) {
        response.resume();
        await this.#authenticate(response.headers['www-authenticate'] ?? '', scope, signal);
        response = await this.#request(url, this.#authorized(scope), signal);
      }
      response.resume();
      const status = response.statusCode ?? 0;
      if (status === 200) return;
      if (status === 401 || status === 403)
        throw new EngineError(
          'unauthorized',
          `login attempt to ${url.href} failed with status: ${status} Unauthorized`,
        );
      throw new EngineError('unavailable', `login attempt to ${url.href} failed with status: ${status}`);
    });
  }

  /** The bytes are checked against the reference where that is a digest, else against the registry's own header. */
  async manifest(
    repository: string,
    reference: string,
    signal?: AbortSignal,
  ): Promise<{ bytes: Buffer; digest: string; mediaType?: string }> {
    return await this.#retrying(signal, async () => {
      const response = await this.#get(
        repository,
        `manifests/${reference}`,
        { accept: MANIFEST_TYPES.join(', ') },
        signal,
      );
      const bytes = await readSmall(response, LARGEST_MANIFEST);
      const header = response.headers['docker-content-digest'];
      const named =
        parseDigest(reference) === undefined ? (typeof header === 'string' ? header : undefined) : reference;
      const digest = digestOf(bytes, parseDigest(named ?? '')?.algorithm ?? 'sha256');
      if (named !== undefined && named !== digest) {
        throw new EngineError(
          'invalid',
          `${this.#access.host} sent a manifest with digest ${digest} for ${repository} ${named}`,
        );
      }
      const mediaType = response.headers['content-type'];
      return mediaType === undefined ? { bytes, digest } : { bytes, digest, mediaType };
    });
  }

  /** What a tag means now, by HEAD; undefined where the registry does not say. */
  async tagDigest(repository: string, tag: string, signal?: AbortSignal): Promise<string | undefined> {
    const { headers } = await this.#head(repository, `manifests/${tag}`, { accept: MANIFEST_TYPES.join(', ') }, signal);
    const digest = headers['docker-content-digest'];
    return typeof digest === 'string' && parseDigest(digest) !== undefined ? digest : undefined;
  }

  /** Bytes of a blob, by HEAD. */
  async blobSize(repository: string, digest: string, signal?: AbortSignal): Promise<number> {
    const { headers } = await this.#head(repository, `blobs/${digest}`, {}, signal);
    const length = headers['content-length'] ?? '';
    if (!/^\d{1,15}$/.test(length))
      throw new EngineError('unavailable', `${this.#access.host} does not say how large ${digest} is`);
    return Number(length);
  }

  /** Streams the blob into the content store. `onStart` hears which upload it is while it comes. */
  async blob(
    repository: string,
    blob: { digest: string; size: number },
    content: ContentStore,
    options: { signal?: AbortSignal; onStart?: (upload: string) => void; onProgress?: (current: number) => void },
  ): Promise<void> {
    const { signal, onProgress } = options;
    const upload = await content.startUpload('private');
    options.onStart?.(upload);
    let size = 0;
    try {
      await this.#retrying(signal, async () => {
        if (size === blob.size && size > 0) return;
        const range: Record<string, string> = size > 0 ? { range: `bytes=${size}-` } : {};
        const response = await this.#get(repository, `blobs/${blob.digest}`, range, signal);
        let skip = response.statusCode === 206 ? 0 : size;
        const bytes = async function* (): AsyncGenerator<Uint8Array> {
          for await (const chunk of response as AsyncIterable<Buffer>) {
            const fresh = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk;
            skip -= chunk.length - fresh.length;
            if (fresh.length === 0) continue;
            size += fresh.length;
            if (size > blob.size)
              throw new EngineError(
                'invalid',
                `blob ${blob.digest} is longer than the ${blob.size} bytes of its manifest`,
              );
            onProgress?.(size);
            yield fresh;
          }
        };
        try {
          await content.appendUpload(upload, size, bytes());
        } finally {
          size = (await content.uploadSize(upload)) ?? 0;
        }
        if (size < blob.size)
          throw new Interrupted(`the download of ${blob.digest} ended after ${size} of ${blob.size} bytes`);
      });
      await content.finishUpload(upload, blob.digest);
    } finally {
      await content.cancelUpload(upload);
    }
  }

  async tags(repository: string, signal?: AbortSignal): Promise<string[]> {
    const tags: string[] = [];
    let path: string | undefined = 'tags/list?n=1000';
    for (let pages = 0; path !== undefined && pages < MOST_PAGES; pages += 1) {
      const asked: string = path;
      const response = await this.#retrying(signal, () => this.#get(repository, asked, {}, signal));
      const body = await readSmall(response, LARGEST_MANIFEST);
      const { tags: some } = parseJson(body) as { tags?: unknown };
      for (const tag of Array.isArray(some) ? some : []) if (typeof tag === 'string' && isTag(tag)) tags.push(tag);
      path = nextPage(String(response.headers.link ?? ''), repository);
    }
    return tags.sort();
  }

  /** One request of a push; the answer is the caller's to read. `body` is called again where credentials are wanted. */
  async send(
    repository: string,
    request: {
      method: string;
      path: string;
      headers?: Record<string, string>;
      body?: () => Promise<Readable> | Buffer;
      /** Another repository that the request reads from. */
      alsoPull?: string;
    },
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const { alsoPull } = request;
    const more = alsoPull === undefined ? '' : ` repository:${alsoPull}:pull`;
    const scope = `repository:${repository}:pull,push${more}`;
    const urlNow = (): URL => {
      const url = new URL(request.path, this.#origin);
      if (url.host === this.#origin.host) return url;
      throw new EngineError(
        'unavailable',
        `${this.#access.host} sends an upload to ${url.host}, which is not followed`,
      );
    };
    for (let attempt = 0; ; attempt += 1) {
      const headers = { ...request.headers, ...this.#authorized(scope) };
      const response = await this.#request(urlNow(), headers, signal, request).catch((error: unknown) => {
        // A body that is a stream has been drawn from, but nothing is sent before a POST was answered.
        if (!this.#turnsPlain(error) || request.body !== undefined) throw error;
        return this.#request(urlNow(), headers, signal, request);
      });
      if (response.statusCode !== 401 || attempt > 0) return response;
      response.resume();
      await this.#authenticate(response.headers['www-authenticate'] ?? '', scope, signal);
    }
  }

  async #head(
    repository: string,
    path: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<IncomingMessage> {
    const response = await this.#retrying(signal, () => this.#get(repository, path, headers, signal, 'HEAD'));
    response.resume();
    return response;
  }

  async #get(
    repository: string,
    path: string,
    headers: Record<string, string>,
    signal?: AbortSignal,
    method: 'GET' | 'HEAD' = 'GET',
  ): Promise<IncomingMessage> {
    const url = new URL(`/v2/${repository}/${path}`, this.#origin);
    const scope = `repository:${repository}:pull`;
    let response = await this.#request(url, { ...headers, ...this.#authorized(scope) }, signal, { method });
    if (response.statusCode === 401) {
      const challenge = response.headers['www-authenticate'] ?? '';
      response.resume();
      await this.#authenticate(challenge, scope, signal);
      response = await this.#request(url, { ...headers, ...this.#authorized(scope) }, signal, { method });
    }
    let from = url;
    for (let redirects = 0; isRedirect(response.statusCode); redirects += 1) {
      const location = response.headers.location;
      response.resume();
      if (location === undefined || redirects === 5)
        throw new EngineError('unavailable', `${from.host} redirects ${path} nowhere`);
      const to = new URL(location, from);
      if (!this.#isSafe(to))
        throw new EngineError('unavailable', `${from.host} redirects ${path} to ${to.protocol}//, which is not secure`);
      // The registry's credentials are nobody else's business.
      response = await this.#request(
        to,
        to.host === url.host ? { ...headers, ...this.#authorized(scope) } : headers,
        signal,
        { method },
      );
      from = to;
    }
    const status = response.statusCode ?? 0;
    if (status === 200 || status === 206) return response;
    const detail = complaintOf(await readSmall(response, 16 * 1024).catch(() => Buffer.alloc(0)));
    const what = `${this.#access.host} answers ${status} for ${repository} ${path}${detail === '' ? '' : `: ${detail}`}`;
    if (status === 416 && headers['range'] !== undefined)
      throw new EngineError(
        'invalid',
        `${path} in ${repository} is shorter than its manifest says; push the image again`,
      );
    if (status === 401 || status === 403)
      throw new EngineError('unauthorized', `${what}; check user name and password for this registry`);
    if (status === 404) throw new EngineError('not-found', what);
    if (status === 429 || status >= 500) throw new Interrupted(what);
    throw new EngineError('unavailable', what);
  }

  #authorized(scope: string): Record<string, string> {
    const value = this.#authorization.get(scope);
    return value === undefined ? {} : { authorization: value };
  }

  async #authenticate(challenge: string, scope: string, signal?: AbortSignal): Promise<void> {
    const { credentials } = this.#access;
    const basic =
      credentials && `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
    const challenges = parseChallenges(challenge);
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer');
    if (bearer === undefined && challenges.some(({ scheme }) => scheme === 'basic')) {
      if (basic === undefined)
        throw new EngineError(
          'unauthorized',
          `${this.#access.host} wants a user name and a password, and none are configured`,
        );
      this.#authorization.set(scope, basic);
      return;
    }
    const parameters = bearer?.parameters ?? new Map<string, string>();
    const realm = parameters.get('realm');
    const url = realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined;
    if (url === undefined || !this.#isSafe(url)) {
      throw new EngineError(
        'unauthorized',
        `${this.#access.host} asks for an authentication that is not supported: ${challenge.slice(0, 200)}`,
      );
    }
    const service = parameters.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    for (const one of scope.split(' ').filter((word) => word !== '')) url.searchParams.append('scope', one);
    const response = await this.#request(url, basic === undefined ? {} : { authorization: basic }, signal);
    const body = await readSmall(response, 1024 * 1024);
    if (response.statusCode !== 200) {
      throw new EngineError(
        'unauthorized',
        `${url.host} answers ${response.statusCode} to the request for a token${scope === '' ? '' : ` for ${scope}`}; check user name and password`,
      );
    }
    const { token, access_token: accessToken } = parseJson(body);
    const value = token ?? accessToken;
    if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value))
      throw new EngineError('unauthorized', `${url.host} sent no token`);
    this.#authorization.set(scope, `Bearer ${value}`);
  }

  async #request(
    url: URL,
    headers: Record<string, string>,
    signal?: AbortSignal,
    { method = 'GET', body }: { method?: string; body?: () => Promise<Readable> | Buffer } = {},
  ): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const options = { method, headers: { 'user-agent': 'sampan', ...headers }, signal };
    const outgoing =
      url.protocol === 'http:'
        ? httpRequest(url, { ...options, agent: this.#plainAgent })
        : httpsRequest(url, { ...options, agent: this.#agent });
    outgoing.setTimeout(IDLE_MILLISECONDS, () =>
      outgoing.destroy(new Error(`no answer in ${IDLE_MILLISECONDS / 1000} s`)),
    );
    outgoing.on('response', resolve);
    outgoing.on('error', reject);
    const content = await body?.();
    if (content === undefined || content instanceof Uint8Array) outgoing.end(content);
    else content.on('error', (error) => outgoing.destroy(error)).pipe(outgoing);
    return await promise;
  }

  /** By HTTPS, or with a registry that speaks plain HTTP on this machine, to an address of this machine. */
  #isSafe(url: URL): boolean {
    if (url.protocol === 'https:') return true;
    return url.protocol === 'http:' && this.#origin.protocol === 'http:' && isLoopback(url.hostname);
  }

  /** Whether the failure is that of a registry on this machine that knows no TLS: from then on it is asked without. */
  #turnsPlain(error: unknown): boolean {
    const { code = '', message = '' } = error as NodeJS.ErrnoException;
    const knowsNoTls =
      /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/.test(code) ||
      /wrong version number|packet length too long/.test(message);
    // Also where another request has found it out meanwhile.
    if (!knowsNoTls || !isLoopback(this.#origin.hostname)) return false;
    this.#origin = new URL(`http://${this.#origin.host}`);
    return true;
  }

  /** Tries again after what may pass: a broken connection, an overloaded registry. */
  async #retrying<Result>(signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof EngineError) throw error;
        if (attempt < ATTEMPTS && this.#turnsPlain(error)) continue;
        const code = (error as NodeJS.ErrnoException).code ?? '';
        const message = error instanceof Error ? error.message : String(error);
        const final = attempt === ATTEMPTS || isPermanent(code);
        if (final) throw new EngineError('unavailable', `registry ${this.#access.host}: ${message}`, { cause: error });
        await delay(50 * 2 ** attempt, undefined, signal === undefined ? {} : { signal });
      }
    }
  }
}

/** Worth another attempt. */
class Interrupted extends Error {}

function isPermanent(code: string): boolean {
  // ENOTFOUND: the name does not exist. A refused connection may be a registry that restarts; a certificate stays wrong.
  return code === 'ENOTFOUND' || /CERT|SELF_SIGNED|ERR_TLS|UNABLE_TO|ERR_SSL|EPROTO/.test(code);
}

function isRedirect(status: number | undefined): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** An address of this machine, or its name; `127.example.org` is anybody's. */
export function isLoopback(hostname: string): boolean {
  return ['localhost', '[::1]', '::1'].includes(hostname) || (isIPv4(hostname) && hostname.startsWith('127.'));
}

async function readSmall(response: IncomingMessage, most: number): Promise<Buffer> {
  const tooLong = () => new EngineError('invalid', `the registry's answer has more than ${most} bytes`);
  return await readBounded(response, most, tooLong);
}

/** What the registry says in the specification's form, or the beginning of what it says. */
export function complaintOf(body: Buffer): string {
  const { errors } = parseJson(body) as { errors?: unknown };
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const { message } = (typeof first === 'object' && first !== null ? first : {}) as { message?: unknown };
  return (typeof message === 'string' ? message : body.toString('utf8')).slice(0, 300).trim();
}

function parseJson(body: Buffer): { token?: unknown; access_token?: unknown } {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** RFC 8288; only a further page of the same list is followed. */
function nextPage(link: string, repository: string): string | undefined {
  const target = /<([^<>]{1,2000})>\s*;\s*rel="?next"?/.exec(link)?.[1];
  if (target === undefined || !URL.canParse(target, 'https://registry.invalid')) return undefined;
  const { pathname, search } = new URL(target, 'https://registry.invalid');
  return pathname === `/v2/${repository}/tags/list` ? `tags/list${search}` : undefined;
}

/** Tells clients with other access apart without keeping passwords as keys. */
export function accessKey(access: RegistryAccess): string {
  return createHash('sha256').update(JSON.stringify(access)).digest('hex');
}
