/** Questions about rights and identities: who am I, may I, may somebody else, whose token is this. */
import type { PolicyRule } from '../kinds/types/rbac.ts';
import { type Access, mayAccess, mayVisit, missingRoles } from './authorize.ts';
import type { Core } from './core.ts';
import type { AuthenticateToken } from './authenticators/token.ts';
import { badRequest, methodNotAllowed } from './errors.ts';
import { authenticated, type Exchange, sendJson, type User } from './exchange.ts';
import { negotiate } from './negotiate.ts';
import { readDecoded } from './read-body.ts';
import type { ResourceRequest } from './route.ts';
import { PRIVILEGED_GROUP } from './rules.ts';

type Spec = Record<string, unknown>;
type Answer = (spec: Spec, asked: Asked) => object | Promise<object>;

interface Asked {
  core: Core;
  user: User;
  namespace: string;
  authenticateToken: AuthenticateToken;
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  'authorization.k8s.io/selfsubjectaccessreviews': (spec, { core, user }) => ({
    spec,
    status: accessStatus(core, user, spec),
  }),
  'authorization.k8s.io/subjectaccessreviews': (spec, { core }) => ({
    spec,
    status: accessStatus(core, subjectOf(spec), spec),
  }),
  'authorization.k8s.io/localsubjectaccessreviews': (spec, { core, namespace }) => {
    const attributes = spec['resourceAttributes'] as Record<string, string> | undefined;
    if (attributes === undefined) throw badRequest('spec.resourceAttributes: Required value');
    if ((attributes['namespace'] ?? '') !== namespace)
      throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
    return { spec, status: accessStatus(core, subjectOf(spec), spec) };
  },
  'authorization.k8s.io/selfsubjectrulesreviews': (spec, { core, user }) => {
    const namespace = String(spec['namespace'] ?? '');
    if (namespace === '') throw badRequest('no namespace on request');
    return { spec, status: rulesStatus(core, user, namespace) };
  },
  'authentication.k8s.io/tokenreviews': async (spec, { authenticateToken }) => ({
    spec,
    status: await tokenStatus(spec, authenticateToken),
  }),
  'authentication.k8s.io/selfsubjectreviews': (_spec, { user }) => ({ status: { userInfo: userInfo(user) } }),
};

const KINDS: Readonly<Record<string, string>> = {
  localsubjectaccessreviews: 'LocalSubjectAccessReview',
  selfsubjectaccessreviews: 'SelfSubjectAccessReview',
  selfsubjectreviews: 'SelfSubjectReview',
  selfsubjectrulesreviews: 'SelfSubjectRulesReview',
  subjectaccessreviews: 'SubjectAccessReview',
  tokenreviews: 'TokenReview',
};
const NAMESPACED = new Set(['authorization.k8s.io/localsubjectaccessreviews']);

/** False when the path is none of these. */
export async function review(
  core: Core,
  exchange: Exchange,
  request: ResourceRequest,
  authenticateToken: AuthenticateToken,
): Promise<boolean> {
  const path = `${request.group}/${request.resource}`;
  const answer = ANSWERS[path];
  if (answer === undefined || request.version !== 'v1' || request.subresource !== '') return false;
  if (NAMESPACED.has(path) !== (request.namespace !== '')) return false;
  if (request.verb !== 'create') throw methodNotAllowed();
  negotiate(exchange, undefined, false);
  const body = await readDecoded(exchange, `io.k8s.api.${request.group.split('.')[0]}.v1.${KINDS[request.resource]}`);
  const spec = (body['spec'] ?? {}) as Spec;
  const asked = { core, user: exchange.user, namespace: request.namespace, authenticateToken };
  sendJson(exchange, 201, {
    kind: KINDS[request.resource],
    apiVersion: `${request.group}/v1`,
    metadata: { creationTimestamp: null },
    ...(await answer(spec, asked)),
  });
  return true;
}

function subjectOf(spec: Spec): User {
  const name = String(spec['user'] ?? '');
  const groups = Array.isArray(spec['groups']) ? spec['groups'].map(String) : [];
  if (name === '' && groups.length === 0)
    throw badRequest('spec.user: Invalid value: "": at least one of user or group must be specified');
  return { name, groups };
}

function accessStatus(core: Core, user: User, spec: Spec): object {
  const path = spec['nonResourceAttributes'] as { path?: string; verb?: string } | undefined;
  const asked = spec['resourceAttributes'] as Record<string, string | undefined> | undefined;
  if ((path === undefined) === (asked === undefined))
    throw badRequest(
      'spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified',
    );
  const allowed =
    path !== undefined
      ? mayVisit(core, user, path.verb ?? '', path.path ?? '')
      : mayAccess(core, user, accessOf(asked));
  const reason = allowed ? '' : missingRoles(core, user, asked?.['namespace'] ?? '', '');
  return { allowed, ...(reason === '' ? {} : { reason }) };
}

/** `*` asks whether everything is allowed, which only a rule with `*` says. */
function accessOf(asked: Record<string, string | undefined> | undefined): Access {
  const [resource = '', part] = (asked?.['resource'] ?? '').split('/');
  return {
    group: asked?.['group'] ?? '',
    resource,
    subresource: asked?.['subresource'] || (part ?? ''),
    namespace: asked?.['namespace'] ?? '',
    name: asked?.['name'] ?? '',
    verb: asked?.['verb'] ?? '',
  };
}

function rulesStatus(core: Core, user: User, namespace: string): object {
  const rules: PolicyRule[] = core.roles.rulesOf(user, namespace);
  if (user.groups.includes(PRIVILEGED_GROUP) && !rules.some(({ resources }) => resources?.includes('*')))
    rules.push({ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }, { nonResourceURLs: ['*'], verbs: ['*'] });
  const ofResources = rules.filter(({ nonResourceURLs }) => nonResourceURLs === undefined);
  const ofPaths = rules.filter(({ nonResourceURLs }) => nonResourceURLs !== undefined);
  return {
    resourceRules: ofResources.map(({ verbs, apiGroups, resources, resourceNames }) => ({
      verbs,
      apiGroups,
      resources,
      ...(resourceNames === undefined ? {} : { resourceNames }),
    })),
    nonResourceRules: ofPaths.map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
    // A node's rights depend on what is bound to it.
    incomplete: user.groups.includes('system:nodes'),
  };
}

async function tokenStatus(spec: Spec, authenticate: AuthenticateToken): Promise<object> {
  const token = String(spec['token'] ?? '');
  if (token === '') throw badRequest('spec.token: Required value');
  const audiences = Array.isArray(spec['audiences']) ? spec['audiences'].map(String) : undefined;
  try {
    const found = await authenticate(token, audiences);
    if (found === undefined) return { user: {}, error: 'invalid bearer token' };
    return {
      authenticated: true,
      user: userInfo(authenticated(found.user)),
      ...(found.audiences === undefined ? {} : { audiences: found.audiences }),
    };
  } catch (error) {
    return { user: {}, error: error instanceof Error ? error.message : String(error) };
  }
}

function userInfo({ name, uid, groups, extra }: User): object {
  return {
    username: name,
    ...(uid === undefined ? {} : { uid }),
    groups,
    ...(extra === undefined ? {} : { extra }),
  };
}
