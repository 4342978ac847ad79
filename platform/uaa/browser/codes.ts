/**
 * Authorization codes: each for one client, one redirect URI and one use, within a minute. They are kept in memory: after a
 * restart a client starts over. A code that comes a second time was stolen or is replayed: what was issued for it is named, to
 * be revoked (RFC 6749 section 4.1.2). Bounded, the oldest goes first.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { BoundedMap } from '#lib/bounded-map.ts';
import { UaaError } from '../uaa.ts';
import type { Authorization } from './authorization.ts';

const CODE_MILLISECONDS = 60_000;
/** As long as a token that was issued for it may live on. */
const USED_MILLISECONDS = 60 * 60_000;
const MOST = 10_000;

export interface Granted {
  authorization: Authorization;
  userId: string;
  scopes: string[];
  /** Seconds since the epoch. */
  authTime: number;
}

interface Entry extends Granted {
  until: number;
  /** It was used; by then these were issued. */
  used?: { tokens: string[] };
}

export interface Redeemed extends Granted {
  /** Tells what was issued, by `jti`. */
  issued(tokens: string[]): void;
}

/** The code was used before. */
export class CodeReplayed extends UaaError {
  readonly tokens: string[];
  constructor(tokens: string[]) {
    super('invalid_grant', 'Invalid authorization code');
    this.tokens = tokens;
  }
}

export class AuthorizationCodes {
  readonly #now: () => number;
  readonly #entries = new BoundedMap<string, Entry>(MOST);

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  issue(granted: Granted): string {
    const code = randomBytes(32).toString('base64url');
    this.#entries.set(code, { ...granted, until: this.#now() + CODE_MILLISECONDS });
    return code;
  }

  /**
   * Uses it up, whoever comes with it. Throws `invalid_grant` unless everything fits.
   * @param proven  the client has shown a secret; one without needs a verifier
   */
  redeem(
    code: string,
    by: { clientId: string; proven: boolean; redirectUri: string | undefined; verifier: string | undefined },
  ): Redeemed {
    const entry = this.#entries.get(code);
    if (entry?.used && entry.until > this.#now()) throw new CodeReplayed(entry.used.tokens);
    if (!entry || entry.until <= this.#now()) {
      this.#entries.delete(code);
      throw new UaaError('invalid_grant', 'Invalid authorization code');
    }
    const used = { tokens: [] as string[] };
    entry.used = used;
    entry.until = this.#now() + USED_MILLISECONDS;
    const { authorization } = entry;
    if (authorization.client.id !== by.clientId) throw refused('it was issued to another client');
    if (by.redirectUri === undefined ? authorization.namedRedirect : by.redirectUri !== authorization.redirectUri) {
      throw refused('redirect_uri is not the one that it was issued for');
    }
    if (authorization.challenge === undefined) {
      if (by.verifier !== undefined) throw refused('it was issued without a code_challenge');
      if (!by.proven) throw refused('a client without a secret must use PKCE');
    } else if (!fits(by.verifier ?? '', authorization.challenge)) {
      throw refused('code_verifier does not fit the code_challenge');
    }
    return { ...entry, issued: (tokens) => used.tokens.push(...tokens) };
  }
}

function refused(why: string): UaaError {
  return new UaaError('invalid_grant', `Invalid authorization code: ${why}`);
}

function fits(verifier: string, challenge: string): boolean {
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(verifier)) return false;
  const digest = Buffer.from(createHash('sha256').update(verifier).digest('base64url'));
  const expected = Buffer.from(challenge);
  return digest.length === expected.length && timingSafeEqual(digest, expected);
}
