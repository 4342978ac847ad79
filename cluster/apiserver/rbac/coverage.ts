/** Does one set of rules allow everything that another does? Nobody may give what they do not have. */
import type { PolicyRule } from '../../kinds/types/rbac.ts';
import { matchesPath } from './policy-rule.ts';

/** What is missing, each a rule of one verb; empty when all is covered. */
export function uncovered(owned: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap(atoms).filter((atom) => !owned.some((rule) => covers(rule, atom)));
}

/** One group, resource, name and verb each, or one path and verb. */
function atoms(rule: PolicyRule): PolicyRule[] {
  const found: PolicyRule[] = [];
  for (const verb of rule.verbs) {
    for (const url of rule.nonResourceURLs ?? []) found.push({ nonResourceURLs: [url], verbs: [verb] });
    for (const group of rule.apiGroups ?? [])
      for (const resource of rule.resources ?? [])
        for (const name of rule.resourceNames?.length ? rule.resourceNames : [undefined])
          found.push({
            apiGroups: [group],
            resources: [resource],
            ...(name === undefined ? {} : { resourceNames: [name] }),
            verbs: [verb],
          });
  }
  return found;
}

function covers(owned: PolicyRule, atom: PolicyRule): boolean {
  const all = (list: string[] | undefined, value: string) =>
    list?.includes('*') === true || list?.includes(value) === true;
  if (!all(owned.verbs, atom.verbs[0] ?? '')) return false;
  const url = atom.nonResourceURLs?.[0];
  if (url !== undefined) return owned.nonResourceURLs?.some((pattern) => matchesPath(pattern, url)) === true;
  if (!all(owned.apiGroups, atom.apiGroups?.[0] ?? '')) return false;
  const resource = atom.resources?.[0] ?? '';
  const slash = resource.indexOf('/');
  const resources = owned.resources ?? [];
  const subresource = slash >= 0 && resources.includes(`*${resource.slice(slash)}`);
  if (!all(resources, resource) && !subresource) return false;
  if (!owned.resourceNames?.length) return true;
  const name = atom.resourceNames?.[0];
  return name !== undefined && owned.resourceNames.includes(name);
}

/** As upstream writes them in an error: one line for each group and resource, sorted. */
export function describeRules(rules: readonly PolicyRule[]): string {
  const verbs = new Map<string, string[]>();
  for (const { verbs: own, ...rest } of rules) {
    const key = JSON.stringify(rest);
    verbs.set(key, [...(verbs.get(key) ?? []), ...own]);
  }
  const lines = [...verbs].map(([key, own]) => describe({ ...(JSON.parse(key) as PolicyRule), verbs: own }));
  return [...new Set(lines)].sort().join('\n');
}

function describe(rule: PolicyRule): string {
  const parts: [string, string[] | undefined][] = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['ResourceNames', rule.resourceNames],
    ['Verbs', rule.verbs],
  ];
  const texts = parts.flatMap(([name, list]) => (list?.length ? [`${name}:${quoteList(list)}`] : []));
  return `{${texts.join(', ')}}`;
}

export function quoteList(list: readonly string[]): string {
  return `[${list.map((one) => JSON.stringify(one)).join(' ')}]`;
}
