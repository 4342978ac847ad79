/** Which requests a webhook or a policy is about (Kubernetes "Matching requests": rules, selectors, conditions). */
import { CelError, compileCel } from '../../cel/cel.ts';
import { celValue } from '../../cel/value.ts';
import { REQUEST_VARIABLES } from '../../kinds/admission-rules.ts';
import type { ApiObject, KindDefinition } from '../../kinds/kind.ts';
import { namespaces } from '../../kinds/resources.ts';
import { definitions, type Schema, schemaOf } from '../../kinds/schema.ts';
import { matchesLabelSelector } from '../../kinds/selector.ts';
import type { MatchCondition, RuleWithOperations } from '../../kinds/types/admissionregistration.ts';
import type { LabelSelector } from '../../kinds/types/meta.ts';
import { kindPrefix } from '../cache.ts';
import { shownIn } from '../conversion.ts';
import type { Core } from '../core.ts';
import { authorizerFor } from './authorizer.ts';
import { find } from './lookup.ts';
import type { AdmissionRequest } from './plugin.ts';

export interface Matching {
  rules: readonly (RuleWithOperations & { resourceNames?: string[] })[];
  matchPolicy?: string | undefined;
  namespaceSelector?: LabelSelector | undefined;
  objectSelector?: LabelSelector | undefined;
}

/** The kind under which it matches: with `Equivalent`, perhaps another version than was asked for. */
export function matchRequest(core: Core, request: AdmissionRequest, matching: Matching): KindDefinition | undefined {
  // Nobody can lock himself out of what decides.
  if (request.kind.group === 'admissionregistration.k8s.io') return undefined;
  const kind = matchingKind(core, request, matching);
  if (kind === undefined) return undefined;
  return selectsNamespace(core, request, matching.namespaceSelector) && selectsObject(request, matching.objectSelector)
    ? kind
    : undefined;
}

function matchingKind(core: Core, request: AdmissionRequest, matching: Matching): KindDefinition | undefined {
  const kinds = [request.kind];
  if (matching.matchPolicy !== 'Exact') {
    const prefix = kindPrefix(request.kind);
    for (const kind of core.registry.all()) if (kind !== request.kind && kindPrefix(kind) === prefix) kinds.push(kind);
  }
  return kinds.find((kind) => matching.rules.some((rule) => ruleMatches(rule, kind, request)));
}

function ruleMatches(
  rule: RuleWithOperations & { resourceNames?: string[] },
  kind: KindDefinition,
  { operation, subresource, name }: AdmissionRequest,
): boolean {
  const has = (values: readonly string[] | undefined, value: string) =>
    values?.includes('*') === true || values?.includes(value) === true;
  if (!has(rule.operations, operation) || !has(rule.apiGroups, kind.group) || !has(rule.apiVersions, kind.version))
    return false;
  if (rule.scope === 'Namespaced' && !kind.namespaced) return false;
  // A namespace is of the cluster.
  if (rule.scope === 'Cluster' && kind.namespaced) return false;
  if (rule.resourceNames !== undefined && rule.resourceNames.length > 0 && !rule.resourceNames.includes(name))
    return false;
  return (rule.resources ?? []).some((wanted) => {
    const [resource, part = ''] = wanted.split('/');
    return (resource === '*' || resource === kind.resource) && (part === '*' || part === subresource);
  });
}

function selectsNamespace(core: Core, request: AdmissionRequest, selector: LabelSelector | undefined): boolean {
  if (selector === undefined || isEmpty(selector)) return true;
  if (request.kind.resource === 'namespaces' && request.kind.group === '')
    return matchesLabelSelector(selector, request.object.metadata.labels);
  if (!request.kind.namespaced) return true;
  return matchesLabelSelector(selector, find(core, namespaces, '', request.namespace)?.metadata.labels);
}

function selectsObject({ object, old }: AdmissionRequest, selector: LabelSelector | undefined): boolean {
  if (selector === undefined || isEmpty(selector)) return true;
  return [object, old].some((one) => one !== undefined && matchesLabelSelector(selector, one.metadata.labels));
}

function isEmpty({ matchLabels, matchExpressions }: LabelSelector): boolean {
  return Object.keys(matchLabels ?? {}).length === 0 && (matchExpressions ?? []).length === 0;
}

/** As `AdmissionReview.request` has it; objects as the matching version shows them. */
export function reviewedRequest(request: AdmissionRequest, kind: KindDefinition): Record<string, unknown> {
  const { operation, subresource, user, name, namespace, dryRun } = request;
  const kindOf = ({ group, version, kind: own }: KindDefinition) => request.sent ?? { group, version, kind: own };
  const resourceOf = (one: KindDefinition) => ({ group: one.group, version: one.version, resource: one.resource });
  const part = subresource === '' ? {} : { subResource: subresource, requestSubResource: subresource };
  return {
    kind: kindOf(kind),
    resource: resourceOf(kind),
    requestKind: kindOf(request.kind),
    requestResource: resourceOf(request.kind),
    ...part,
    ...(name === '' ? {} : { name }),
    ...(namespace === '' ? {} : { namespace }),
    operation,
    userInfo: {
      username: user?.name ?? '',
      ...(user?.uid === undefined ? {} : { uid: user.uid }),
      groups: user?.groups ?? [],
      ...(user?.extra === undefined ? {} : { extra: user.extra }),
    },
    dryRun,
    options:
      operation === 'CONNECT'
        ? null
        : {
            kind: `${OPTIONS[operation]}Options`,
            apiVersion: 'meta.k8s.io/v1',
            ...(dryRun ? { dryRun: ['All'] } : {}),
          },
  };
}

const OPTIONS = { CREATE: 'Create', UPDATE: 'Update', DELETE: 'Delete' };

/** The object and what it was; null where the operation has none. */
export async function reviewedObjects(
  core: Core,
  request: AdmissionRequest,
  kind: KindDefinition,
): Promise<{ object: ApiObject | null; oldObject: ApiObject | null }> {
  const { operation, object, old } = request;
  if (operation === 'CONNECT') {
    const { metadata: _none, ...options } = object;
    return { object: options as ApiObject, oldObject: null };
  }
  if (request.sent !== undefined) return { object, oldObject: old ?? null };
  return {
    object: operation === 'DELETE' ? null : await shownIn(core, kind, object),
    oldObject: old === undefined ? null : await shownIn(core, kind, old),
  };
}

/** Of the objects of a review. */
export function reviewedSchema({ sent }: AdmissionRequest, kind: KindDefinition): Schema | undefined {
  if (sent === undefined) return schemaOf(kind);
  const group = sent.group === '' ? 'core' : sent.group.split('.')[0];
  return definitions()[`io.k8s.api.${group}.${sent.version}.${sent.kind}`];
}

/** What expressions about a request see. */
export async function requestVariables(
  core: Core,
  request: AdmissionRequest,
  kind: KindDefinition,
): Promise<Record<string, unknown>> {
  const { object, oldObject } = await reviewedObjects(core, request, kind);
  const schema = reviewedSchema(request, kind);
  return {
    object: celValue(object, schema),
    oldObject: celValue(oldObject, schema),
    request: celValue(reviewedRequest(request, kind), undefined),
    authorizer: authorizerFor(core, request),
  };
}

/** Does every condition hold? Throws CelError when none is false and one of them fails. */
export function conditionsHold(
  conditions: readonly MatchCondition[] | undefined,
  values: Record<string, unknown>,
  variables: readonly string[] = REQUEST_VARIABLES,
): boolean {
  let failure: CelError | undefined;
  for (const { expression } of conditions ?? []) {
    try {
      if (compileCel(expression, variables).evaluate(values) !== true) return false;
    } catch (error) {
      if (!(error instanceof CelError) || error.code === 'limit') throw error;
      failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  return true;
}
