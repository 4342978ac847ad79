/** Which FlowSchema a request belongs to: the first, by precedence and then by name, of which one rule matches. */
import type { FlowSchema, PolicyRulesWithSubjects, Subject } from '../../kinds/types/flowcontrol.ts';
import type { Exchange, User } from '../exchange.ts';
import { parseResourcePath, type ResourceRequest } from '../route.ts';

export interface Schema {
  name: string;
  uid: string;
  /** Of its priority level. */
  level: string;
  precedence: number;
  /** By what the flows of the schema are told apart. */
  by: 'user' | 'namespace' | undefined;
  rules: readonly PolicyRulesWithSubjects[];
}

export interface Flow {
  schema: Schema;
  distinguisher: string;
}

const EVERY = '*';
/** Users; more of them are worked out anew. */
const REMEMBERED = 4096;

export function schemaOf({ metadata, spec }: FlowSchema): Schema {
  const method = spec?.distinguisherMethod?.type;
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    level: spec?.priorityLevelConfiguration.name ?? '',
    precedence: spec?.matchingPrecedence ?? 0,
    by: method === 'ByUser' ? 'user' : method === 'ByNamespace' ? 'namespace' : undefined,
    rules: spec?.rules ?? [],
  };
}

interface Candidate {
  schema: Schema;
  /** Those of its rules of which a subject is the user. */
  rules: readonly PolicyRulesWithSubjects[];
  /** One of them matches every request. */
  always: boolean;
}

export class Classifier {
  readonly #schemas: readonly Schema[];
  /** By name and groups: a token's user is another object with each request. */
  readonly #candidates = new Map<string, readonly Candidate[]>();

  constructor(schemas: readonly Schema[]) {
    this.#schemas = schemas.toSorted((a, b) => a.precedence - b.precedence || (a.name < b.name ? -1 : 1));
  }

  /** Undefined where no schema matches, as while there is none. */
  classify({ user, method, path, query }: Pick<Exchange, 'user' | 'method' | 'path' | 'query'>): Flow | undefined {
    let request: ResourceRequest | undefined;
    let parsed = false;
    for (const { schema, rules, always } of this.#of(user)) {
      if (!parsed && (!always || schema.by === 'namespace')) {
        request = resourceOf(method, path, query);
        parsed = true;
      }
      if (!always && !rules.some((rule) => matches(rule, request, method, path))) continue;
      const distinguisher =
        schema.by === 'user' ? user.name : schema.by === 'namespace' ? (request?.namespace ?? '') : '';
      return { schema, distinguisher };
    }
    return undefined;
  }

  #of(user: User): readonly Candidate[] {
    const key = `${user.name}\n${user.groups.join('\n')}`;
    let found = this.#candidates.get(key);
    if (found === undefined) {
      found = this.#schemas.flatMap((schema): Candidate[] => {
        const rules = schema.rules.filter(({ subjects }) => subjects.some((subject) => isSubject(subject, user)));
        return rules.length === 0 ? [] : [{ schema, rules, always: rules.some(matchesAll) }];
      });
      if (this.#candidates.size >= REMEMBERED) this.#candidates.clear();
      this.#candidates.set(key, found);
    }
    return found;
  }
}

function resourceOf(method: string, path: string, query: URLSearchParams): ResourceRequest | undefined {
  try {
    return parseResourcePath(method, path, query);
  } catch {
    // A method that no resource has: it is refused when its turn comes.
    return undefined;
  }
}

function isSubject({ user: named, group, serviceAccount }: Subject, { name, groups }: User): boolean {
  if (named !== undefined) return named.name === EVERY || named.name === name;
  if (group !== undefined) return group.name === EVERY || groups.includes(group.name);
  if (serviceAccount === undefined) return false;
  const prefix = `system:serviceaccount:${serviceAccount.namespace}:`;
  return serviceAccount.name === EVERY ? name.startsWith(prefix) : name === `${prefix}${serviceAccount.name}`;
}

function matchesAll({ resourceRules = [], nonResourceRules = [] }: PolicyRulesWithSubjects): boolean {
  const every = (...lists: (readonly string[] | undefined)[]) => lists.every((list) => list?.includes(EVERY));
  return (
    resourceRules.some(
      (rule) => rule.clusterScope === true && every(rule.verbs, rule.apiGroups, rule.resources, rule.namespaces),
    ) && nonResourceRules.some((rule) => every(rule.verbs, rule.nonResourceURLs))
  );
}

function matches(
  { resourceRules = [], nonResourceRules = [] }: PolicyRulesWithSubjects,
  request: ResourceRequest | undefined,
  method: string,
  path: string,
): boolean {
  if (request === undefined)
    return nonResourceRules.some(
      ({ verbs, nonResourceURLs }) =>
        has(verbs, method.toLowerCase()) && nonResourceURLs.some((url) => isPath(url, path)),
    );
  const { verb, group, resource, subresource, namespace } = request;
  const whole = subresource === '' ? resource : `${resource}/${subresource}`;
  return resourceRules.some(
    (rule) =>
      has(rule.verbs, verb) &&
      has(rule.apiGroups, group) &&
      has(rule.resources, whole) &&
      (namespace === '' ? rule.clusterScope === true : has(rule.namespaces ?? [], namespace)),
  );
}

function has(list: readonly string[], value: string): boolean {
  return list.includes(value) || list.includes(EVERY);
}

function isPath(pattern: string, path: string): boolean {
  if (pattern === EVERY || pattern === path) return true;
  return pattern.endsWith('/*') && path.startsWith(pattern.slice(0, -1));
}
