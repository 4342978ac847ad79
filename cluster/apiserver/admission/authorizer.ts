/** `authorizer` in expressions about a request: what the user who makes it, or a service account, may do. */
import { type AskedResource, CelAuthorizer, type CelDecision, type CelRights } from '../../cel/library-authorizer.ts';
import { dnsLabelProblem, dnsSubdomainProblem } from '../../kinds/names.ts';
import { mayAccess, mayVisit, missingRoles } from '../authorize.ts';
import { serviceAccountGroups } from '../authenticators/impersonate.ts';
import type { Core } from '../core.ts';
import { authenticated, type User } from '../exchange.ts';
import type { AdmissionRequest } from './plugin.ts';

/** Undefined for the server itself, of whom nobody asks. */
export function authorizerFor(
  core: Core,
  { kind, subresource, namespace, name, user }: AdmissionRequest,
): CelAuthorizer | undefined {
  if (user === undefined) return undefined;
  const { group, resource } = kind;
  return new CelAuthorizer(rightsOf(core, user), { group, resource, subresource, namespace, name });
}

function rightsOf(core: Core, user: User): CelRights {
  const decision = (allowed: boolean, namespace: string): CelDecision => ({
    allowed,
    reason: allowed ? '' : missingRoles(core, user, namespace, ''),
  });
  return {
    ofPath: (path, verb) => decision(mayVisit(core, user, verb, path), ''),
    ofResource: (asked: AskedResource, verb) => decision(mayAccess(core, user, { ...asked, verb }), asked.namespace),
    ofServiceAccount: (namespace, name) => {
      if (dnsSubdomainProblem(name) !== undefined) throw new Error('Invalid service account name');
      if (dnsLabelProblem(namespace) !== undefined) throw new Error('Invalid service account namespace');
      const account = `system:serviceaccount:${namespace}:${name}`;
      return rightsOf(core, authenticated({ name: account, groups: serviceAccountGroups(namespace) }));
    },
  };
}
