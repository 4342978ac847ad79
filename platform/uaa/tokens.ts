/** Access and refresh tokens: JWTs signed with the instance's key, with the claims of Cloud Foundry's UAA. */
import { createPublicKey, generateKeyPair as generate, type KeyObject, randomUUID } from 'node:crypto';
import { promisify } from 'node:util';
import { type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { ApiError, type Client } from '#cluster/client/client.ts';
import { secrets } from '../resources/kubernetes.ts';
import { systemNamespace } from '../resources/types.ts';
import { type Identity, type TokenVerifier, UaaError } from './uaa.ts';
import { createHash, createPrivateKey } from 'node:crypto';

export const ACCESS_SECONDS = 600;
export const REFRESH_SECONDS = 30 * 24 * 3600;
const SECRET = 'uaa-keys';

export interface SigningKey {
  id: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
  publicPem: string;
}

/** The key in the Secret `uaa-keys`; made when it is not there. Of two that make it at once, one wins and both use it. */
export async function loadSigningKey(client: Client): Promise<SigningKey> {
  const existing = await readKey(client);
  if (existing) return existing;
  const { privateKey } = await promisify(generate)('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  try {
    await client.create(secrets, {
      metadata: { name: SECRET, namespace: systemNamespace },
      type: 'Opaque',
      data: { 'signing-key': Buffer.from(pem).toString('base64') },
    });
  } catch (error) {
    if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
  }
  const made = await readKey(client);
  if (!made) throw new Error(`Cannot read the Secret ${systemNamespace}/${SECRET} that was just written`);
  return made;
}

async function readKey(client: Client): Promise<SigningKey | undefined> {
  try {
    const secret = await client.get(secrets, SECRET, systemNamespace);
    const privateKey = createPrivateKey(Buffer.from(secret.data?.['signing-key'] ?? '', 'base64'));
    const publicKey = createPublicKey(privateKey);
    const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    return { id: createHash('sha256').update(publicPem).digest('hex').slice(0, 16), privateKey, publicKey, publicPem };
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

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
  readonly key: SigningKey;
  readonly issuer: string;

  /** `issuer` is UAA's URL; tokens carry `<issuer>/oauth/token`, as UAA's do. */
  constructor(key: SigningKey, issuer: string) {
    this.key = key;
    this.issuer = `${issuer}/oauth/token`;
  }

  async access(subject: TokenSubject): Promise<{ token: string; jti: string }> {
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
        rev_sig: this.key.id.slice(0, 8),
        zid: 'uaa',
        aud: audiences,
      },
      ACCESS_SECONDS,
    );
    return { token, jti };
  }

  /** `id` names the place in its chain: rotation makes a new one. */
  refresh(subject: TokenSubject, id: string): Promise<string> {
    return this.#sign(
      {
        jti: `${id}-r`,
        sub: subject.userId,
        client_id: subject.clientId,
        cid: subject.clientId,
        azp: subject.clientId,
        granted_scopes: subject.scopes,
        grant_type: subject.grantType,
        user_id: subject.userId,
        user_name: subject.userName,
        origin: subject.origin,
        epoch: subject.epoch,
        zid: 'uaa',
        aud: [subject.clientId],
      },
      REFRESH_SECONDS,
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
    };
  }

  async verifyRefresh(token: string): Promise<RefreshClaims> {
    const claims = await this.claims(token);
    const jti = text(claims.jti);
    if (!jti.endsWith('-r') || !Array.isArray(claims.granted_scopes)) {
      throw new UaaError('invalid_token', 'The token is no refresh token');
    }
    return {
      userId: text(claims.user_id),
      clientId: text(claims.cid),
      epoch: typeof claims.epoch === 'number' ? claims.epoch : -1,
      id: jti.slice(0, -2),
      grantType: text(claims.grant_type) || 'password',
      scopes: claims.granted_scopes.filter((scope) => typeof scope === 'string'),
    };
  }

  async claims(token: string): Promise<JWTPayload> {
    try {
      const { payload } = await jwtVerify(token, this.key.publicKey, {
        algorithms: ['RS256'],
        issuer: this.issuer,
        clockTolerance: 5,
      });
      return payload;
    } catch (cause) {
      throw new UaaError('invalid_token', 'The token expired, was revoked, or was not issued here. Log in again.', {
        cause,
      });
    }
  }

  #sign(claims: JWTPayload, seconds: number): Promise<string> {
    return new SignJWT(claims)
      .setProtectedHeader({
        alg: 'RS256',
        kid: this.key.id,
        typ: 'JWT',
        jku: this.issuer.replace('/oauth/token', '/token_keys'),
      })
      .setIssuer(this.issuer)
      .setIssuedAt()
      .setExpirationTime(`${seconds}s`)
      .sign(this.key.privateKey);
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
