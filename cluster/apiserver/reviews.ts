/** Questions that a client asks about itself: may I, and who am I. */
import { mayAccess, mayVisit, groupsOf } from './authorize.ts';
import type { Core } from './core.ts';
import { methodNotAllowed } from './errors.ts';
import { type Exchange, sendJson, type User } from './exchange.ts';
import { readObject } from './read-body.ts';
import type { ResourceRequest, Verb } from './route.ts';

export type AuthenticateToken = (token: string) => Promise<User | undefined>;

/** False when the path is none of these. */
export async function review(
  core: Core,
  exchange: Exchange,
  request: ResourceRequest,
  authenticateToken: AuthenticateToken | undefined,
): Promise<boolean> {
  const path = `${request.group}/${request.version}/${request.resource}`;
  const answers: Record<string, (spec: Record<string, unknown>) => object | Promise<object>> = {
    'authorization.k8s.io/v1/selfsubjectaccessreviews': (spec) => ({
      spec,
      status: accessStatus(core, exchange.user, spec),
    }),
    'authentication.k8s.io/v1/tokenreviews': async (spec) => ({
      spec: {},
      status: await tokenStatus(spec, authenticateToken),
    }),
    'authentication.k8s.io/v1/selfsubjectreviews': () => ({
      status: { userInfo: { username: exchange.user.name, groups: groupsOf(exchange.user) } },
    }),
  };
  const answer = answers[path];
  if (answer === undefined) return false;
  if (request.verb !== 'create') throw methodNotAllowed();
  const body = await readObject(exchange);
  const spec = (body['spec'] ?? {}) as Record<string, unknown>;
  sendJson(exchange, 201, {
    kind: body['kind'],
    apiVersion: body['apiVersion'],
    metadata: {},
    ...(await answer(spec)),
  });
  return true;
}

function accessStatus(core: Core, user: User, spec: Record<string, unknown>): object {
  const path = spec['nonResourceAttributes'] as { path?: string } | undefined;
  const asked = (spec['resourceAttributes'] ?? {}) as Record<string, string | undefined>;
  const allowed =
    path !== undefined
      ? mayVisit(user, path.path ?? '')
      : mayAccess(
          core,
          user,
          {
            group: asked['group'] ?? '',
            resource: asked['resource'] ?? '',
            subresource: asked['subresource'] ?? '',
            namespace: asked['namespace'] ?? '',
            name: asked['name'] ?? '',
            verb: (asked['verb'] ?? '') as Verb,
          },
          new URLSearchParams(),
        );
  return { allowed };
}

async function tokenStatus(
  spec: Record<string, unknown>,
  authenticate: AuthenticateToken | undefined,
): Promise<object> {
  const user = await authenticate?.(String(spec['token'] ?? ''));
  if (user === undefined) return { authenticated: false, user: {}, error: 'the token is not known' };
  return { authenticated: true, user: { username: user.name, groups: groupsOf(user) } };
}
