/**
 * Creates the default roles and bindings, and gives those that are there what a newer release added. Who does not want that
 * for one sets its annotation `rbac.authorization.kubernetes.io/autoupdate` to `false`; what was added by hand stays.
 */
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import { clusterRoleBindings, clusterRoles } from '../../kinds/resources.ts';
import type { ClusterRole, RoleBinding, Subject } from '../../kinds/types/rbac.ts';
import { OWN_WRITE } from '../bootstrap.ts';
import { kindPrefix, objectKey, objectOf } from '../cache.ts';
import type { Core } from '../core.ts';
import { createObject } from '../create.ts';
import { changeObject } from '../update.ts';
import { uncovered } from './coverage.ts';
import { DEFAULT_BINDINGS, DEFAULT_ROLES, type DefaultRole } from './default-roles.ts';

const AUTO_UPDATE = 'rbac.authorization.kubernetes.io/autoupdate';
const API_GROUP = clusterRoles.group;

/** @param further  roles besides those of Kubernetes */
export async function ensureDefaultRoles(core: Core, further: readonly DefaultRole[] = []): Promise<void> {
  const kindOf = ({ group, version, resource }: typeof clusterRoles | typeof clusterRoleBindings) => {
    const kind = core.registry.find(group, version, resource);
    if (kind === undefined) throw new Error(`the kind of ${resource} is not served`);
    return kind;
  };
  const [roleKind, bindingKind] = [kindOf(clusterRoles), kindOf(clusterRoleBindings)];
  await Promise.all([
    ...[...DEFAULT_ROLES, ...further].map((role) => ensure(core, roleKind, roleObject(role), addRules)),
    ...DEFAULT_BINDINGS.map(({ role, groups }) => ensure(core, bindingKind, bindingObject(role, groups), addSubjects)),
  ]);
}

async function ensure(
  core: Core,
  kind: KindDefinition,
  wanted: ApiObject,
  /** Changes the first to have what the second has; false when it has. */
  add: (current: ApiObject, wanted: ApiObject) => boolean,
): Promise<void> {
  const name = wanted.metadata.name ?? '';
  const cached = core.cache.resource(kindPrefix(kind)).objects.get(objectKey(kind, '', name));
  if (cached === undefined) {
    await createObject(core, kind, '', wanted, OWN_WRITE);
    return;
  }
  const current = objectOf(cached);
  if (current.metadata.annotations?.[AUTO_UPDATE] !== 'true' || !add(current, wanted)) return;
  await changeObject(core, kind, { namespace: '', name }, OWN_WRITE, {
    part: '',
    change: (now) => {
      add(now, wanted);
      delete now.metadata.resourceVersion;
      return now;
    },
  });
}

function addRules(current: ApiObject, wanted: ApiObject): boolean {
  const [role, { rules }] = [current as ClusterRole, wanted as ClusterRole];
  if (role.aggregationRule !== undefined) return false;
  const missing = uncovered(role.rules ?? [], rules ?? []);
  role.rules = [...(role.rules ?? []), ...missing];
  return missing.length > 0;
}

function addSubjects(current: ApiObject, wanted: ApiObject): boolean {
  const [binding, { subjects }] = [current as unknown as RoleBinding, wanted as unknown as RoleBinding];
  const has = (one: Subject) =>
    binding.subjects?.some(({ kind, name }) => kind === one.kind && name === one.name) === true;
  const missing = (subjects ?? []).filter((one) => !has(one));
  binding.subjects = [...(binding.subjects ?? []), ...missing];
  return missing.length > 0;
}

function metadata(name: string, labels: Record<string, string> = {}): ApiObject['metadata'] {
  return {
    name,
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...labels },
    annotations: { [AUTO_UPDATE]: 'true' },
  };
}

function roleObject({ name, rules, labels, aggregates }: DefaultRole): ApiObject {
  return {
    apiVersion: `${API_GROUP}/v1`,
    kind: 'ClusterRole',
    metadata: metadata(name, labels),
    ...(aggregates === undefined
      ? { rules }
      : { aggregationRule: { clusterRoleSelectors: [{ matchLabels: { [aggregates]: 'true' } }] }, rules: [] }),
  };
}

function bindingObject(role: string, groups: string[]): ApiObject {
  return {
    apiVersion: `${API_GROUP}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: metadata(role),
    roleRef: { apiGroup: API_GROUP, kind: 'ClusterRole', name: role },
    subjects: groups.map((name) => ({ apiGroup: API_GROUP, kind: 'Group', name })),
  };
}
