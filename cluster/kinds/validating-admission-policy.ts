import { conditionProblems, expressionProblems, REQUEST_VARIABLES, ruleProblems } from './admission-rules.ts';
import { ageColumn, column, nameColumn } from './columns.ts';
import { defineKind } from './define.ts';
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, required } from './field-errors.ts';
import { keepsMetadata } from './metadata.ts';
import { dns1035Problem, qualifiedNameProblem } from './names.ts';
import { validatingAdmissionPolicies, validatingAdmissionPolicyBindings } from './resources.ts';
import { check, dns1035Label, dnsSubdomain, eachOf, oneOf, present, type Rule, setDefaults } from './rules.ts';
import { labelSelectorProblems } from './selector.ts';
import type {
  MatchResources,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingAdmissionPolicySpec,
} from './types/admissionregistration.ts';

const ACTIONS = ['Audit', 'Deny', 'Warn'];
const REASONS = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];

/** Besides those that every expression about a request has. */
export const POLICY_VARIABLES = [...REQUEST_VARIABLES, 'params', 'namespaceObject', 'variables'];

const matchDefaults = (at: string) => ({
  [`${at}.matchPolicy`]: 'Equivalent',
  [`${at}.namespaceSelector`]: {},
  [`${at}.objectSelector`]: {},
  [`${at}.resourceRules[*].scope`]: '*',
  [`${at}.excludeResourceRules[*].scope`]: '*',
});

export const validatingAdmissionPolicyKind = defineKind(validatingAdmissionPolicies, {
  schemaName: 'io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy',
  categories: ['api-extensions'],
  subresources: { status: true },
  prepareStatus: keepsMetadata('labels', 'annotations', 'finalizers'),
  generation: true,
  columns: [
    nameColumn,
    column<ValidatingAdmissionPolicy>('Validations', 'integer', ({ spec }) => spec?.validations?.length ?? 0),
    column<ValidatingAdmissionPolicy>('ParamKind', 'string', ({ spec }) =>
      spec?.paramKind === undefined ? '<unset>' : `${spec.paramKind.apiVersion}/${spec.paramKind.kind}`,
    ),
    ageColumn,
  ],
  defaults: (object) =>
    setDefaults(object, { 'spec.failurePolicy': 'Fail', ...matchDefaults('spec.matchConstraints') }),
  // A controller says what it thinks of the expressions.
  prepareForCreate: (object) => {
    delete (object as ValidatingAdmissionPolicy).status;
  },
  validate: (object) => policyProblems((object as ValidatingAdmissionPolicy).spec ?? {}),
});

export const validatingAdmissionPolicyBindingKind = defineKind(validatingAdmissionPolicyBindings, {
  schemaName: 'io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding',
  categories: ['api-extensions'],
  generation: true,
  columns: [
    nameColumn,
    column<ValidatingAdmissionPolicyBinding>('PolicyName', 'string', ({ spec }) => spec?.policyName ?? ''),
    column<ValidatingAdmissionPolicyBinding>('ParamRef', 'string', ({ spec }) => {
      const { name, namespace, selector } = spec?.paramRef ?? {};
      if (name !== undefined) return namespace === undefined ? name : `${namespace}/${name}`;
      return selector === undefined ? '<unset>' : '<selector>';
    }),
    ageColumn,
  ],
  defaults: (object) => setDefaults(object, matchDefaults('spec.matchResources')),
  validate: (object) => {
    const { spec = {} } = object as ValidatingAdmissionPolicyBinding;
    const { validationActions: actions = [], paramRef, matchResources } = spec;
    const errors = check(object, {
      'spec.policyName': [present(), dnsSubdomain],
      'spec.validationActions': eachOf(...ACTIONS),
      'spec.paramRef.parameterNotFoundAction': [present(), oneOf('Allow', 'Deny')],
    });
    if (actions.length === 0) errors.push(required('spec.validationActions'));
    for (const [index, action] of actions.entries())
      if (actions.indexOf(action) !== index) errors.push(duplicate(`spec.validationActions[${index}]`, action));
    if (actions.includes('Deny') && actions.includes('Warn'))
      errors.push(
        invalid(
          'spec.validationActions',
          actions,
          'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
        ),
      );
    if (paramRef !== undefined && (paramRef.name === undefined) === (paramRef.selector === undefined))
      errors.push(
        paramRef.name === undefined
          ? required('spec.paramRef', 'one of name or selector must be specified')
          : forbidden('spec.paramRef.name', 'name and selector are mutually exclusive'),
      );
    return [...errors, ...(matchResources === undefined ? [] : matchProblems(matchResources, 'spec.matchResources'))];
  },
});

const groupVersion: Rule = (value, field) => {
  const [version = '', group, ...more] = String(value).split('/').toReversed();
  if (more.length > 0) return [invalid(field, value, `unexpected GroupVersion string: ${String(value)}`)];
  return [...(group === undefined ? [] : dnsSubdomain(group, field)), ...dns1035Label(version, field)];
};

const kindName: Rule = (value, field) => {
  const problem = dns1035Problem(String(value).toLowerCase());
  return problem === undefined
    ? []
    : [invalid(field, value, `may have mixed case, but should otherwise match: ${problem}`)];
};

function policyProblems(spec: ValidatingAdmissionPolicySpec): FieldError[] {
  const errors = check(
    { spec },
    {
      'spec.failurePolicy': oneOf('Fail', 'Ignore'),
      'spec.paramKind.apiVersion': [present(), groupVersion],
      'spec.paramKind.kind': [present(), kindName],
      'spec.validations[*].reason': oneOf(...REASONS),
    },
  );
  const { validations = [], auditAnnotations = [], variables = [], matchConstraints } = spec;
  if (matchConstraints === undefined) errors.push(required('spec.matchConstraints'));
  else {
    if ((matchConstraints.resourceRules ?? []).length === 0)
      errors.push(required('spec.matchConstraints.resourceRules'));
    errors.push(...matchProblems(matchConstraints, 'spec.matchConstraints'));
  }
  if (validations.length === 0 && auditAnnotations.length === 0)
    errors.push(required('spec.validations', 'validations or auditAnnotations must contain at least one item'));
  const names = spec.paramKind === undefined ? POLICY_VARIABLES.filter((one) => one !== 'params') : POLICY_VARIABLES;
  // What somebody may do is nothing to tell.
  const ofMessages = names.filter((one) => !one.startsWith('authorizer '));
  for (const [index, { name, expression }] of variables.entries()) {
    const at = `spec.variables[${index}]`;
    if (!/^[_a-zA-Z]\w*$/.test(name)) errors.push(invalid(`${at}.name`, name, 'name is not a valid CEL identifier'));
    if (variables.findIndex((one) => one.name === name) !== index) errors.push(duplicate(`${at}.name`, name));
    errors.push(...expressionProblems(expression, `${at}.expression`, names, 'any'));
  }
  for (const [index, { expression, message, messageExpression }] of validations.entries()) {
    const at = `spec.validations[${index}]`;
    errors.push(...expressionProblems(expression, `${at}.expression`, names, ['bool']));
    if (message !== undefined && (message.trim() === '' || message.includes('\n')))
      errors.push(invalid(`${at}.message`, message, 'message must be non-empty and must not contain line breaks'));
    if (messageExpression !== undefined)
      errors.push(...expressionProblems(messageExpression, `${at}.messageExpression`, ofMessages, ['string']));
  }
  for (const [index, { key, valueExpression }] of auditAnnotations.entries()) {
    const at = `spec.auditAnnotations[${index}]`;
    const problem = qualifiedNameProblem(key);
    if (problem !== undefined) errors.push(invalid(`${at}.key`, key, problem));
    errors.push(...expressionProblems(valueExpression, `${at}.valueExpression`, names, ['string', 'null']));
  }
  return [
    ...errors,
    ...conditionProblems(
      spec.matchConditions,
      'spec.matchConditions',
      names.filter((one) => one !== 'variables'),
    ),
  ];
}

function matchProblems(match: MatchResources, at: string): FieldError[] {
  const errors = check(match, { matchPolicy: oneOf('Equivalent', 'Exact') }, at);
  for (const field of ['namespaceSelector', 'objectSelector'] as const) {
    const selector = match[field];
    if (selector !== undefined) errors.push(...labelSelectorProblems(selector, `${at}.${field}`));
  }
  return [
    ...errors,
    ...ruleProblems(match.resourceRules ?? [], `${at}.resourceRules`),
    ...ruleProblems(match.excludeResourceRules ?? [], `${at}.excludeResourceRules`),
  ];
}
