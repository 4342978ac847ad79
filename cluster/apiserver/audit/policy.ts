/** Which requests are noted, and how much of them (audit.k8s.io/v1, "Policy"): the first rule that matches says. */
import { readFileSync } from 'node:fs';
import type { User } from '../exchange.ts';
import { matchesPath } from '../rbac/policy-rule.ts';

export type AuditLevel = 'None' | 'Metadata' | 'Request' | 'RequestResponse';
export type AuditStage = 'RequestReceived' | 'ResponseStarted' | 'ResponseComplete';

export interface AuditRule {
  level: AuditLevel;
  users?: string[];
  userGroups?: string[];
  verbs?: string[];
  /** Without `resources` every one of the group; `*` and `pods/*` stand for all. */
  resources?: { group?: string; resources?: string[]; resourceNames?: string[] }[];
  /** The empty one is of what has none. */
  namespaces?: string[];
  /** A trailing `*` is any rest. */
  nonResourceURLs?: string[];
  omitStages?: AuditStage[];
  omitManagedFields?: boolean;
}

export interface AuditPolicy {
  rules: AuditRule[];
  omitStages?: AuditStage[];
  omitManagedFields?: boolean;
}

/** What a rule looks at. `resource` is undefined for a path that is no resource's. */
export interface Audited {
  user: User;
  verb: string;
  path: string;
  resource?: { group: string; resource: string; subresource: string; namespace: string; name: string };
}

const LEVELS: readonly AuditLevel[] = ['None', 'Metadata', 'Request', 'RequestResponse'];
const STAGES: readonly string[] = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic'];

/** Without a policy of one's own: every change and every look of people; not what the cluster's own parts do all day. */
export const BUILTIN_POLICY: AuditPolicy = {
  omitStages: ['RequestReceived'],
  omitManagedFields: true,
  rules: [
    { level: 'None', nonResourceURLs: ['/healthz*', '/livez*', '/readyz*', '/version', '/openapi*', '/api*'] },
    { level: 'None', resources: [{ group: '', resources: ['events'] }, { group: 'events.k8s.io' }] },
    { level: 'None', resources: [{ group: 'coordination.k8s.io', resources: ['leases'] }] },
    {
      level: 'None',
      verbs: ['get', 'list', 'watch'],
      users: ['system:kube-controller-manager', 'system:sampan:platform', 'system:apiserver'],
    },
    { level: 'None', verbs: ['get', 'list', 'watch'], userGroups: ['system:nodes'] },
    {
      level: 'None',
      userGroups: ['system:nodes'],
      resources: [{ group: '', resources: ['nodes/status', 'pods/status'] }],
    },
    { level: 'Metadata' },
  ],
};

export class AuditPolicyError extends Error {
  readonly code = 'audit-policy-invalid';
  constructor(path: string, why: string, options?: ErrorOptions) {
    super(`Cannot use the audit policy "${path}": ${why}`, options);
    this.name = 'AuditPolicyError';
  }
}

/** YAML or JSON. */
export async function readAuditPolicy(path: string): Promise<AuditPolicy> {
  const { parse } = await import('yaml');
  let found: Partial<AuditPolicy> & { apiVersion?: unknown; kind?: unknown };
  try {
    found = parse(readFileSync(path, 'utf8')) as typeof found;
  } catch (cause) {
    throw new AuditPolicyError(path, (cause as Error).message, { cause });
  }
  if (found?.apiVersion !== 'audit.k8s.io/v1' || found.kind !== 'Policy')
    throw new AuditPolicyError(path, 'it needs apiVersion "audit.k8s.io/v1" and kind "Policy"');
  if (!Array.isArray(found.rules) || found.rules.length === 0) throw new AuditPolicyError(path, 'it has no rules');
  for (const [index, rule] of found.rules.entries()) {
    if (!LEVELS.includes(rule.level))
      throw new AuditPolicyError(
        path,
        `rules[${index}].level is "${String(rule.level)}": use one of ${LEVELS.join(', ')}`,
      );
    for (const stage of rule.omitStages ?? [])
      if (!STAGES.includes(stage))
        throw new AuditPolicyError(path, `rules[${index}].omitStages has "${String(stage)}": use ${STAGES.join(', ')}`);
  }
  return found as AuditPolicy;
}

export interface AuditDecision {
  level: AuditLevel;
  omitStages: readonly AuditStage[];
  omitManagedFields: boolean;
}

export function decide(policy: AuditPolicy, audited: Audited): AuditDecision {
  const rule = policy.rules.find((one) => matches(one, audited));
  return {
    level: capped(rule?.level ?? 'None', audited),
    omitStages: [...(policy.omitStages ?? []), ...(rule?.omitStages ?? [])],
    omitManagedFields: rule?.omitManagedFields ?? policy.omitManagedFields ?? false,
  };
}

/** Whatever a policy says: what these hold is nobody's to read in a log. */
function capped(level: AuditLevel, { resource }: Audited): AuditLevel {
  const holdsSecrets =
    resource !== undefined &&
    (resource.resource === 'secrets' || resource.resource === 'tokenreviews' || resource.subresource === 'token');
  return holdsSecrets && level !== 'None' ? 'Metadata' : level;
}

function matches(rule: AuditRule, { user, verb, path, resource }: Audited): boolean {
  if (rule.users?.length && !rule.users.includes(user.name)) return false;
  if (rule.userGroups?.length && !rule.userGroups.some((group) => user.groups.includes(group))) return false;
  if (rule.verbs?.length && !rule.verbs.includes(verb)) return false;
  if (resource === undefined) {
    if (rule.resources?.length || rule.namespaces?.length) return false;
    return !rule.nonResourceURLs?.length || rule.nonResourceURLs.some((pattern) => matchesPath(pattern, path));
  }
  if (rule.namespaces?.length && !rule.namespaces.includes(resource.namespace)) return false;
  if (rule.resources?.length) return rule.resources.some((one) => matchesResource(one, resource));
  return !rule.nonResourceURLs?.length;
}

function matchesResource(
  { group = '', resources, resourceNames }: NonNullable<AuditRule['resources']>[number],
  asked: NonNullable<Audited['resource']>,
): boolean {
  if (group !== asked.group) return false;
  if (!resources?.length) return true;
  const name = asked.subresource === '' ? asked.resource : `${asked.resource}/${asked.subresource}`;
  const some = resources.some(
    (one) =>
      one === '*' ||
      one === name ||
      (one.endsWith('/*') && asked.resource === one.slice(0, -2)) ||
      (one.startsWith('*/') && asked.subresource === one.slice(2)),
  );
  return some && (!resourceNames?.length || resourceNames.includes(asked.name));
}
