/** What webhooks and policies of admission have in common: which requests they are about. */
import { celProblem } from '../cel/cel.ts';
import { AUTHORIZER } from '../cel/library-authorizer.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { qualifiedNameProblem } from './names.ts';
import type { MatchCondition, RuleWithOperations } from './types/admissionregistration.ts';

const OPERATIONS = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
const SCOPES = ['*', 'Cluster', 'Namespaced'];
const CONDITIONS_LIMIT = 64;
/** Of every expression about a request. */
export const REQUEST_VARIABLES = ['object', 'oldObject', 'request', `authorizer ${AUTHORIZER}`];

export function ruleProblems(rules: readonly RuleWithOperations[], at: string): FieldError[] {
  return rules.flatMap((rule, index) => {
    const where = `${at}[${index}]`;
    const errors: FieldError[] = [];
    for (const field of ['operations', 'apiGroups', 'apiVersions', 'resources'] as const) {
      const values = rule[field] ?? [];
      if (values.length === 0) errors.push(required(`${where}.${field}`));
      if (field !== 'resources' && values.length > 1 && values.includes('*'))
        errors.push(invalid(`${where}.${field}`, values, "if '*' is present, must not specify other values"));
    }
    for (const [number, operation] of (rule.operations ?? []).entries())
      if (!OPERATIONS.includes(operation))
        errors.push(notSupported(`${where}.operations[${number}]`, operation, OPERATIONS));
    for (const [number, version] of (rule.apiVersions ?? []).entries())
      if (version === '') errors.push(required(`${where}.apiVersions[${number}]`));
    for (const [number, resource] of (rule.resources ?? []).entries())
      if (resource === '') errors.push(required(`${where}.resources[${number}]`));
    if (rule.scope !== undefined && !SCOPES.includes(rule.scope))
      errors.push(notSupported(`${where}.scope`, rule.scope, SCOPES));
    return errors;
  });
}

export function conditionProblems(
  conditions: readonly MatchCondition[] | undefined,
  at: string,
  variables: readonly string[],
): FieldError[] {
  if (conditions === undefined) return [];
  const errors: FieldError[] = [];
  if (conditions.length > CONDITIONS_LIMIT) errors.push(forbidden(at, `must have at most ${CONDITIONS_LIMIT} items`));
  const names = new Set<string>();
  for (const [index, { name, expression }] of conditions.entries()) {
    const where = `${at}[${index}]`;
    const problem = name ? qualifiedNameProblem(name) : undefined;
    if (!name) errors.push(required(`${where}.name`));
    else if (problem !== undefined) errors.push(invalid(`${where}.name`, name, problem));
    if (names.has(name)) errors.push(duplicate(`${where}.name`, name));
    names.add(name);
    errors.push(...expressionProblems(expression, `${where}.expression`, variables, ['bool']));
  }
  return errors;
}

export function expressionProblems(
  expression: string | undefined,
  at: string,
  variables: readonly string[],
  types: readonly string[] | 'any',
): FieldError[] {
  if (!expression?.trim()) return [required(at)];
  const problem = celProblem(expression, variables, types);
  return problem === undefined ? [] : [invalid(at, expression, problem)];
}
