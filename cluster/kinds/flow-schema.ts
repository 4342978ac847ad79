import { isDeepStrictEqual } from 'node:util';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { forbidden, invalid, notSupported, required } from './field-errors.ts';
import { mandatoryFlowSchemas } from './flow-control-bootstrap.ts';
import { flowSchemas } from './resources.ts';
import { check, dnsLabel, dnsSubdomain, type Rule, setDefaults } from './rules.ts';
import type { FlowSchema, PolicyRulesWithSubjects, Subject } from './types/flowcontrol.ts';

const METHODS = ['ByNamespace', 'ByUser'];
const LEAST_IMPORTANT = 10_000;
const EVERY = '*';
/** Of an account, or all of a namespace. */
const accountName: Rule = (value, field) => (value === EVERY ? [] : dnsSubdomain(value, field));

export const flowSchemaKind = defineKind(flowSchemas, {
  schemaName: 'io.k8s.api.flowcontrol.v1.FlowSchema',
  subresources: { status: true },
  generation: true,
  columns: [
    nameColumn,
    column<FlowSchema>('PriorityLevel', 'string', ({ spec }) => spec?.priorityLevelConfiguration.name ?? ''),
    column<FlowSchema>('MatchingPrecedence', 'integer', ({ spec }) => spec?.matchingPrecedence ?? 0),
    column<FlowSchema>('DistinguisherMethod', 'string', ({ spec }) => spec?.distinguisherMethod?.type ?? '<none>'),
    ageColumn,
    column<FlowSchema>(
      'MissingPL',
      'string',
      ({ status }) => status?.conditions?.find(({ type }) => type === 'Dangling')?.status ?? '?',
    ),
  ],
  defaults: (object) => setDefaults(object, { 'spec.matchingPrecedence': 1000, status: {} }),
  validate: (object) => problems(object as unknown as FlowSchema),
});

function problems({ metadata, spec }: FlowSchema): FieldError[] {
  const name = metadata.name ?? '';
  const errors: FieldError[] = [];
  const fixed = mandatoryFlowSchemas.get(name);
  if (fixed !== undefined && !isDeepStrictEqual(spec, fixed))
    errors.push(invalid('spec', spec ?? null, `spec of '${name}' must equal the fixed value`));
  const { matchingPrecedence = 0, distinguisherMethod, priorityLevelConfiguration, rules } = spec ?? {};
  if (matchingPrecedence <= 0)
    errors.push(invalid('spec.matchingPrecedence', matchingPrecedence, 'must be a positive value'));
  if (matchingPrecedence > LEAST_IMPORTANT)
    errors.push(invalid('spec.matchingPrecedence', matchingPrecedence, `must not be greater than ${LEAST_IMPORTANT}`));
  if (matchingPrecedence === 1 && name !== 'exempt')
    errors.push(
      invalid(
        'spec.matchingPrecedence',
        matchingPrecedence,
        "only the schema named 'exempt' may have matchingPrecedence 1",
      ),
    );
  if (distinguisherMethod !== undefined && !METHODS.includes(distinguisherMethod.type))
    errors.push(notSupported('spec.distinguisherMethod', distinguisherMethod, METHODS));
  errors.push(...check(spec ?? {}, { 'priorityLevelConfiguration.name': dnsSubdomain }, 'spec'));
  if (!priorityLevelConfiguration?.name)
    errors.push(required('spec.priorityLevelConfiguration.name', 'must reference a priority level'));
  for (const [index, rule] of (rules ?? []).entries()) errors.push(...ruleProblems(rule, `spec.rules[${index}]`));
  return errors;
}

function ruleProblems(rule: PolicyRulesWithSubjects, at: string): FieldError[] {
  const { subjects = [], resourceRules = [], nonResourceRules = [] } = rule;
  const errors: FieldError[] = [];
  if (subjects.length === 0) errors.push(required(`${at}.subjects`, 'subjects must contain at least one value'));
  for (const [index, subject] of subjects.entries())
    errors.push(...subjectProblems(subject, `${at}.subjects[${index}]`));
  if (resourceRules.length === 0 && nonResourceRules.length === 0)
    errors.push(required(at, 'at least one of resourceRules and nonResourceRules has to be non-empty'));
  for (const [index, one] of resourceRules.entries()) {
    const where = `${at}.resourceRules[${index}]`;
    errors.push(...listProblems(one.verbs, `${where}.verbs`, 'verbs'), ...verbProblems(one.verbs, `${where}.verbs`));
    errors.push(...listProblems(one.apiGroups, `${where}.apiGroups`, 'api groups', 'apiGroups'));
    errors.push(...listProblems(one.resources, `${where}.resources`, 'resources'));
    if ((one.namespaces ?? []).length === 0 && one.clusterScope !== true)
      errors.push(
        required(
          `${where}.namespaces`,
          'resource rules that are not cluster scoped must supply at least one namespace',
        ),
      );
    else if ((one.namespaces ?? []).length > 0)
      errors.push(...listProblems(one.namespaces, `${where}.namespaces`, 'namespaces'));
  }
  for (const [index, one] of nonResourceRules.entries()) {
    const where = `${at}.nonResourceRules[${index}]`;
    errors.push(
      ...listProblems(one.verbs, `${where}.verbs`, 'verbs'),
      ...verbProblems(one.verbs, `${where}.verbs`, OF_PATHS),
    );
    errors.push(...listProblems(one.nonResourceURLs, `${where}.nonResourceURLs`, 'nonResourceURLs'));
    for (const [place, url] of (one.nonResourceURLs ?? []).entries())
      if (url !== EVERY && !/^\/[^*]*(\/\*)?$/.test(url))
        errors.push(
          invalid(
            `${where}.nonResourceURLs[${place}]`,
            url,
            "must start with slash, and may have '*' after its last slash alone",
          ),
        );
  }
  return errors;
}

function listProblems(list: string[] | undefined, at: string, what: string, field = what): FieldError[] {
  if (list === undefined || list.length === 0) return [required(at, `${field} must contain at least one value`)];
  return list.length > 1 && list.includes(EVERY)
    ? [invalid(at, list, `if '*' is present, must not specify other ${what}`)]
    : [];
}

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch', 'proxy', EVERY];
const OF_PATHS = ['delete', 'get', 'head', 'options', 'patch', 'post', 'put', EVERY];

function verbProblems(verbs: string[] | undefined, at: string, known = VERBS): FieldError[] {
  return (verbs ?? []).every((verb) => known.includes(verb)) ? [] : [notSupported(at, verbs, known)];
}

const KINDS = { Group: 'group', ServiceAccount: 'serviceAccount', User: 'user' } as const;

function subjectProblems(subject: Subject, at: string): FieldError[] {
  const own = KINDS[subject.kind as keyof typeof KINDS];
  if (own === undefined) return [notSupported(`${at}.kind`, subject.kind, Object.keys(KINDS))];
  const errors: FieldError[] = [];
  for (const [kind, field] of Object.entries(KINDS)) {
    const given = subject[field];
    if (field === own && given === undefined)
      errors.push(required(`${at}.${field}`, `${field} is required when subject kind is '${kind}'`));
    if (field !== own && given !== undefined)
      errors.push(forbidden(`${at}.${field}`, `${field} is forbidden when subject kind is not '${kind}'`));
    if (field === own && given !== undefined && !given.name) errors.push(required(`${at}.${field}.name`));
  }
  errors.push(...check(subject, { 'serviceAccount.name': accountName, 'serviceAccount.namespace': dnsLabel }, at));
  if (subject.serviceAccount !== undefined && !subject.serviceAccount.namespace)
    errors.push(required(`${at}.serviceAccount.namespace`, 'must specify namespace for service account'));
  return errors;
}
