/**
 * What an image of another registry is, before anything runs: its ports, user and command, and the digest that its tag
 * means now (OCI distribution-spec 1.1, "Pull"; Docker's token specification). Nodes pull it by themselves.
 *
 * The address comes from a user: it is judged as those of drains are. Where it may not be asked from here, or does not
 * answer, nothing is known, which is no error: a node may reach it. What it does answer is final.
 */
import type { IncomingMessage } from 'node:http';
import { Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent, request as secureRequest } from 'node:https';
import { isIP } from 'node:net';
import { outsideTls } from '#lib/authorities.ts';
import { digestOf } from '#lib/digest.ts';
import type { AddressGuard } from '#lib/guarded-address.ts';
import { parseChallenges } from '#lib/http-challenges.ts';
import { readBounded } from '#lib/read-bounded.ts';
import type { RegistryLogin } from '../../resources/registry-logins.ts';
import { StagingError } from '../staging.ts';
import { type Descriptor, type ImageConfigFile, type Manifest, mediaTypes, ociArchitecture } from './oci.ts';

export interface RemoteImageOptions {
  /** As users write it: `nginx`, `ghcr.io/a/b:1.2`, `host:5000/a@sha256:…`. */
  image: string;
  login?: RegistryLogin;
  /** Remedy, where it takes a login and there is none. */
  howToLogin?: string;
  guard: AddressGuard;
  signal?: AbortSignal;
}

export interface RemoteImage {
  /** With the digest. */
  pinned: string;
  config: ImageConfigFile;
}

interface Reference {
  /** As it stands in the reference, or Docker's own. */
  host: string;
  repository: string;
  reference: string;
}

interface Index {
  manifests?: (Descriptor & { platform?: { os?: string; architecture?: string } })[];
}

const INDEX_TYPES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const MANIFEST_TYPES = [mediaTypes.manifest, 'application/vnd.docker.distribution.manifest.v2+json'];
const LARGEST = 8 * 1024 * 1024;
const PATIENCE = 10_000;
/** For all of it. */
const LONGEST = 30_000;

/** Undefined: it cannot be asked. @throws StagingError `no-image` for what the registry says is not to be had */
export async function readRemoteImage(options: RemoteImageOptions): Promise<RemoteImage | undefined> {
  const { image } = options;
  const parsed = parseReference(image);
  const late = AbortSignal.timeout(LONGEST);
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late]);
  const registry = new Remote(parsed, { ...options, signal });
  try {
    const { digest, config } = await registry.image();
    const name = image.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
    return { pinned: `${name}@${digest}`, config };
  } catch (error) {
    options.signal?.throwIfAborted();
    if (error instanceof StagingError) throw error;
    return undefined;
  } finally {
    registry.close();
  }
}

/** As Docker's clients take it: the first part is a host where it has a dot or a port. */
export function parseReference(image: string): Reference {
  const [first = '', ...rest] = image.split('/');
  const named = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  const host = named ? first : 'docker.io';
  const path = named ? rest.join('/') : rest.length === 0 ? `library/${image}` : image;
  const at = path.indexOf('@');
  const plain = at < 0 ? path : path.slice(0, at);
  const colon = plain.lastIndexOf(':');
  const repository = colon < 0 ? plain : plain.slice(0, colon);
  const reference = at >= 0 ? path.slice(at + 1) : colon < 0 ? 'latest' : plain.slice(colon + 1);
  return { host, repository, reference };
}

/** One repository of a registry, for as long as an image of it is read. */
export class Remote {
  readonly #parsed: Reference;
  readonly #options: RemoteImageOptions;
  readonly #origin: URL;
  readonly #agents: { secure: Agent; plain: PlainAgent };
  #plain = false;
  #authorization: string | undefined;

  constructor(parsed: Reference, options: RemoteImageOptions) {
    this.#parsed = parsed;
    this.#options = options;
    this.#origin = new URL(`https://${parsed.host === 'docker.io' ? 'registry-1.docker.io' : parsed.host}`);
    const proxied = isLoopback(this.#origin) ? {} : { proxyEnv: process.env };
    this.#agents = {
      secure: new Agent({ ...outsideTls(), ...proxied }),
      plain: new PlainAgent(),
    };
  }

  close(): void {
    this.#agents.secure.destroy();
    this.#agents.plain.destroy();
  }

  /** @throws StagingError `no-image` where something else came than was asked for */
  async image(): Promise<{ digest: string; manifest: Manifest; config: ImageConfigFile }> {
    const { host, reference } = this.#parsed;
    const { image } = this.#options;
    const accept = [...INDEX_TYPES, ...MANIFEST_TYPES].join(', ');
    const top = await this.get(`manifests/${reference}`, accept);
    const digest = digestOf(top);
    if (reference.startsWith('sha256:') && reference !== digest)
      throw new StagingError('no-image', `${host} sent another manifest than ${image}`);
    const manifest = await this.manifest(JSON.parse(top.toString('utf8')) as Manifest & Index);
    const config = await this.get(`blobs/${manifest.config.digest}`, '*/*');
    if (digestOf(config) !== manifest.config.digest)
      throw new StagingError('no-image', `${host} sent another configuration than that of ${image}`);
    return { digest, manifest, config: JSON.parse(config.toString('utf8')) as ImageConfigFile };
  }

  /** The one for this kind of machine. */
  async manifest(found: Manifest & Index): Promise<Manifest> {
    if (found.manifests === undefined) return found;
    const architecture = ociArchitecture();
    const ours = found.manifests.find(
      ({ platform }) => platform?.os === 'linux' && platform.architecture === architecture,
    );
    if (ours === undefined)
      throw new StagingError('no-image', `image ${this.#options.image} is not made for linux/${architecture}`);
    return JSON.parse(
      (await this.get(`manifests/${ours.digest}`, MANIFEST_TYPES.join(', '))).toString('utf8'),
    ) as Manifest;
  }

  async get(path: string, accept: string): Promise<Buffer> {
    return await collected(await this.open(path, accept));
  }

  /** A body of any size. */
  async open(path: string, accept: string): Promise<IncomingMessage> {
    const { image } = this.#options;
    const { host, repository } = this.#parsed;
    const url = new URL(`/v2/${repository}/${path}`, this.#origin);
    let answer = await this.#ask(url, accept);
    if (answer.statusCode === 401 && this.#authorization === undefined) {
      answer.resume();
      await this.#authenticate(answer.headers['www-authenticate'] ?? '');
      answer = await this.#ask(url, accept);
    }
    for (let left = 5, from = url; isRedirect(answer.statusCode) && left > 0; left -= 1) {
      answer.resume();
      from = new URL(answer.headers.location ?? '', from);
      if (from.protocol !== 'https:' && !isLoopback(from)) throw new Error(`${host} redirects to what is not secure`);
      // The login is for nobody else.
      answer = await this.#ask(from, accept, from.host === url.host);
    }
    const status = answer.statusCode ?? 0;
    if (status === 200) return answer;
    answer.resume();
    if (status === 401 || status === 403) throw this.#refused();
    if (status === 404)
      throw new StagingError('no-image', `image ${image} is not in ${host}: push it, or correct its name`);
    throw new Error(`${host} answers ${status}`);
  }

  #refused(): StagingError {
    const { image, login, howToLogin = 'give a login with --docker-username and CF_DOCKER_PASSWORD' } = this.#options;
    const how =
      login === undefined
        ? `${howToLogin}, or correct the name`
        : 'token' in login
          ? 'check the token'
          : `check the password of ${login.username}`;
    return new StagingError('no-image', `${this.#parsed.host} does not give image ${image}: ${how}`);
  }

  async #authenticate(header: string): Promise<void> {
    const { login } = this.#options;
    if (login !== undefined && 'token' in login) {
      this.#authorization = `Bearer ${login.token}`;
      return;
    }
    const basic = login && `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;
    const challenges = parseChallenges(header);
    const realm = challenges.find(({ scheme }) => scheme === 'bearer')?.parameters;
    if (realm === undefined) {
      if (basic === undefined || !challenges.some(({ scheme }) => scheme === 'basic')) throw this.#refused();
      this.#authorization = basic;
      return;
    }
    const url = new URL(realm.get('realm') ?? '');
    if (url.protocol !== 'https:' && !isLoopback(url)) throw new Error('tokens come by what is not secure');
    const service = realm.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    url.searchParams.set('scope', `repository:${this.#parsed.repository}:pull`);
    this.#authorization = basic;
    const answer = await this.#ask(url, '*/*');
    const body = await collected(answer);
    if (answer.statusCode !== 200) throw this.#refused();
    const { token, access_token: other } = JSON.parse(body.toString('utf8')) as Record<string, unknown>;
    const value = token ?? other;
    if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) throw this.#refused();
    this.#authorization = `Bearer ${value}`;
  }

  /** A registry on this machine may know no TLS, as with Docker. */
  async #ask(url: URL, accept: string, authorized = true): Promise<IncomingMessage> {
    const target = new URL(url);
    if (this.#plain && target.host === this.#origin.host) target.protocol = 'http:';
    try {
      return await this.#askOnce(target, accept, authorized);
    } catch (error) {
      if (target.protocol !== 'https:' || !isLoopback(target) || !knowsNoTls(error)) throw error;
      this.#plain = true;
      return await this.#ask(url, accept, authorized);
    }
  }

  async #askOnce(url: URL, accept: string, authorized: boolean): Promise<IncomingMessage> {
    const { guard, signal } = this.#options;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0) guard.check(host);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const secure = url.protocol === 'https:';
    const request = (secure ? secureRequest : plainRequest)(
      url,
      {
        agent: secure ? this.#agents.secure : this.#agents.plain,
        lookup: guard.lookup,
        timeout: PATIENCE,
        headers: {
          accept,
          'user-agent': 'sampan',
          ...(authorized && this.#authorization !== undefined ? { authorization: this.#authorization } : {}),
        },
        ...(signal === undefined ? {} : { signal }),
      },
      resolve,
    );
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error(`no byte for ${PATIENCE / 1000} s`)));
    request.end();
    return await promise;
  }
}

function knowsNoTls(error: unknown): boolean {
  const { code = '', message = '' } = error as NodeJS.ErrnoException;
  return (
    /^ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG)$/.test(code) ||
    /wrong version number|packet length too long/.test(message)
  );
}

function isRedirect(status: number | undefined): boolean {
  return status !== undefined && status >= 300 && status < 400 && status !== 304;
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || hostname.startsWith('127.');
}

async function collected(answer: IncomingMessage): Promise<Buffer> {
  return await readBounded(answer, LARGEST, () => new Error('the answer is too large'));
}
