/** What the parts of a pod's spec that the scheduler reads must be, with the errors of the API reference. */
import type { FieldError } from './field-error.ts';
import { duplicate, forbidden, invalid, notSupported, required } from './field-errors.ts';
import { dnsLabelProblem, dnsSubdomainProblem, labelValueProblem, qualifiedNameProblem } from './names.ts';
import { labelSelectorProblems } from './selector.ts';
import type {
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodAffinityTerm,
  PodSpec,
  Taint,
  Toleration,
  TopologySpreadConstraint,
} from './types/core.ts';

const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
const WHEN_UNSATISFIABLE = ['DoNotSchedule', 'ScheduleAnyway'];
const INCLUSION = ['Honor', 'Ignore'];

export function validateScheduling(spec: PodSpec, at: string): FieldError[] {
  const errors: FieldError[] = [];
  validateNodeAffinity(spec, `${at}.affinity.nodeAffinity`, errors);
  validatePodAffinity(spec, `${at}.affinity`, errors);
  errors.push(...validateTolerations(spec.tolerations, `${at}.tolerations`));
  validateSpread(spec.topologySpreadConstraints ?? [], `${at}.topologySpreadConstraints`, errors);
  validateGates(spec, at, errors);
  return errors;
}

export function validateTolerations(tolerations: readonly Toleration[] | undefined, at: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, one] of (tolerations ?? []).entries()) validateToleration(one, `${at}[${index}]`, errors);
  return errors;
}

export function validateTaints(taints: readonly Taint[] | undefined, at: string): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, taint] of (taints ?? []).entries()) {
    const { key, value = '', effect } = taint;
    const field = `${at}[${index}]`;
    checkKey(key, `${field}.key`, errors);
    const problem = labelValueProblem(value);
    if (problem !== undefined) errors.push(invalid(`${field}.value`, value, problem));
    if (!effect) errors.push(required(`${field}.effect`));
    else if (!EFFECTS.includes(effect)) errors.push(notSupported(`${field}.effect`, effect, EFFECTS));
    if (seen.has(`${key}:${effect}`)) errors.push(duplicate(field, taint));
    seen.add(`${key}:${effect}`);
  }
  return errors;
}

/** What a node must be. */
export function validateNodeSelector({ nodeSelectorTerms }: NodeSelector, at: string): FieldError[] {
  const errors: FieldError[] = [];
  const field = `${at}.nodeSelectorTerms`;
  if ((nodeSelectorTerms ?? []).length === 0) errors.push(required(field, 'must have at least one node selector term'));
  for (const [index, term] of (nodeSelectorTerms ?? []).entries()) validateNodeTerm(term, `${field}[${index}]`, errors);
  return errors;
}

function checkKey(key: string, field: string, errors: FieldError[]): void {
  const problem = qualifiedNameProblem(key);
  if (problem !== undefined) errors.push(invalid(field, key, problem));
}

function checkWeight(weight: number, field: string, errors: FieldError[]): void {
  if (weight < 1 || weight > 100) errors.push(invalid(`${field}.weight`, weight, 'must be in the range 1-100'));
}

function validateNodeAffinity({ affinity }: PodSpec, at: string, errors: FieldError[]): void {
  const { requiredDuringSchedulingIgnoredDuringExecution: needed, preferredDuringSchedulingIgnoredDuringExecution } =
    affinity?.nodeAffinity ?? {};
  if (needed !== undefined)
    errors.push(...validateNodeSelector(needed, `${at}.requiredDuringSchedulingIgnoredDuringExecution`));
  for (const [index, { weight, preference }] of (preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    const field = `${at}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
    checkWeight(weight, field, errors);
    validateNodeTerm(preference, `${field}.preference`, errors);
  }
}

function validateNodeTerm({ matchExpressions, matchFields }: NodeSelectorTerm, at: string, errors: FieldError[]): void {
  for (const [index, requirement] of (matchExpressions ?? []).entries())
    validateNodeRequirement(requirement, `${at}.matchExpressions[${index}]`, errors);
  for (const [index, { key, operator, values = [] }] of (matchFields ?? []).entries()) {
    const field = `${at}.matchFields[${index}]`;
    if (operator !== 'In' && operator !== 'NotIn')
      errors.push(invalid(`${field}.operator`, operator, 'not a valid selector operator'));
    else if (values.length !== 1)
      errors.push(
        required(
          `${field}.values`,
          "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
      );
    if (key !== 'metadata.name') errors.push(invalid(`${field}.key`, key, 'not a valid field selector key'));
    else
      for (const [place, value] of values.entries()) {
        const problem = dnsSubdomainProblem(value);
        if (problem !== undefined) errors.push(invalid(`${field}.values[${place}]`, value, problem));
      }
  }
}

function validateNodeRequirement(
  { key, operator, values = [] }: NodeSelectorRequirement,
  at: string,
  errors: FieldError[],
): void {
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0)
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0)
        errors.push(forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      break;
    case 'Gt':
    case 'Lt':
      if (values.length !== 1)
        errors.push(required(`${at}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'"));
      break;
    default:
      errors.push(invalid(`${at}.operator`, operator, 'not a valid selector operator'));
  }
  checkKey(key, `${at}.key`, errors);
}

function validatePodAffinity({ affinity }: PodSpec, at: string, errors: FieldError[]): void {
  for (const kind of ['podAffinity', 'podAntiAffinity'] as const) {
    const { requiredDuringSchedulingIgnoredDuringExecution, preferredDuringSchedulingIgnoredDuringExecution } =
      affinity?.[kind] ?? {};
    for (const [index, term] of (requiredDuringSchedulingIgnoredDuringExecution ?? []).entries())
      validatePodTerm(term, `${at}.${kind}.requiredDuringSchedulingIgnoredDuringExecution[${index}]`, errors);
    for (const [index, one] of (preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
      const field = `${at}.${kind}.preferredDuringSchedulingIgnoredDuringExecution[${index}]`;
      checkWeight(one.weight, field, errors);
      validatePodTerm(one.podAffinityTerm, `${field}.podAffinityTerm`, errors);
    }
  }
}

function validatePodTerm(term: PodAffinityTerm, at: string, errors: FieldError[]): void {
  const { labelSelector, namespaceSelector, topologyKey, matchLabelKeys = [], mismatchLabelKeys = [] } = term;
  if (labelSelector) errors.push(...labelSelectorProblems(labelSelector, `${at}.labelSelector`));
  for (const namespace of term.namespaces ?? []) {
    const problem = dnsLabelProblem(namespace);
    if (problem !== undefined) errors.push(invalid(`${at}.namespace`, namespace, problem));
  }
  if (namespaceSelector) errors.push(...labelSelectorProblems(namespaceSelector, `${at}.namespaceSelector`));
  if (topologyKey) checkKey(topologyKey, `${at}.topologyKey`, errors);
  else errors.push(required(`${at}.topologyKey`, 'can not be empty'));
  const withoutSelector = 'must not be specified when labelSelector is not set';
  if (!labelSelector && matchLabelKeys.length > 0) errors.push(forbidden(`${at}.matchLabelKeys`, withoutSelector));
  if (!labelSelector && mismatchLabelKeys.length > 0)
    errors.push(forbidden(`${at}.mismatchLabelKeys`, withoutSelector));
  for (const [index, key] of matchLabelKeys.entries())
    if (mismatchLabelKeys.includes(key))
      errors.push(
        invalid(`${at}.matchLabelKeys[${index}]`, key, 'exists in both matchLabelKeys and mismatchLabelKeys'),
      );
}

function validateToleration(toleration: Toleration, at: string, errors: FieldError[]): void {
  const { key = '', operator = '', value = '', effect = '', tolerationSeconds } = toleration;
  if (key !== '') checkKey(key, `${at}.key`, errors);
  else if (operator !== 'Exists')
    errors.push(
      invalid(
        `${at}.operator`,
        operator,
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      ),
    );
  if (tolerationSeconds !== undefined && effect !== 'NoExecute')
    errors.push(invalid(`${at}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
  if (operator === '' || operator === 'Equal') {
    const problem = labelValueProblem(value);
    if (problem !== undefined) errors.push(invalid(`${at}.operator`, value, problem));
  } else if (operator !== 'Exists') errors.push(notSupported(`${at}.operator`, operator, ['Equal', 'Exists']));
  else if (value !== '')
    errors.push(invalid(`${at}.operator`, toleration, "value must be empty when `operator` is 'Exists'"));
  if (effect !== '' && !EFFECTS.includes(effect)) errors.push(notSupported(`${at}.effect`, effect, EFFECTS));
}

function validateSpread(constraints: TopologySpreadConstraint[], at: string, errors: FieldError[]): void {
  const seen = new Set<string>();
  for (const [index, constraint] of constraints.entries()) {
    const field = `${at}[${index}]`;
    const { maxSkew, minDomains, topologyKey, whenUnsatisfiable, labelSelector, matchLabelKeys = [] } = constraint;
    if (maxSkew <= 0) errors.push(invalid(`${field}.maxSkew`, maxSkew, 'must be greater than zero'));
    if (topologyKey) checkKey(topologyKey, `${field}.topologyKey`, errors);
    else errors.push(required(`${field}.topologyKey`, 'can not be empty'));
    if (!WHEN_UNSATISFIABLE.includes(whenUnsatisfiable))
      errors.push(notSupported(`${field}.whenUnsatisfiable`, whenUnsatisfiable, WHEN_UNSATISFIABLE));
    const pair = `{${topologyKey}, ${whenUnsatisfiable}}`;
    if (seen.has(pair)) errors.push(duplicate(`${field}.{topologyKey, whenUnsatisfiable}`, pair));
    seen.add(pair);
    if (minDomains !== undefined && minDomains <= 0)
      errors.push(invalid(`${field}.minDomains`, minDomains, 'must be greater than zero'));
    if (minDomains !== undefined && whenUnsatisfiable !== 'DoNotSchedule')
      errors.push(
        invalid(
          `${field}.minDomains`,
          minDomains,
          `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`,
        ),
      );
    for (const policy of ['nodeAffinityPolicy', 'nodeTaintsPolicy'] as const)
      if (constraint[policy] !== undefined && !INCLUSION.includes(constraint[policy]))
        errors.push(notSupported(`${field}.${policy}`, constraint[policy], INCLUSION));
    for (const [place, key] of matchLabelKeys.entries()) checkKey(key, `${field}.matchLabelKeys[${place}]`, errors);
    if (labelSelector) errors.push(...labelSelectorProblems(labelSelector, `${field}.labelSelector`));
    else if (matchLabelKeys.length > 0)
      errors.push(forbidden(`${field}.matchLabelKeys`, 'must not be specified when labelSelector is not set'));
  }
}

function validateGates({ schedulingGates = [], nodeName }: PodSpec, at: string, errors: FieldError[]): void {
  const seen = new Set<string>();
  for (const [index, { name }] of schedulingGates.entries()) {
    const field = `${at}.schedulingGates[${index}]`;
    checkKey(name, field, errors);
    if (seen.has(name)) errors.push(duplicate(field, name));
    seen.add(name);
  }
  if (schedulingGates.length > 0 && nodeName)
    errors.push(forbidden(`${at}.nodeName`, 'cannot be set until all schedulingGates have been cleared'));
}
