/**
 * An ACME client (RFC 8555) of what http-01 needs, a method for each request of the protocol. Orders and authorizations are returned as they are:
 * who drives them (`order.ts`) decides. A nonce that the server no longer takes is replaced, as the protocol demands; nothing else is
 * tried again here.
 *
 * Of our own, on `jose`: the library that is usual for it loses a server's error type and `Retry-After`, on which the limits depend.
 */
import { createHmac } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, FlattenedSign, type JWK } from 'jose';
import type { KeyObject } from 'node:crypto';
import { retryAfter } from '../schedule.ts';
import type { AcmeSettings } from '../certificates.ts';
import type { AcmeAnswer, AcmeHttp } from './http.ts';
import { AcmeError, type Problem, textOf, typeOf } from './problem.ts';

interface Directory {
  newNonce: string;
  newAccount: string;
  newOrder: string;
  meta?: { termsOfService?: string; externalAccountRequired?: boolean };
}

export interface Order {
  /** Its address. */
  url: string;
  status: 'pending' | 'ready' | 'processing' | 'valid' | 'invalid';
  identifiers: { value: string }[];
  authorizations: string[];
  finalize: string;
  certificate?: string;
  error?: Problem;
  /** When the server wants to be asked again, milliseconds since the epoch. */
  again: number | undefined;
}

export interface Authorization {
  status: 'pending' | 'valid' | 'invalid' | 'deactivated' | 'expired' | 'revoked';
  identifier: { value: string };
  challenges: { type: string; url: string; token?: string; status: string; error?: Problem }[];
  again: number | undefined;
}

export interface AcmeClientOptions {
  settings: AcmeSettings;
  /** ECDSA P-256. */
  key: KeyObject;
  http: AcmeHttp;
  signal: AbortSignal;
  now: () => number;
}

const NONCE_ATTEMPTS = 5;

export class AcmeClient {
  readonly #options: AcmeClientOptions;
  #directory: Promise<Directory> | undefined;
  #account: Promise<string> | undefined;
  #jwk: Promise<JWK> | undefined;
  readonly #nonces: string[] = [];

  constructor(options: AcmeClientOptions) {
    this.#options = options;
  }

  /** What http-01 answers for a token (8.1). */
  async keyAuthorization(token: string): Promise<string> {
    return `${token}.${await calculateJwkThumbprint(await this.#publicKey())}`;
  }

  async newOrder(hosts: readonly string[]): Promise<Order> {
    const { newOrder } = await this.#directoryOnce();
    const answer = await this.#post(newOrder, { identifiers: hosts.map((value) => ({ type: 'dns', value })) });
    return this.#order(answer, requiredHeader(answer, newOrder, 'location'));
  }

  /** Undefined when the server has forgotten it. */
  async order(url: string): Promise<Order | undefined> {
    try {
      return this.#order(await this.#post(url), url);
    } catch (error) {
      if (error instanceof AcmeError && (error.type === 'malformed' || isNotFound(error))) return undefined;
      throw error;
    }
  }

  async authorization(url: string): Promise<Authorization> {
    const answer = await this.#post(url);
    return { ...parsed<Authorization>(answer, url), again: this.#again(answer) };
  }

  /** Says that the answer is there to be looked at. */
  async respond(challengeUrl: string): Promise<void> {
    await this.#post(challengeUrl, {});
  }

  /** @param request  certificate request, DER */
  async finalize(order: Order, request: Buffer): Promise<Order> {
    return this.#order(await this.#post(order.finalize, { csr: request.toString('base64url') }), order.url);
  }

  /** The chain, PEM. */
  async certificate(url: string): Promise<string> {
    return (await this.#post(url)).body;
  }

  #directoryOnce(): Promise<Directory> {
    const { directory: url } = this.#options.settings;
    const asked = async (): Promise<Directory> => {
      const answer = await this.#options.http('GET', url, { signal: this.#options.signal });
      if (answer.status !== 200)
        throw new AcmeError('protocol', `${url} answers ${answer.status}, not with a directory`);
      const found = parsed<Directory>(answer, url);
      const missing = (['newNonce', 'newAccount', 'newOrder'] as const).find((name) => typeof found[name] !== 'string');
      if (missing !== undefined)
        throw new AcmeError('protocol', `${url} is no directory of ACME: it has no ${missing}`);
      return found;
    };
    this.#directory ??= asked();
    this.#directory.catch(() => (this.#directory = undefined));
    return this.#directory;
  }

  /** The account of our key: one that is there is found by it, so that asking twice makes one. */
  #accountOnce(): Promise<string> {
    const asked = async (): Promise<string> => {
      const { email, binding } = this.#options.settings;
      const { newAccount } = await this.#directoryOnce();
      const answer = await this.#signed(
        newAccount,
        { jwk: await this.#publicKey() },
        {
          termsOfServiceAgreed: true,
          ...(email === undefined ? {} : { contact: [`mailto:${email}`] }),
          ...(binding === undefined
            ? {}
            : { externalAccountBinding: bound(binding, newAccount, await this.#publicKey()) }),
        },
      );
      return requiredHeader(answer, newAccount, 'location');
    };
    this.#account ??= asked();
    this.#account.catch(() => (this.#account = undefined));
    return this.#account;
  }

  #publicKey(): Promise<JWK> {
    this.#jwk ??= exportJWK(this.#options.key).then(({ kty = '', crv = '', x = '', y = '' }) => ({ kty, crv, x, y }));
    return this.#jwk;
  }

  /** Without a payload it is a read (6.3). */
  async #post(url: string, payload?: unknown): Promise<AcmeAnswer> {
    try {
      return await this.#signed(url, { kid: await this.#accountOnce() }, payload);
    } catch (error) {
      // A server that was set up anew: the next attempt makes the account there.
      if (error instanceof AcmeError && error.type === 'accountDoesNotExist') this.#account = undefined;
      throw error;
    }
  }

  async #signed(url: string, who: { kid: string } | { jwk: JWK }, payload: unknown): Promise<AcmeAnswer> {
    const { http, key, signal } = this.#options;
    const bytes = new TextEncoder().encode(payload === undefined ? '' : JSON.stringify(payload));
    for (let attempt = 1; ; attempt++) {
      const nonce = this.#nonces.pop() ?? (await this.#newNonce());
      const body = await new FlattenedSign(bytes).setProtectedHeader({ alg: 'ES256', nonce, url, ...who }).sign(key);
      const answer = await http('POST', url, { body: JSON.stringify(body), signal });
      this.#keepNonce(answer);
      if (answer.status < 400) return answer;
      const error = this.#refusal(answer, url);
      if (error.type !== 'badNonce' || attempt === NONCE_ATTEMPTS) throw error;
    }
  }

  async #newNonce(): Promise<string> {
    const { newNonce } = await this.#directoryOnce();
    const answer = await this.#options.http('HEAD', newNonce, { signal: this.#options.signal });
    return requiredHeader(answer, newNonce, 'replay-nonce');
  }

  #keepNonce({ headers }: AcmeAnswer): void {
    const nonce = headers['replay-nonce'];
    if (nonce !== undefined && this.#nonces.length < 8) this.#nonces.push(nonce);
  }

  #refusal(answer: AcmeAnswer, url: string): AcmeError {
    const notBefore = this.#again(answer);
    try {
      const problem = JSON.parse(answer.body) as Problem;
      return new AcmeError('problem', textOf(problem), { type: typeOf(problem) ?? `http ${answer.status}`, notBefore });
    } catch {
      // A proxy's page, or nothing.
      return new AcmeError('protocol', `${url} answers ${answer.status}`, { type: `http ${answer.status}`, notBefore });
    }
  }

  #order(answer: AcmeAnswer, url: string): Order {
    return { ...parsed<Order>(answer, url), url, again: this.#again(answer) };
  }

  #again({ headers }: AcmeAnswer): number | undefined {
    return retryAfter(headers['retry-after'], this.#options.now());
  }
}

function isNotFound({ type }: AcmeError): boolean {
  return type === 'http 404' || type === 'http 403' || type === 'unauthorized';
}

function requiredHeader({ headers, status }: AcmeAnswer, url: string, name: string): string {
  const value = headers[name];
  if (value === undefined) throw new AcmeError('protocol', `${url} answers ${status} without ${name}`);
  return value;
}

function parsed<T>({ body }: AcmeAnswer, url: string): T {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === 'object' && value !== null) return value as T;
  } catch {
    // Told below, as what is no object is.
  }
  throw new AcmeError('protocol', `${url} answers with something that is no JSON object`);
}

/** By HMAC, as `jose` does not sign with keys of so few bits as some servers give. */
function bound({ keyId, hmacKey }: { keyId: string; hmacKey: string }, url: string, jwk: JWK): Record<string, string> {
  const text = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const header = text({ alg: 'HS256', kid: keyId, url });
  const payload = text(jwk);
  const signature = createHmac('sha256', Buffer.from(hmacKey, 'base64url'))
    .update(`${header}.${payload}`)
    .digest('base64url');
  return { protected: header, payload, signature };
}
