/**
 * Nobody gives rights that they do not have (Kubernetes "RBAC Authorization", "Privilege escalation prevention and
 * bootstrapping"): a role's rules are covered by those of its author, or the author may `escalate` it; a bound role's rules
 * are covered, or the author may `bind` it.
 */
import { clusterRoleBindings, clusterRoles, roleBindings, roles } from '../../kinds/resources.ts';
import type { ClusterRole, PolicyRule, RoleBinding } from '../../kinds/types/rbac.ts';
import { isDeepStrictEqual } from 'node:util';
import { mayAccess } from '../authorize.ts';
import type { Core } from '../core.ts';
import { forbidden, notFound } from '../errors.ts';
import type { User } from '../exchange.ts';
import { describeRules, quoteList, uncovered } from '../rbac/coverage.ts';
import { PRIVILEGED_GROUP } from '../rules.ts';
import { type AdmissionPlugin, type AdmissionRequest, isKind } from './plugin.ts';

export function roleEscalation(core: Core): AdmissionPlugin {
  return {
    name: 'RoleEscalation',
    validate(request) {
      const { user, operation } = request;
      if (user === undefined || operation === 'DELETE' || user.groups.includes(PRIVILEGED_GROUP)) return;
      if (isKind(request, roles) || isKind(request, clusterRoles)) checkRole(core, request, user);
      else if (isKind(request, roleBindings) || isKind(request, clusterRoleBindings)) checkBinding(core, request, user);
    },
  };
}

function checkRole(core: Core, request: AdmissionRequest, user: User): void {
  const role = request.object as ClusterRole;
  const old = request.old as ClusterRole | undefined;
  if (isDeepStrictEqual(role.rules, old?.rules) && isDeepStrictEqual(role.aggregationRule, old?.aggregationRule))
    return;
  if (may(core, user, 'escalate', request.kind.resource, request.namespace, request.name)) return;
  if (role.aggregationRule !== undefined && !isDeepStrictEqual(role.aggregationRule, old?.aggregationRule)) {
    const everything = [
      { apiGroups: ['*'], resources: ['*'], verbs: ['*'] },
      { nonResourceURLs: ['*'], verbs: ['*'] },
    ];
    if (uncovered(core.roles.rulesOf(user, ''), everything).length > 0)
      throw forbidden(request.kind, request.name, 'must have cluster-admin privileges to use an aggregationRule');
  }
  checkCovered(core, request, user, role.rules ?? []);
}

function checkBinding(core: Core, request: AdmissionRequest, user: User): void {
  const binding = request.object as unknown as RoleBinding;
  const old = request.old as unknown as RoleBinding | undefined;
  if (isDeepStrictEqual(binding.roleRef, old?.roleRef) && isDeepStrictEqual(binding.subjects, old?.subjects)) return;
  const { kind, name } = binding.roleRef;
  const where = kind === 'Role' ? roles : clusterRoles;
  if (may(core, user, 'bind', where.resource, request.namespace, name)) return;
  const rules = core.roles.rulesOfRole(kind === 'Role' ? request.namespace : '', name);
  if (rules === undefined) throw notFound(where, name);
  checkCovered(core, request, user, rules);
}

function may(core: Core, user: User, verb: string, resource: string, namespace: string, name: string): boolean {
  return mayAccess(core, user, { verb, group: roles.group, resource, subresource: '', namespace, name });
}

function checkCovered(core: Core, request: AdmissionRequest, user: User, wanted: PolicyRule[]): void {
  const missing = uncovered(core.roles.rulesOf(user, request.namespace), wanted);
  if (missing.length === 0) return;
  throw forbidden(
    request.kind,
    request.name,
    `user ${JSON.stringify(user.name)} (groups=${quoteList(user.groups)}) is attempting to grant RBAC permissions not currently held:\n${describeRules(missing)}`,
  );
}
