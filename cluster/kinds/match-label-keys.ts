import type { Pod, PodAffinityTerm } from './types/core.ts';

/**
 * A term of pod affinity may name labels whose values are the pod's own (`matchLabelKeys`), or others' (`mismatchLabelKeys`). The
 * pod's are known when it is made: they become part of the term's selector, which is all that is read from then on.
 */
export function mergeMatchLabelKeys({ metadata, spec }: Pod): void {
  const { podAffinity, podAntiAffinity } = spec?.affinity ?? {};
  for (const affinity of [podAffinity, podAntiAffinity]) {
    for (const term of affinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) merge(term, metadata.labels);
    for (const { podAffinityTerm } of affinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
      merge(podAffinityTerm, metadata.labels);
  }
}

/** One without a term is refused later. */
function merge(term: PodAffinityTerm | undefined, labels: Record<string, string> = {}): void {
  const { labelSelector, matchLabelKeys = [], mismatchLabelKeys = [] } = term ?? {};
  if (labelSelector === undefined) return;
  const add = (key: string, operator: 'In' | 'NotIn'): void => {
    const value = labels[key];
    if (value === undefined) return;
    labelSelector.matchExpressions = [...(labelSelector.matchExpressions ?? []), { key, operator, values: [value] }];
  };
  for (const key of matchLabelKeys) add(key, 'In');
  for (const key of mismatchLabelKeys) add(key, 'NotIn');
}
