/** While its scheduling gates hold it, a pod's choice of nodes may be narrowed, and nothing else of it (Kubernetes, "Pod Scheduling Readiness"). */
import type { FieldError } from './field-error.ts';
import { invalid } from './field-errors.ts';
import type { NodeSelectorRequirement, NodeSelectorTerm, PodSpec } from './types/core.ts';

export function validateGatedUpdate(now: PodSpec, old: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, value] of Object.entries(old.nodeSelector ?? {})) {
    if (now.nodeSelector?.[name] === value) continue;
    errors.push(
      invalid(
        'spec.nodeSelector',
        now.nodeSelector ?? null,
        'only additions to spec.nodeSelector are allowed (no mutations or deletions)',
      ),
    );
    break;
  }
  const at = 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms';
  const before = termsOf(old);
  if (before.length === 0) return errors;
  const after = termsOf(now);
  if (after.length !== before.length)
    return [...errors, invalid(at, after, 'no additions/deletions to non-empty NodeSelectorTerms list are allowed')];
  for (const [index, term] of after.entries())
    if (!onlyAdds(term, before[index] ?? {}))
      errors.push(invalid(`${at}[${index}]`, term, 'only additions are allowed (no mutations or deletions)'));
  return errors;
}

function termsOf({ affinity }: PodSpec): NodeSelectorTerm[] {
  return affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
}

/** A term that was empty matched nothing: with a requirement it would match something. */
function onlyAdds(now: NodeSelectorTerm, old: NodeSelectorTerm): boolean {
  const all = ({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm): NodeSelectorRequirement[] => [
    ...matchExpressions,
    ...matchFields,
  ];
  if (all(old).length === 0) return all(now).length === 0;
  return keeps(now.matchExpressions, old.matchExpressions) && keeps(now.matchFields, old.matchFields);
}

function keeps(now: NodeSelectorRequirement[] = [], old: NodeSelectorRequirement[] = []): boolean {
  const text = ({ key, operator, values = [] }: NodeSelectorRequirement): string =>
    JSON.stringify([key, operator, values]);
  const there = new Set(now.map(text));
  return old.every((requirement) => there.has(text(requirement)));
}
