/** What a rule of a Role allows (Kubernetes "RBAC Authorization"). Pure: who has which rule is `role-index.ts`'s matter. */
import type { PolicyRule } from '../../kinds/types/rbac.ts';

export interface ResourceAccess {
  verb: string;
  group: string;
  resource: string;
  subresource: string;
  name: string;
}

export function allowsResource(rule: PolicyRule, access: ResourceAccess): boolean {
  return (
    has(rule.verbs, access.verb) &&
    has(rule.apiGroups, access.group) &&
    hasResource(rule.resources, access.resource, access.subresource) &&
    hasName(rule.resourceNames, access.name)
  );
}

export function allowsPath(rule: PolicyRule, verb: string, path: string): boolean {
  if (rule.nonResourceURLs === undefined || !has(rule.verbs, verb)) return false;
  return rule.nonResourceURLs.some((pattern) => matchesPath(pattern, path));
}

/** A trailing `*` is any rest. */
export function matchesPath(pattern: string, path: string): boolean {
  if (pattern === '*' || pattern === path) return true;
  return pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1));
}

function has(list: readonly string[] | undefined, value: string): boolean {
  return list !== undefined && (list.includes(value) || list.includes('*'));
}

/** `*` is everything, `*` + `/scale` that subresource of everything; a resource alone is none of its subresources. */
function hasResource(list: readonly string[] | undefined, resource: string, subresource: string): boolean {
  if (list === undefined) return false;
  if (list.includes('*')) return true;
  if (subresource === '') return list.includes(resource);
  return list.includes(`${resource}/${subresource}`) || list.includes(`*/${subresource}`);
}

function hasName(names: readonly string[] | undefined, name: string): boolean {
  return names === undefined || names.length === 0 || names.includes(name);
}
