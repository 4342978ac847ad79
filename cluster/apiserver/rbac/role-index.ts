/**
 * Who has which roles, kept up to date by the watch cache: a question looks at the roles of the user and of its groups,
 * and at nothing else, however many bindings there are.
 */
import { clusterRoleBindings, clusterRoles, roleBindings, roles } from '../../kinds/resources.ts';
import type { ClusterRole, PolicyRule, RoleBinding, Subject } from '../../kinds/types/rbac.ts';
import { type Cache, type CachedObject, kindPrefix, objectOf } from '../cache.ts';
import type { User } from '../exchange.ts';
import { allowsPath, allowsResource, type ResourceAccess } from './policy-rule.ts';

interface Given {
  /** How many bindings give a role, by the role's key. */
  roles: Map<string, number>;
  /** Their rules, sorted when they are first asked for after a change. */
  sorted?: Sorted;
}
/** By subject: `u:jane`, `g:dev`. */
type Grants = Map<string, Given>;

interface Sorted {
  generation: number;
  /** By each of `resources`, with each of `resourceNames` where there are any; a rule may be under several. */
  byResource: Map<string, PolicyRule[]>;
  ofPaths: PolicyRule[];
}

interface Binding {
  namespace: string;
  subjects: string[];
  role: string;
}

const EVERYWHERE = '';

export class RoleIndex {
  /** By `namespace/name`; the namespace of a ClusterRole is empty. */
  private readonly rules = new Map<string, PolicyRule[]>();
  private readonly bindings = new Map<string, Binding>();
  /** By namespace; those of ClusterRoleBindings under the empty one. */
  private readonly grants = new Map<string, Grants>();
  /** Grows with every change of a role or binding. */
  private generation = 0;

  /** Call when the cache is filled. */
  constructor(cache: Cache) {
    for (const ref of [roles, clusterRoles])
      this.follow(cache, kindPrefix(ref), (object, gone) => this.putRole(object, gone));
    for (const ref of [roleBindings, clusterRoleBindings])
      this.follow(cache, kindPrefix(ref), (object, gone) => this.putBinding(object, gone));
  }

  allows(user: User, access: ResourceAccess & { namespace: string }): boolean {
    const { resource, subresource, namespace, name } = access;
    const resources = subresource === '' ? [resource, '*'] : [`${resource}/${subresource}`, '*', `*/${subresource}`];
    const keys = name === '' ? resources : [...resources, ...resources.map((one) => namedKey(one, name))];
    return this.eachGiven(user, namespace, (given) => {
      const { byResource } = this.sort(given);
      return keys.some((key) => byResource.get(key)?.some((rule) => allowsResource(rule, access)) === true);
    });
  }

  allowsPath(user: User, verb: string, path: string): boolean {
    return this.eachGiven(user, EVERYWHERE, (given) =>
      this.sort(given).ofPaths.some((rule) => allowsPath(rule, verb, path)),
    );
  }

  /** Everything that the user may do there. */
  rulesOf(user: User, namespace: string): PolicyRule[] {
    const found: PolicyRule[] = [];
    this.eachGiven(user, namespace, ({ roles }) => {
      for (const role of roles.keys()) found.push(...(this.rules.get(role) ?? []));
      return false;
    });
    return found;
  }

  rulesOfRole(namespace: string, name: string): PolicyRule[] | undefined {
    return this.rules.get(roleKey(namespace, name));
  }

  /** Roles that are bound to the user and do not exist, in upstream's words. */
  missingRoles(user: User, namespace: string): string[] {
    const missing = new Set<string>();
    this.eachGiven(user, namespace, ({ roles }) => {
      for (const role of roles.keys()) if (!this.rules.has(role)) missing.add(role);
      return false;
    });
    return [...missing].map((key) => {
      const slash = key.indexOf('/');
      return `${slash === 0 ? 'clusterrole' : 'role'}.rbac.authorization.k8s.io "${key.slice(slash + 1)}" not found`;
    });
  }

  /** What the user and each of its groups was given, there and everywhere; ends when `visit` says so. */
  private eachGiven(user: User, namespace: string, visit: (given: Given) => boolean): boolean {
    for (const where of namespace === EVERYWHERE ? [EVERYWHERE] : [EVERYWHERE, namespace]) {
      const grants = this.grants.get(where);
      if (grants === undefined) continue;
      const own = grants.get(`u:${user.name}`);
      if (own !== undefined && visit(own)) return true;
      for (const group of user.groups) {
        const given = grants.get(`g:${group}`);
        if (given !== undefined && visit(given)) return true;
      }
    }
    return false;
  }

  private sort(given: Given): Sorted {
    if (given.sorted?.generation === this.generation) return given.sorted;
    const sorted: Sorted = { generation: this.generation, byResource: new Map(), ofPaths: [] };
    for (const role of given.roles.keys())
      for (const rule of this.rules.get(role) ?? []) {
        if (rule.nonResourceURLs !== undefined) sorted.ofPaths.push(rule);
        for (const key of keysOf(rule)) entry(sorted.byResource, key, (): PolicyRule[] => []).push(rule);
      }
    given.sorted = sorted;
    return sorted;
  }

  private follow(cache: Cache, prefix: string, put: (object: CachedObject, gone: boolean) => void): void {
    const resource = cache.resource(prefix);
    for (const object of resource.objects.values()) put(object, false);
    resource.listeners.add(({ type, object }) => {
      this.generation++;
      put(object, type === 'delete');
    });
  }

  private putRole(object: CachedObject, gone: boolean): void {
    const key = roleKey(object.namespace, object.name);
    if (gone) this.rules.delete(key);
    else this.rules.set(key, (objectOf(object) as ClusterRole).rules ?? []);
  }

  private putBinding(object: CachedObject, gone: boolean): void {
    const before = this.bindings.get(object.key);
    if (before !== undefined) this.count(before, -1);
    this.bindings.delete(object.key);
    if (gone) return;
    const { roleRef, subjects } = objectOf(object) as unknown as RoleBinding;
    const binding: Binding = {
      namespace: object.namespace,
      subjects: (subjects ?? []).map((subject) => subjectKey(subject, object.namespace)),
      role: roleKey(roleRef.kind === 'Role' ? object.namespace : '', roleRef.name),
    };
    this.bindings.set(object.key, binding);
    this.count(binding, 1);
  }

  private count({ namespace, subjects, role }: Binding, by: number): void {
    const grants = entry(this.grants, namespace, (): Grants => new Map());
    for (const subject of subjects) {
      const { roles } = entry(grants, subject, (): Given => ({ roles: new Map() }));
      const now = (roles.get(role) ?? 0) + by;
      if (now > 0) roles.set(role, now);
      else roles.delete(role);
      if (roles.size === 0) grants.delete(subject);
    }
    if (grants.size === 0) this.grants.delete(namespace);
  }
}

function keysOf({ resources = [], resourceNames = [] }: PolicyRule): string[] {
  if (resourceNames.length === 0) return resources;
  return resources.flatMap((resource) => resourceNames.map((name) => namedKey(resource, name)));
}

function namedKey(resource: string, name: string): string {
  return `${resource} ${name}`;
}

function roleKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

function subjectKey(subject: Subject, namespace: string): string {
  if (subject.kind === 'Group') return `g:${subject.name}`;
  if (subject.kind === 'User') return `u:${subject.name}`;
  return `u:system:serviceaccount:${subject.namespace || namespace}:${subject.name}`;
}

function entry<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
