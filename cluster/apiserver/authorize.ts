/** Decides whether a user may do what it asks for: what one of the authorizers allows is allowed. */
import type { Core } from './core.ts';
import { forbidden, StatusError, unauthorized } from './errors.ts';
import { ANONYMOUS, type Exchange, type User } from './exchange.ts';
import { equalTo, nodeMay } from './node-rights.ts';
import type { ResourceRequest } from './route.ts';
import { PRIVILEGED_GROUP, RIGHTS, type Rule } from './rules.ts';

/** The verb is one of the API's or any that a Role may name: `bind`, `escalate`, `impersonate`, `approve`. */
export type Access = Pick<ResourceRequest, 'group' | 'resource' | 'subresource' | 'namespace' | 'name'> & {
  verb: string;
};

const NO_QUERY = new URLSearchParams();

/** Every request for a resource comes by here, whichever way it is answered then. Throws 401 or 403. */
export function authorize(
  core: Core,
  { user, query, annotations }: Pick<Exchange, 'user' | 'query' | 'annotations'>,
  request: Access,
): void {
  if (user === ANONYMOUS) throw unauthorized();
  const access = accessOf(request, query);
  const allowed = mayAccess(core, user, access, query);
  annotations?.set('authorization.k8s.io/decision', allowed ? 'allow' : 'forbid');
  if (!allowed) throw refuse(core, user, access);
}

export function mayAccess(core: Core, user: User, access: Access, query: URLSearchParams = NO_QUERY): boolean {
  const resource = access.subresource === '' ? access.resource : `${access.resource}/${access.subresource}`;
  for (const group of user.groups) {
    if (group === PRIVILEGED_GROUP) return true;
    if (RIGHTS[group]?.rules.some((rule) => allows(rule, access, resource)) === true) return true;
    if (group === 'system:nodes' && nodeMay(core, user, access, query)) return true;
  }
  return core.roles.allows(user, access);
}

/** A list or a watch of one object, by its name, is one of that object: rules with `resourceNames` allow it. */
function accessOf(request: Access, query: URLSearchParams): Access {
  if (request.name !== '' || (request.verb !== 'list' && request.verb !== 'watch')) return request;
  return { ...request, name: equalTo(query, 'metadata.name') ?? '' };
}

function allows(rule: Rule, access: Access, resource: string): boolean {
  const has = (list: readonly string[], value: string) => list.includes('*') || list.includes(value);
  if (!has(rule.verbs, access.verb) || !has(rule.groups, access.group) || !has(rule.resources, resource)) return false;
  return rule.except?.({ verb: access.verb, resource, namespace: access.namespace, name: access.name }) !== true;
}

/** A path that is no resource's; the verb is the method in lower case. */
export function mayVisit(core: Core, user: User, verb: string, path: string): boolean {
  if (user.groups.some((group) => group === PRIVILEGED_GROUP || RIGHTS[group]?.paths.includes(path) === true))
    return true;
  return core.roles.allowsPath(user, verb, path);
}

function refuse(core: Core, user: User, access: Access): StatusError {
  return forbidden(access, access.name, whyNot(core, user, access));
}

/** An update or an applied configuration that makes a new object takes the right to create it, too. */
export function requireCreate(
  core: Core,
  user: User | undefined,
  { group, resource }: { group: string; resource: string },
  { namespace, name }: { namespace: string; name: string },
): void {
  const access = { verb: 'create', group, resource, subresource: '', namespace, name };
  if (user !== undefined && !mayAccess(core, user, access)) throw refuse(core, user, access);
}

/** The part that follows `is forbidden: `. */
export function whyNot(core: Core, user: User, access: Access): string {
  const { verb, group, namespace, subresource } = access;
  const resource = subresource === '' ? access.resource : `${access.resource}/${subresource}`;
  const scope = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return `User "${user.name}" cannot ${verb} resource "${resource}" in API group "${group}" ${scope}${missingRoles(core, user, namespace)}`;
}

/** Why a user that was given something has nothing: its roles are not there. */
export function missingRoles(core: Core, user: User, namespace: string, prefix = ': '): string {
  const missing = core.roles.missingRoles(user, namespace);
  if (missing.length === 0) return '';
  return `${prefix}RBAC: ${missing.length === 1 ? missing[0] : `[${missing.join(', ')}]`}`;
}

export function refusePath(user: User, method: string, path: string): StatusError {
  return new StatusError(
    403,
    'Forbidden',
    `forbidden: User "${user.name}" cannot ${method.toLowerCase()} path "${path}"`,
    {},
  );
}
