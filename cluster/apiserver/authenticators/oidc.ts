/**
 * Users of an OpenID Connect issuer (Kubernetes "OpenID Connect Tokens"). Its keys are found by discovery at the first token,
 * are remembered, and are asked for again when a token names one that is not among them.
 */
import https from 'node:https';
import { createRemoteJWKSet, customFetch, type JWTPayload, jwtVerify, type JWTVerifyGetKey } from 'jose';
import { outsideTls } from '#lib/authorities.ts';
import { once } from '#lib/once.ts';
import type { User } from '../exchange.ts';
import { issuerOf } from './service-account.ts';
import type { AuthenticateToken } from './token.ts';

export interface OidcOptions {
  /** As in `iss`; discovery is at `<issuer>/.well-known/openid-configuration`. HTTPS only. */
  issuer: string;
  /** Where its keys are, instead of discovery: HTTPS, or HTTP of this machine's own loopback. */
  keysUrl?: string;
  /** One of `aud`. */
  clientId: string;
  /** Default `sub`. */
  usernameClaim?: string;
  /** Default: the issuer and `#`, but nothing for `email`; `-` is nothing. */
  usernamePrefix?: string;
  groupsClaim?: string;
  groupsPrefix?: string;
  /** Claims that must have these values. */
  requiredClaims?: Record<string, string>;
  /** PEM, where the issuer's certificate is of an authority of its own. */
  ca?: string;
  /** Milliseconds before its keys are asked for again, whatever tokens come; default 5,000. */
  keyCooldown?: number;
  /** Default `RS256`. */
  algorithms?: string[];
}

const ANSWER_LIMIT = 1024 * 1024;
const PATIENCE = 10_000;

export function oidcTokens(options: OidcOptions, now: () => number): AuthenticateToken {
  const source = options.keysUrl ?? options.issuer;
  const own = options.keysUrl?.startsWith('http://127.0.0.1:') === true;
  if (!source.startsWith('https://') && !own)
    throw new Error(`The issuer "${source}" cannot be used: its URL must begin with https://`);
  const { algorithms = ['RS256'] } = options;
  const findKeys = once(() => discover(options));
  return async (token) => {
    if (issuerOf(token) !== options.issuer) return undefined;
    const { payload } = await jwtVerify(token, await findKeys(), {
      issuer: options.issuer,
      audience: options.clientId,
      algorithms,
      currentDate: new Date(now()),
      requiredClaims: ['exp'],
    });
    return { user: userOf(payload, options) };
  };
}

function userOf(claims: JWTPayload, options: OidcOptions): User {
  const { usernameClaim = 'sub', groupsClaim, groupsPrefix = '' } = options;
  const name = claims[usernameClaim];
  if (typeof name !== 'string' || name === '')
    throw new Error(`oidc: parse username claims "${usernameClaim}": claim not present`);
  if (usernameClaim === 'email' && claims['email_verified'] !== undefined && claims['email_verified'] !== true)
    throw new Error('oidc: email not verified');
  for (const [claim, value] of Object.entries(options.requiredClaims ?? {}))
    if (claims[claim] !== value)
      throw new Error(`oidc: required claim ${claim} not present in ID token or has another value`);
  const groups = groupsClaim === undefined ? [] : [claims[groupsClaim] ?? []].flat().map(String);
  return { name: `${usernamePrefix(options)}${name}`, groups: groups.map((group) => groupsPrefix + group) };
}

function usernamePrefix({ usernamePrefix, usernameClaim = 'sub', issuer }: OidcOptions): string {
  if (usernamePrefix === '-') return '';
  return usernamePrefix ?? (usernameClaim === 'email' ? '' : `${issuer}#`);
}

async function discover(options: OidcOptions): Promise<JWTVerifyGetKey> {
  const { issuer, ca, keysUrl, keyCooldown = 5_000 } = options;
  const cooldown = { cooldownDuration: keyCooldown, timeoutDuration: PATIENCE };
  if (keysUrl?.startsWith('http:')) return createRemoteJWKSet(new URL(keysUrl), cooldown);
  return createRemoteJWKSet(new URL(keysUrl ?? (await discoverKeysUrl(issuer, ca))), {
    ...cooldown,
    [customFetch]: async (target: string) => new Response(await fetchText(target, ca)),
  });
}

async function discoverKeysUrl(issuer: string, ca: string | undefined): Promise<string> {
  const url = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const document = JSON.parse(await fetchText(url, ca)) as { issuer?: string; jwks_uri?: string };
  if (document.issuer !== issuer)
    throw new Error(
      `oidc: issuer did not match the issuer returned by provider, expected "${issuer}" got "${document.issuer}"`,
    );
  if (document.jwks_uri?.startsWith('https://') !== true)
    throw new Error(`oidc: the issuer "${issuer}" names no jwks_uri that begins with https://`);
  return document.jwks_uri;
}

function fetchText(url: string, ca: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = https.get(url, { ...(ca === undefined ? outsideTls() : { ca }), timeout: PATIENCE }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > ANSWER_LIMIT) request.destroy(new Error(`${url} answers with more than ${ANSWER_LIMIT} bytes`));
        chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString());
        else reject(new Error(`${url} answers with status ${response.statusCode}`));
      });
    });
    request.on('timeout', () => request.destroy(new Error(`${url} does not answer`)));
    request.on('error', reject);
  });
}
