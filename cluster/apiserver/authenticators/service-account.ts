/**
 * Service account tokens (Kubernetes "Managing Service Accounts"): bound ones, which end with their pod, secret or node, and
 * the older ones that a Secret holds. What is signed is verified once; that what it is bound to still exists, every time.
 */
import { createLocalJWKSet, decodeJwt, type JWTPayload, jwtVerify } from 'jose';
import { BoundedMap } from '#lib/bounded-map.ts';
import { nodes, pods, secrets, serviceAccounts } from '../../kinds/resources.ts';
import type { Secret } from '../../kinds/types/core.ts';
import { type CachedObject, kindPrefix, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';
import type { User } from '../exchange.ts';
import { serviceAccountGroups } from './impersonate.ts';
import type { ServiceAccountKeys } from './service-account-keys.ts';
import { TOKEN_ALGORITHM } from './service-account-keys.ts';
import { type AuthenticateToken, digestOf } from './token.ts';

export interface ServiceAccountOptions {
  /** `iss` of its tokens, and where relying parties find the keys: `<issuer>/.well-known/openid-configuration`. */
  issuer: string;
  keys: ServiceAccountKeys;
  /** Of the API server; default: the issuer. */
  audiences?: string[];
}

export interface BoundObject {
  name: string;
  uid: string;
}

/** The claim `kubernetes.io`. */
export interface BoundClaims {
  namespace: string;
  serviceaccount: BoundObject;
  pod?: BoundObject;
  secret?: BoundObject;
  node?: BoundObject;
  warnafter?: number;
}

export const LEGACY_ISSUER = 'kubernetes/serviceaccount';
const LEGACY = 'kubernetes.io/serviceaccount/';
/** After an object's deletion began its tokens are good for as long as this (ms), so that a pod can say goodbye. */
const DELETION_LEEWAY = 60_000;
const VERIFIED_LIMIT = 2_000;
const CREDENTIAL = 'authentication.kubernetes.io/';

export function serviceAccountTokens(core: Core, options: ServiceAccountOptions): AuthenticateToken {
  let { jwks } = options.keys;
  let keys = createLocalJWKSet(jwks);
  const own = options.audiences ?? [options.issuer];
  const verified = new BoundedMap<string, JWTPayload>(VERIFIED_LIMIT);

  async function verify(token: string): Promise<JWTPayload> {
    if (options.keys.jwks !== jwks) {
      ({ jwks } = options.keys);
      keys = createLocalJWKSet(jwks);
      verified.clear();
    }
    const digest = digestOf(token);
    const known = verified.get(digest);
    if (known !== undefined) return known;
    const { payload } = await jwtVerify(token, keys, {
      algorithms: [TOKEN_ALGORITHM],
      // Our own are good from the moment that they were given, also where the clock was set back since. Their end is looked at each time.
      clockTolerance: Number.MAX_SAFE_INTEGER,
    });
    verified.set(digest, payload);
    return payload;
  }

  return async (token, audiences) => {
    const issuer = issuerOf(token);
    if (issuer !== options.issuer && issuer !== LEGACY_ISSUER) return undefined;
    const claims = await verify(token);
    if (claims.exp !== undefined && claims.exp * 1000 <= core.now())
      throw new Error('service account token has expired');
    const good = issuer === LEGACY_ISSUER ? own : [claims.aud ?? []].flat();
    const wanted = audiences ?? own;
    const matching = wanted.filter((one) => good.includes(one));
    if (matching.length === 0)
      throw new Error(
        `token audiences ${JSON.stringify(good)} is invalid for the target audiences ${JSON.stringify(wanted)}`,
      );
    const user = issuer === LEGACY_ISSUER ? legacyUser(core, token, claims) : boundUser(core, claims);
    return { user, audiences: matching };
  };
}

/** Before anything is verified: whose token it says it is. */
export function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

function boundUser(core: Core, claims: JWTPayload): User {
  const bound = claims['kubernetes.io'] as BoundClaims | undefined;
  if (bound?.serviceaccount === undefined) throw new Error('the token is bound to no service account');
  const { namespace, serviceaccount: account, pod, secret, node } = bound;
  checkAlive(core, serviceAccounts, namespace, account);
  if (secret !== undefined) checkAlive(core, secrets, namespace, secret);
  if (pod !== undefined) checkAlive(core, pods, namespace, pod);
  // Of a pod's token the node is only told; a token bound to a node alone ends with it.
  else if (node !== undefined) checkAlive(core, nodes, '', node);
  const extra: Record<string, string[]> = {};
  if (claims.jti !== undefined) extra[`${CREDENTIAL}credential-id`] = [`JTI=${claims.jti}`];
  for (const [what, object] of Object.entries({ pod, node }))
    if (object !== undefined) {
      extra[`${CREDENTIAL}${what}-name`] = [object.name];
      extra[`${CREDENTIAL}${what}-uid`] = [object.uid];
    }
  return accountUser(namespace, account, extra);
}

function legacyUser(core: Core, token: string, claims: JWTPayload): User {
  const text = (key: string) => String(claims[`${LEGACY}${key}`] ?? '');
  const namespace = text('namespace');
  const name = text('secret.name');
  const object = core.cache.resource(kindPrefix(secrets)).objects.get(`${kindPrefix(secrets)}${namespace}/${name}`);
  const held = object === undefined ? undefined : (objectOf(object) as Secret).data?.['token'];
  if (held === undefined || Buffer.from(held, 'base64').toString() !== token)
    throw new Error('service account token has been invalidated');
  const account = { name: text('service-account.name'), uid: text('service-account.uid') };
  checkAlive(core, serviceAccounts, namespace, account);
  return accountUser(namespace, account, {});
}

function accountUser(namespace: string, { name, uid }: BoundObject, extra: Record<string, string[]>): User {
  return {
    name: `system:serviceaccount:${namespace}:${name}`,
    uid,
    groups: serviceAccountGroups(namespace),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

function checkAlive(
  core: Core,
  ref: { group: string; resource: string; namespaced: boolean },
  namespace: string,
  { name, uid }: BoundObject,
): void {
  const prefix = kindPrefix(ref);
  const found = core.cache
    .resource(prefix)
    .objects.get(ref.namespaced ? `${prefix}${namespace}/${name}` : prefix + name);
  const life = found === undefined ? undefined : lifeOf(found);
  if (life?.uid !== uid || life.ends + DELETION_LEEWAY < core.now())
    throw new Error('service account token has been invalidated');
}

const lives = new WeakMap<CachedObject, { uid: string; ends: number }>();

/** Parsed once for each version of an object: it is asked for with every request. */
function lifeOf(object: CachedObject): { uid: string; ends: number } {
  let life = lives.get(object);
  if (life === undefined) {
    const { uid = '', deletionTimestamp } = objectOf(object).metadata;
    life = { uid, ends: deletionTimestamp === undefined ? Number.POSITIVE_INFINITY : Date.parse(deletionTimestamp) };
    lives.set(object, life);
  }
  return life;
}
