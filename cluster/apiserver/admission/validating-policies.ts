/**
 * ValidatingAdmissionPolicies and their bindings (Kubernetes "Validating Admission Policy"). A policy without a binding judges
 * nothing. What a binding evaluates for a request has one limit of time.
 */
import { compileCel, CelError, withinLimit } from '../../cel/cel.ts';
import { celValue } from '../../cel/value.ts';
import type { KindDefinition } from '../../kinds/kind.ts';
import { namespaces, validatingAdmissionPolicies, validatingAdmissionPolicyBindings } from '../../kinds/resources.ts';
import { definitions, schemaOf } from '../../kinds/schema.ts';
import type {
  MatchResources,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingAdmissionPolicySpec,
  Validation,
} from '../../kinds/types/admissionregistration.ts';
import { POLICY_VARIABLES } from '../../kinds/validating-admission-policy.ts';
import type { Core } from '../core.ts';
import { forbidden, StatusError } from '../errors.ts';
import { all, find } from './lookup.ts';
import { conditionsHold, matchRequest, requestVariables } from './match-request.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';
import { paramsOf } from './policy-params.ts';

interface Failure {
  policy: string;
  binding: string;
  message: string;
  reason: string;
  /** Of its expression; -1 where no expression failed. */
  index: number;
  actions: readonly string[];
}

const CODES: Record<string, number> = { Forbidden: 403, Invalid: 422, RequestEntityTooLarge: 413, Unauthorized: 401 };
const AUDIT_KEY = 'validation.policy.admission.k8s.io/validation_failure';
const ANNOTATION_LIMIT = 10 * 1024;

export function validatingPolicies(core: Core): AdmissionPlugin {
  return {
    name: 'ValidatingAdmissionPolicy',
    judgesAll: true,
    validate(request) {
      if (request.user === undefined) return;
      const bindings = all(core, validatingAdmissionPolicyBindings);
      return bindings.length === 0 ? undefined : judgeAll(core, request, bindings);
    },
  };
}

async function judgeAll(
  core: Core,
  request: AdmissionRequest,
  bindings: ValidatingAdmissionPolicyBinding[],
): Promise<void> {
  const annotations = new Map<string, Set<string>>();
  const failures: Failure[] = [];
  for (const binding of bindings) failures.push(...(await judge(core, request, binding, annotations)));
  for (const [key, values] of annotations) request.annotate(key, [...values].join(', '));
  tell(core, request, failures);
}

async function judge(
  core: Core,
  request: AdmissionRequest,
  binding: ValidatingAdmissionPolicyBinding,
  annotations: Map<string, Set<string>>,
): Promise<Failure[]> {
  const policy = find(core, validatingAdmissionPolicies, '', binding.spec?.policyName ?? '');
  if (policy?.spec === undefined) return [];
  const kind = matchOf(core, request, policy.spec.matchConstraints);
  if (
    kind === undefined ||
    (binding.spec?.matchResources !== undefined && !also(core, request, binding.spec.matchResources))
  )
    return [];
  const failure = (message: string, index = -1, reason = 'Invalid'): Failure => ({
    policy: policy.metadata.name ?? '',
    binding: binding.metadata.name ?? '',
    message,
    reason,
    index,
    actions: binding.spec?.validationActions ?? [],
  });
  try {
    const { paramKind } = policy.spec;
    const ref = binding.spec?.paramRef;
    const params =
      paramKind === undefined || ref === undefined
        ? undefined
        : await paramsOf(core, paramKind, ref, request.namespace);
    const values = {
      ...(await requestVariables(core, request, kind)),
      namespaceObject: namespaceValue(core, request.namespace),
    };
    const each =
      params === undefined ? [null] : params.objects.map((object) => celValue(object, schemaOf(params.kind)));
    return withinLimit(() =>
      each.flatMap((one) => evaluate({ policy, annotations, failure }, { ...values, params: one })),
    );
  } catch (error) {
    return policy.spec.failurePolicy === 'Ignore' ? [] : [failure((error as Error).message)];
  }
}

interface Case {
  policy: ValidatingAdmissionPolicy;
  annotations: Map<string, Set<string>>;
  failure: (message: string, index?: number, reason?: string) => Failure;
}

function evaluate({ policy, annotations, failure }: Case, known: Record<string, unknown>): Failure[] {
  const spec = policy.spec ?? {};
  if (!conditionsHold(spec.matchConditions, known, POLICY_VARIABLES)) return [];
  known['variables'] = variablesOf(spec, known);
  annotate(policy, known, annotations);
  return (spec.validations ?? []).flatMap((validation, index) => {
    const found = invalidBy(validation, known, spec);
    return found === undefined ? [] : [failure(found, index, validation.reason)];
  });
}

function namespaceValue(core: Core, namespace: string): unknown {
  const object = namespace === '' ? undefined : find(core, namespaces, '', namespace);
  return object === undefined ? null : celValue(object, definitions()['io.k8s.api.core.v1.Namespace']);
}

/** Each is evaluated when it is first asked for, and once. */
function variablesOf(spec: ValidatingAdmissionPolicySpec, known: Record<string, unknown>): object {
  const variables = {};
  for (const { name, expression } of spec.variables ?? []) {
    let value: { is: unknown } | undefined;
    const get = () => {
      value ??= { is: compileCel(expression, POLICY_VARIABLES).evaluate(known) };
      return value.is;
    };
    Object.defineProperty(variables, name, { enumerable: true, get });
  }
  return variables;
}

function invalidBy(
  { expression, message, messageExpression }: Validation,
  known: Record<string, unknown>,
  { failurePolicy }: ValidatingAdmissionPolicySpec,
): string | undefined {
  try {
    if (compileCel(expression, POLICY_VARIABLES).evaluate(known) === true) return undefined;
  } catch (error) {
    if (!(error instanceof CelError) || error.code === 'limit') throw error;
    return failurePolicy === 'Ignore' ? undefined : `expression '${expression}' resulted in error: ${error.message}`;
  }
  const stated = message?.trim() || `failed expression: ${expression.trim()}`;
  if (messageExpression === undefined) return stated;
  try {
    const text = compileCel(messageExpression, POLICY_VARIABLES).evaluate(known);
    return typeof text === 'string' && text.trim() !== '' && !text.includes('\n') ? text.trim() : stated;
  } catch (error) {
    if (error instanceof CelError && error.code !== 'limit') return stated;
    throw error;
  }
}

function annotate(
  { metadata, spec }: ValidatingAdmissionPolicy,
  known: Record<string, unknown>,
  annotations: Map<string, Set<string>>,
): void {
  for (const { key, valueExpression } of spec?.auditAnnotations ?? []) {
    const value = compileCel(valueExpression, POLICY_VARIABLES).evaluate(known);
    if (typeof value !== 'string') continue;
    const name = `${metadata.name}/${key}`;
    annotations.set(name, (annotations.get(name) ?? new Set()).add(value.slice(0, ANNOTATION_LIMIT)));
  }
}

function tell(core: Core, request: AdmissionRequest, failures: Failure[]): void {
  const audited = failures.filter(({ actions }) => actions.includes('Audit'));
  if (audited.length > 0)
    request.annotate(
      AUDIT_KEY,
      JSON.stringify(
        audited.map(({ message, policy, binding, index, actions }) => ({
          message,
          policy,
          binding,
          ...(index < 0 ? {} : { expressionIndex: index }),
          validationActions: actions,
        })),
      ),
    );
  for (const { policy, binding, message, actions } of failures) {
    for (const action of actions)
      core.metrics.count('apiserver_validating_admission_policy_check_total', {
        policy,
        policy_binding: binding,
        enforcement_action: action.toLowerCase(),
      });
    if (actions.includes('Warn'))
      request.warn(`Validation failed for ValidatingAdmissionPolicy '${policy}' with binding '${binding}': ${message}`);
  }
  const denied = failures.find(({ actions }) => actions.includes('Deny'));
  if (denied === undefined) return;
  const text = `ValidatingAdmissionPolicy '${denied.policy}' with binding '${denied.binding}' denied request: ${denied.message}`;
  const { message, details } = forbidden(request.kind, request.name, text, [{ message: text }]);
  throw new StatusError(CODES[denied.reason] ?? 422, denied.reason, message, details);
}

function matchOf(core: Core, request: AdmissionRequest, match: MatchResources | undefined): KindDefinition | undefined {
  if (match === undefined || excluded(core, request, match)) return undefined;
  return matchRequest(core, request, { ...match, rules: match.resourceRules ?? [] });
}

/** A binding may narrow what its policy is about; without rules it is about all of it. */
function also(core: Core, request: AdmissionRequest, match: MatchResources): boolean {
  if (excluded(core, request, match)) return false;
  const rules = (match.resourceRules ?? []).length === 0 ? EVERYTHING : (match.resourceRules ?? []);
  return matchRequest(core, request, { ...match, rules }) !== undefined;
}

const EVERYTHING = [{ operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*', '*'], scope: '*' }];

function excluded(
  core: Core,
  request: AdmissionRequest,
  { excludeResourceRules, matchPolicy }: MatchResources,
): boolean {
  const rules = excludeResourceRules ?? [];
  return rules.length > 0 && matchRequest(core, request, { rules, matchPolicy }) !== undefined;
}
