/** Node selectors and node affinity (Kubernetes, "Assigning Pods to Nodes"). */
import { matchesRequirement, type Requirement } from '../kinds/selector.ts';
import type { NodeSelectorRequirement, NodeSelectorTerm, Pod } from '../kinds/types/core.ts';

/** What is asked of a node here. */
export interface SelectableNode {
  name: string;
  labels: Record<string, string>;
}

const operators = new Map<string, Requirement['operator']>([
  ['In', 'In'],
  ['NotIn', 'NotIn'],
  ['Exists', 'Exists'],
  ['DoesNotExist', 'DoesNotExist'],
  ['Gt', 'GreaterThan'],
  ['Lt', 'LessThan'],
]);

/** As a label selector of the same words matches. */
function matches({ key, operator, values = [] }: NodeSelectorRequirement, fields: Record<string, string>): boolean {
  const known = operators.get(operator);
  return known !== undefined && matchesRequirement({ key, operator: known, values }, fields);
}

/** A term without requirements matches nothing. */
export function matchesTerm(term: NodeSelectorTerm, { name, labels }: SelectableNode): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length + matchFields.length === 0) return false;
  return (
    matchExpressions.every((requirement) => matches(requirement, labels)) &&
    matchFields.every((requirement) => matches(requirement, { 'metadata.name': name }))
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
