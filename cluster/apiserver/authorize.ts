/** Decides by the rules whether a user may do what it asks for. */
import type { Core } from './core.ts';
import { forbidden, StatusError } from './errors.ts';
import type { User } from './exchange.ts';
import { nodeMay } from './node-rights.ts';
import type { ResourceRequest } from './route.ts';
import { RIGHTS, type Rule } from './rules.ts';

export type Access = Pick<ResourceRequest, 'group' | 'resource' | 'subresource' | 'namespace' | 'name' | 'verb'>;

export function mayAccess(core: Core, user: User, access: Access, query: URLSearchParams): boolean {
  const resource = access.subresource === '' ? access.resource : `${access.resource}/${access.subresource}`;
  for (const group of groupsOf(user)) {
    if (RIGHTS[group]?.rules.some((rule) => allows(rule, access, resource))) return true;
    if (group === 'system:nodes' && nodeMay(core, user, access, query)) return true;
  }
  return false;
}

function allows(rule: Rule, access: Access, resource: string): boolean {
  const has = (list: readonly string[], value: string) => list.includes('*') || list.includes(value);
  if (!has(rule.verbs, access.verb) || !has(rule.groups, access.group) || !has(rule.resources, resource)) return false;
  return rule.except?.({ verb: access.verb, resource, namespace: access.namespace }) !== true;
}

export function mayVisit(user: User, path: string): boolean {
  return groupsOf(user).some((group) =>
    RIGHTS[group]?.paths.some((pattern) =>
      pattern.endsWith('*')
        ? path.startsWith(pattern.slice(0, -1))
        : path === pattern || path.startsWith(`${pattern}/`),
    ),
  );
}

/** Everybody that is known is in `system:authenticated`. */
export function groupsOf(user: User): string[] {
  if (user.groups.includes('system:unauthenticated')) return user.groups;
  return [...user.groups, 'system:authenticated'];
}

export function refuse(user: User, access: Access): StatusError {
  const { verb, group, namespace, name, subresource } = access;
  const resource = subresource === '' ? access.resource : `${access.resource}/${subresource}`;
  const scope = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return forbidden(
    access,
    name,
    `User "${user.name}" cannot ${verb} resource "${resource}" in API group "${group}" ${scope}`,
  );
}

export function refusePath(user: User, method: string, path: string): StatusError {
  return new StatusError(
    403,
    'Forbidden',
    `forbidden: User "${user.name}" cannot ${method.toLowerCase()} path "${path}"`,
    {},
  );
}
