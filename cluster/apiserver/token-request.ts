/** `serviceaccounts/token`: a new token for an account (Kubernetes "TokenRequest"). */
import { randomUUID } from 'node:crypto';
import { invalid } from '../kinds/field-errors.ts';
import type { FieldError } from '../kinds/field-error.ts';
import type { ApiObject } from '../kinds/kind.ts';
import { nodes, pods, secrets, serviceAccounts } from '../kinds/resources.ts';
import type { TokenRequest, TokenRequestSpec } from '../kinds/types/authentication.ts';
import type { Pod } from '../kinds/types/core.ts';
import type { BoundClaims, BoundObject, ServiceAccountOptions } from './authenticators/service-account.ts';
import { admitSent } from './admission/sent.ts';
import { readWriteOptions } from './admit.ts';
import { kindPrefix, objectOf } from './cache.ts';
import type { Core } from './core.ts';
import { timestamp } from './timestamp.ts';
import { conflict, forbidden, invalidObject, methodNotAllowed, noSuchPath, notFound } from './errors.ts';
import { type Exchange, sendJson } from './exchange.ts';
import { readDecoded } from './read-body.ts';
import { nodeOf } from './node-rights.ts';
import type { ResourceRequest } from './route.ts';

const DEFAULT_SECONDS = 3600;
const SHORTEST = 600;
const LONGEST = 2 ** 32;
/** What the mounted token of a pod asks for: clients that read it once live on, and are noticed by `warnafter`. */
const MOUNTED_SECONDS = 3607;
const EXTENDED_SECONDS = 365 * 24 * 3600;

export async function requestToken(
  core: Core,
  exchange: Exchange,
  request: ResourceRequest,
  options: ServiceAccountOptions,
): Promise<void> {
  if (request.verb !== 'create') throw methodNotAllowed();
  const body = await readDecoded(exchange, 'io.k8s.api.authentication.v1.TokenRequest');
  const account = find(core, serviceAccounts, request.namespace, request.name);
  const asked = defaulted(body['spec'] as TokenRequestSpec | undefined, options);
  // Who changes it may have taken something out.
  const spec = defaulted(await admitted(core, exchange, request, asked), options);
  const errors = specErrors(spec);
  if (errors.length > 0)
    throw invalidObject({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, request.name, errors);
  const bound = boundObjects(core, request, spec);
  const node = nodeOf(exchange.user);
  if (node !== undefined) checkNode(request, node, bound);
  const now = Math.floor(core.now() / 1000);
  const extended = spec.expirationSeconds === MOUNTED_SECONDS && bound.claims.pod !== undefined;
  const token = await options.keys.sign({
    aud: spec.audiences,
    exp: now + (extended ? EXTENDED_SECONDS : spec.expirationSeconds),
    iat: now,
    nbf: now,
    iss: options.issuer,
    jti: randomUUID(),
    sub: `system:serviceaccount:${request.namespace}:${request.name}`,
    'kubernetes.io': {
      namespace: request.namespace,
      ...bound.claims,
      serviceaccount: identity(account),
      ...(extended ? { warnafter: now + MOUNTED_SECONDS } : {}),
    } satisfies BoundClaims,
  });
  sendJson(exchange, 201, {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name: request.name, namespace: request.namespace, creationTimestamp: timestamp(core.now()) },
    spec,
    status: { token, expirationTimestamp: timestamp((now + spec.expirationSeconds) * 1000) },
  });
}

function defaulted(
  spec: Partial<TokenRequestSpec> = {},
  { audiences: known, issuer }: ServiceAccountOptions,
): TokenRequestSpec & { expirationSeconds: number } {
  const { audiences = [], expirationSeconds = DEFAULT_SECONDS } = spec;
  return { ...spec, audiences: audiences.length > 0 ? audiences : (known ?? [issuer]), expirationSeconds };
}

async function admitted(
  core: Core,
  exchange: Exchange,
  { namespace, name }: ResourceRequest,
  spec: TokenRequestSpec,
): Promise<TokenRequestSpec | undefined> {
  const kind = core.registry.find('', 'v1', serviceAccounts.resource);
  if (kind === undefined) throw noSuchPath();
  const options = readWriteOptions(exchange, 'CreateOptions');
  const sent = { kind, namespace, name, subresource: 'token' } as const;
  const wish: Partial<TokenRequest> = { spec };
  const whole: Partial<TokenRequest> = await admitSent(core, sent, wish, options);
  return whole.spec;
}

function specErrors({ expirationSeconds = 0 }: TokenRequestSpec): FieldError[] {
  if (expirationSeconds < SHORTEST)
    return [invalid('spec.expirationSeconds', expirationSeconds, 'may not specify a duration less than 10 minutes')];
  if (expirationSeconds > LONGEST)
    return [
      invalid('spec.expirationSeconds', expirationSeconds, 'may not specify a duration larger than 2^32 seconds'),
    ];
  return [];
}

interface Bound {
  claims: Pick<BoundClaims, 'pod' | 'secret' | 'node'>;
  pod?: Pod;
}

function boundObjects(core: Core, { namespace, name }: ResourceRequest, spec: TokenRequestSpec): Bound {
  const ref = spec.boundObjectRef;
  if (ref === undefined) return { claims: {} };
  const text = `${ref.apiVersion ?? ''}/${ref.kind ?? ''}`;
  const objectName = ref.name ?? '';
  const check = (object: ApiObject): BoundObject => {
    const found = identity(object);
    if (ref.uid && ref.uid !== found.uid)
      throw conflict(
        serviceAccounts,
        name,
        `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
      );
    return found;
  };
  switch (text) {
    case 'v1/Pod': {
      const pod = find(core, pods, namespace, objectName) as Pod;
      if (pod.spec?.serviceAccountName !== name)
        throw forbidden(
          pods,
          objectName,
          `cannot bind token for serviceaccount ${JSON.stringify(name)} to pod running with different serviceaccount name.`,
        );
      const claims: Bound['claims'] = { pod: check(pod as ApiObject) };
      const on = pod.spec.nodeName;
      if (on !== undefined) {
        const node = core.cache.resource(kindPrefix(nodes)).objects.get(kindPrefix(nodes) + on);
        claims.node = node === undefined ? { name: on, uid: '' } : identity(objectOf(node));
      }
      return { claims, pod };
    }
    case 'v1/Secret':
      return { claims: { secret: check(find(core, secrets, namespace, objectName)) } };
    case 'v1/Node':
      return { claims: { node: check(find(core, nodes, '', objectName)) } };
    default:
      throw invalidObject({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, name, [
        invalid(
          'spec.boundObjectRef',
          text,
          'cannot bind token to object of this type: use Pod, Secret or Node of "v1"',
        ),
      ]);
  }
}

/** A node gets only tokens that end with a pod of its own. */
function checkNode(request: ResourceRequest, node: string, { pod }: Bound): void {
  if (pod === undefined)
    throw forbidden(
      serviceAccounts,
      request.name,
      `node ${JSON.stringify(node)} can only request tokens bound to a pod`,
    );
  if (pod.spec?.nodeName !== node)
    throw forbidden(
      serviceAccounts,
      request.name,
      `node ${JSON.stringify(node)} cannot request a token bound to a pod that is not on it`,
    );
}

function identity({ metadata }: ApiObject): BoundObject {
  return { name: metadata.name ?? '', uid: metadata.uid ?? '' };
}

function find(
  core: Core,
  ref: typeof pods | typeof secrets | typeof nodes | typeof serviceAccounts,
  namespace: string,
  name: string,
): ApiObject {
  const prefix = kindPrefix(ref);
  const found = core.cache
    .resource(prefix)
    .objects.get(ref.namespaced ? `${prefix}${namespace}/${name}` : prefix + name);
  if (found === undefined) throw notFound(ref, name);
  return objectOf(found);
}
