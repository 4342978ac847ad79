/** Node selectors and node affinity (Kubernetes, "Assigning Pods to Nodes"). */
import type { NodeSelectorRequirement, NodeSelectorTerm, Pod } from '../kinds/types/core.ts';

/** What is asked of a node here. */
export interface SelectableNode {
  name: string;
  labels: Record<string, string>;
}

const wholeNumber = /^[+-]?\d+$/;

/** Both sides must be whole numbers: what is none is neither greater nor less. */
function compares(
  value: string | undefined,
  limit: string | undefined,
  isRight: (a: bigint, b: bigint) => boolean,
): boolean {
  if (value === undefined || limit === undefined || !wholeNumber.test(value) || !wholeNumber.test(limit)) return false;
  return isRight(BigInt(value.replace('+', '')), BigInt(limit.replace('+', '')));
}

function matchesRequirement(
  { key, operator, values = [] }: NodeSelectorRequirement,
  fields: Record<string, string>,
): boolean {
  const value = Object.hasOwn(fields, key) ? fields[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return compares(value, values[0], (a, b) => a > b);
    case 'Lt':
      return compares(value, values[0], (a, b) => a < b);
    default:
      return false;
  }
}

/** A term without requirements matches nothing. */
export function matchesTerm(term: NodeSelectorTerm, { name, labels }: SelectableNode): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  return (
    matchExpressions.every((requirement) => matchesRequirement(requirement, labels)) &&
    matchFields.every((requirement) => matchesRequirement(requirement, { 'metadata.name': name }))
  );
}

/** Does the pod choose among nodes at all? */
export function selectsNodes({ spec }: Pick<Pod, 'spec'>): boolean {
  for (const _ in spec?.nodeSelector) return true;
  return spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution !== undefined;
}

/** By the pod's node selector and required node affinity. */
export function matchesNodeSelection({ spec }: Pick<Pod, 'spec'>, node: SelectableNode): boolean {
  for (const name in spec?.nodeSelector) if (node.labels[name] !== spec.nodeSelector[name]) return false;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return !required || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}
