/**
 * Acting as somebody else (Kubernetes "User impersonation"): each part of the wanted identity is a right of its own, so a
 * user may be allowed to act as one service account and as nobody else.
 */
import type { IncomingMessage } from 'node:http';
import { type Access, mayAccess, whyNot } from '../authorize.ts';
import type { Core } from '../core.ts';
import { badRequest, forbidden } from '../errors.ts';
import { authenticated, type User } from '../exchange.ts';

const EXTRA = 'impersonate-extra-';
const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

export function impersonated(core: Core, user: User, request: IncomingMessage): User {
  const headers = request.headersDistinct;
  const name = headers['impersonate-user']?.[0];
  const groups = headers['impersonate-group'] ?? [];
  const uid = headers['impersonate-uid']?.[0];
  const extra = extraOf(headers);
  if (name === undefined || name === '') {
    if (groups.length > 0 || uid !== undefined || extra !== undefined)
      throw badRequest('requested impersonation without impersonating a user');
    return user;
  }
  const account = SERVICE_ACCOUNT.exec(name);
  const check = (wanted: Partial<Access> & { resource: string; name: string }) => {
    const access = { group: '', subresource: '', namespace: '', verb: 'impersonate', ...wanted };
    if (!mayAccess(core, user, access)) throw forbidden(access, access.name, whyNot(core, user, access));
  };
  if (account !== null) check({ resource: 'serviceaccounts', namespace: account[1] ?? '', name: account[2] ?? '' });
  else check({ resource: 'users', name });
  for (const group of groups) check({ resource: 'groups', name: group });
  const authentication = { group: 'authentication.k8s.io' };
  if (uid !== undefined) check({ ...authentication, resource: 'uids', name: uid });
  for (const [key, values] of Object.entries(extra ?? {}))
    for (const value of values) check({ ...authentication, resource: 'userextras', subresource: key, name: value });
  return authenticated({
    name,
    groups: groups.length > 0 || account === null ? groups : serviceAccountGroups(account[1] ?? ''),
    ...(uid === undefined ? {} : { uid }),
    ...(extra === undefined ? {} : { extra }),
  });
}

export function serviceAccountGroups(namespace: string): string[] {
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
}

function extraOf(headers: NodeJS.Dict<string[]>): Record<string, string[]> | undefined {
  const found: Record<string, string[]> = {};
  for (const [header, values] of Object.entries(headers)) {
    if (!header.startsWith(EXTRA) || values === undefined) continue;
    let key: string;
    try {
      key = decodeURIComponent(header.slice(EXTRA.length));
    } catch {
      throw badRequest(`the header ${header} is not percent-encoded as it should be`);
    }
    found[key] = values;
  }
  return Object.keys(found).length === 0 ? undefined : found;
}
