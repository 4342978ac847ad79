/**
 * Bearer tokens of the registry: what Docker's token specification calls for (docs "Token Authentication
 * Implementation" and "Token Scope Documentation"), as a JSON Web Token (RFC 7519) signed by HMAC-SHA256 (RFC 7518, 3.2).
 *
 * A token says who asked and what was granted, repository by repository; it opens nothing else, and nothing for longer
 * than five minutes. The key comes from the registry's own TLS key, so that tokens outlive a restart and no further
 * secret has to be kept.
 */
import { createHmac, hkdfSync, randomUUID, timingSafeEqual } from 'node:crypto';
import { isRepository } from '../images/reference.ts';
import type { RegistryAction } from './exchange.ts';

export const TOKEN_SECONDS = 300;
/** Clocks of one machine do not differ; what is signed here is read here. */
const MOST_BYTES = 16 * 1024;
const MOST_SCOPES = 64;

/** One thing that was asked for or granted: `repository:NAME:pull,push`, `registry:catalog:*`. */
export interface Access {
  type: string;
  name: string;
  actions: string[];
  /** Asked for and not granted: a client that asks again would get the same. */
  refused?: string[];
}

export interface TokenClaims {
  /** The user; `''` for nobody. */
  subject: string;
  access: Access[];
}

const REPOSITORY_ACTIONS = ['pull', 'push', 'delete'] as const;

/** From the PEM of the registry's TLS key. */
export function tokenKey(privateKey: string): Buffer {
  return Buffer.from(hkdfSync('sha256', privateKey, '', 'registry bearer tokens', 32));
}

export function signToken(key: Buffer, service: string, claims: TokenClaims, now = Date.now()): string {
  const seconds = Math.floor(now / 1000);
  const payload = {
    iss: service,
    aud: service,
    sub: claims.subject,
    iat: seconds,
    nbf: seconds - 5,
    exp: seconds + TOKEN_SECONDS,
    jti: randomUUID(),
    access: claims.access,
  };
  const text = `${encode({ typ: 'JWT', alg: 'HS256' })}.${encode(payload)}`;
  return `${text}.${signature(key, text).toString('base64url')}`;
}

/** Undefined for a token that is not ours, not for this service, or not of this time. */
export function readToken(key: Buffer, service: string, token: string, now = Date.now()): TokenClaims | undefined {
  const parts = token.split('.');
  const [header = '', payload = '', signed = ''] = parts;
  if (parts.length !== 3 || token.length > MOST_BYTES) return undefined;
  // As text: what decodes to the same bytes is not the same token.
  const expected = Buffer.from(signature(key, `${header}.${payload}`).toString('base64url'));
  const actual = Buffer.from(signed);
  // Only what this function's counterpart wrote has the signature, so what is behind it needs no further suspicion.
  if (actual.length !== expected.length || !timingSafeEqual(actual, expected)) return undefined;
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as {
    aud: string;
    sub: string;
    nbf: number;
    exp: number;
    access: Access[];
  };
  const seconds = now / 1000;
  if (claims.aud !== service || seconds < claims.nbf || seconds >= claims.exp) return undefined;
  return { subject: claims.sub, access: claims.access };
}

export function covers(access: readonly Access[], action: RegistryAction, repository: string): boolean {
  return access.some(({ type, name, actions }) =>
    action === 'catalog'
      ? type === 'registry' && name === 'catalog' && actions.includes('*')
      : type === 'repository' && name === repository && actions.includes(action),
  );
}

/** Whether the token was asked for with this action, granted or not. */
export function answers(access: readonly Access[], action: RegistryAction, repository: string): boolean {
  const refused = access.map((entry) => ({ ...entry, actions: entry.refused ?? [] }));
  return covers(access, action, repository) || covers(refused, action, repository);
}

/** What a token must hold for this action, as a challenge names it. */
export function scopeOf(action: RegistryAction, repository: string): string {
  if (action === 'catalog') return 'registry:catalog:*';
  return `repository:${repository}:${action === 'push' ? 'pull,push' : action}`;
}

/**
 * What of the scopes is asked of this registry; types, names and actions that there are not are left out, as the
 * specification has it. Undefined where there are more than a client ever needs.
 */
export function parseScopes(texts: readonly string[]): Access[] | undefined {
  const words = texts.flatMap((text) => text.split(' ')).filter((word) => word !== '');
  if (words.length > MOST_SCOPES) return undefined;
  return words.flatMap((word): Access[] => {
    const first = word.indexOf(':');
    const last = word.lastIndexOf(':');
    if (first < 0 || first === last) return [];
    const [type, name] = [word.slice(0, first), word.slice(first + 1, last)];
    const asked = word.slice(last + 1).split(',');
    if (type === 'registry' && name === 'catalog') return asked.includes('*') ? [{ type, name, actions: ['*'] }] : [];
    if (type !== 'repository' || !isRepository(name)) return [];
    const actions = REPOSITORY_ACTIONS.filter((action) => asked.includes(action) || asked.includes('*'));
    return actions.length === 0 ? [] : [{ type, name, actions }];
  });
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signature(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
