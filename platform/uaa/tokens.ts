/** Access and refresh tokens: JWTs signed with the instance's key, with the claims of Cloud Foundry's UAA. */
import { createHash, randomUUID } from 'node:crypto';
import { type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { KeyRing } from './keys.ts';
import type { Revocations } from './revocations.ts';
import { type Identity, type TokenVerifier, UaaError } from './uaa.ts';

export const ACCESS_SECONDS = 600;
export const REFRESH_SECONDS = 30 * 24 * 3600;
export interface TokenSubject {
  userId: string;
  userName: string;
  origin: string;
  clientId: string;
  grantType: string;
  scopes: string[];
  /** Refresh tokens of an older epoch are void. */
  epoch: number;
}

export interface RefreshClaims {
  userId: string;
  clientId: string;
  epoch: number;
  id: string;
  grantType: string;
  scopes: string[];
}

export class Tokens implements TokenVerifier {
  readonly keys: KeyRing;
  readonly issuer: string;
  readonly #revoked: Revocations;

  /** `issuer` is UAA's URL; tokens carry `<issuer>/oauth/token`, as UAA's do. */
  constructor(keys: KeyRing, revoked: Revocations, issuer: string) {
    this.keys = keys;
    this.#revoked = revoked;
    this.issuer = `${issuer}/oauth/token`;
  }

  async access(
    subject: TokenSubject,
    seconds = ACCESS_SECONDS,
  ): Promise<{ token: string; jti: string; seconds: number }> {
    const jti = randomUUID().replaceAll('-', '');
    const user = subject.grantType !== 'client_credentials';
    const audiences = [...new Set([subject.clientId, ...subject.scopes.map((scope) => scope.split('.')[0] ?? scope)])];
    const token = await this.#sign(
      {
        jti,
        sub: user ? subject.userId : subject.clientId,
        scope: subject.scopes,
        client_id: subject.clientId,
        cid: subject.clientId,
        azp: subject.clientId,
        grant_type: subject.grantType,
        ...(user
          ? {
              user_id: subject.userId,
              origin: subject.origin,
              user_name: subject.userName,
              email: subject.userName,
              auth_time: Math.floor(Date.now() / 1000),
            }
          : { authorities: subject.scopes }),
        revocable: true,
        rev_sig: this.keys.current.id.slice(0, 8),
        zid: 'uaa',
        aud: audiences,
      },
      seconds,
    );
    return { token, jti, seconds };
  }

  /**
   * `id` names the place in its chain: rotation makes a new one. It has no `user_id`: that is what Kubernetes takes for
   * the user's name, and a refresh token must open nothing.
   */
  refresh(subject: TokenSubject, id: string, seconds = REFRESH_SECONDS): Promise<string> {
    return this.#sign(
      {
        jti: `${id}-r`,
        sub: subject.userId,
        client_id: subject.clientId,
        cid: subject.clientId,
        azp: subject.clientId,
        granted_scopes: subject.scopes,
        grant_type: subject.grantType,
        user_name: subject.userName,
        origin: subject.origin,
        epoch: subject.epoch,
        revocable: true,
        zid: 'uaa',
        aud: [subject.clientId],
      },
      seconds,
    );
  }

  /** OpenID Connect Core section 2: for the client itself, and no key to anything. */
  identity(
    user: { guid: string; username: string; origin: string },
    facts: { clientId: string; authTime: number; nonce?: string },
    accessToken: string,
  ): Promise<string> {
    const half = createHash('sha256').update(accessToken).digest().subarray(0, 16);
    return this.#sign(
      {
        jti: randomUUID().replaceAll('-', ''),
        sub: user.guid,
        aud: [facts.clientId],
        azp: facts.clientId,
        cid: facts.clientId,
        user_name: user.username,
        email: user.username,
        email_verified: true,
        origin: user.origin,
        auth_time: facts.authTime,
        amr: ['pwd'],
        at_hash: half.toString('base64url'),
        zid: 'uaa',
        ...(facts.nonce === undefined ? {} : { nonce: facts.nonce }),
      },
      ACCESS_SECONDS,
    );
  }

  async verify(authorization: string): Promise<Identity> {
    const claims = await this.claims(authorization.replace(/^bearer\s+/i, ''));
    if (!Array.isArray(claims.scope)) throw new UaaError('invalid_token', 'The token is no access token');
    const scopes = claims.scope.filter((scope) => typeof scope === 'string');
    return {
      userId: text(claims.user_id) || text(claims.sub),
      userName: text(claims.user_name) || text(claims.cid),
      clientId: text(claims.cid),
      origin: text(claims.origin) || 'uaa',
      scopes,
      admin: scopes.includes('cloud_controller.admin'),
      reads: ['cloud_controller.admin', 'cloud_controller.admin_read_only'].some((scope) => scopes.includes(scope))
        ? 'all'
        : scopes.includes('cloud_controller.global_auditor')
          ? 'plain'
          : 'own',
    };
  }

  async verifyRefresh(token: string): Promise<RefreshClaims> {
    const claims = await this.claims(token);
    const jti = text(claims.jti);
    if (!jti.endsWith('-r') || !Array.isArray(claims.granted_scopes)) {
      throw new UaaError('invalid_token', 'The token is no refresh token');
    }
    return {
      userId: text(claims.sub),
      clientId: text(claims.cid),
      epoch: typeof claims.epoch === 'number' ? claims.epoch : -1,
      id: jti.slice(0, -2),
      grantType: text(claims.grant_type) || 'password',
      scopes: claims.granted_scopes.filter((scope) => typeof scope === 'string'),
    };
  }

  async claims(token: string): Promise<JWTPayload> {
    let claims: JWTPayload;
    try {
      const { payload } = await jwtVerify(token, ({ kid }) => this.keys.find(kid).publicKey, {
        algorithms: ['RS256'],
        issuer: this.issuer,
        clockTolerance: 5,
      });
      claims = payload;
    } catch (cause) {
      throw invalid(cause);
    }
    if (this.#revoked.has(claims)) throw invalid(undefined);
    return claims;
  }

  #sign(claims: JWTPayload, seconds: number): Promise<string> {
    const key = this.keys.current;
    return new SignJWT(claims)
      .setProtectedHeader({
        alg: 'RS256',
        kid: key.id,
        typ: 'JWT',
        jku: this.issuer.replace('/oauth/token', '/token_keys'),
      })
      .setIssuer(this.issuer)
      .setIssuedAt()
      .setExpirationTime(`${seconds}s`)
      .sign(key.privateKey);
  }
}

function invalid(cause: unknown): UaaError {
  return new UaaError('invalid_token', 'The token expired, was revoked, or was not issued here. Log in again.', {
    cause,
  });
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
