import { nodes } from '../../kinds/resources.ts';
import type { NodeSelectorTerm } from '../../kinds/types/core.ts';
import { nodeLabelsChanged } from '../node-changes.ts';
import { matchesNodeSelection, matchesTerm, selectsNodes } from '../node-selection.ts';
import { normalizeByGreatest } from '../normalize.ts';
import { hint, type Plugin, unresolvable } from '../plugin.ts';

const mismatch = unresolvable("node(s) didn't match Pod's node affinity/selector");
const conflict = unresolvable('pod affinity terms conflict');

/** The names that one of the terms demands, where every term demands some: daemons name their node so. */
function namesIn(terms: NodeSelectorTerm[]): Set<string> | undefined {
  const names = new Set<string>();
  for (const { matchFields = [] } of terms) {
    let wanted: string[] | undefined;
    for (const { key, operator, values = [] } of matchFields) {
      if (key !== 'metadata.name' || operator !== 'In') continue;
      wanted = wanted === undefined ? values : wanted.filter((name) => values.includes(name));
    }
    if (wanted === undefined) return undefined;
    for (const name of wanted) names.add(name);
  }
  return terms.length === 0 ? undefined : names;
}

export const nodeAffinity: Plugin = {
  name: 'NodeAffinity',
  weight: 2,
  filter({ pod }) {
    if (!selectsNodes(pod)) return undefined;
    const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
    const only = required && namesIn(required.nodeSelectorTerms);
    if (only?.size === 0) return conflict;
    return {
      ...(only ? { only } : { likeness: JSON.stringify([pod.spec?.nodeSelector, required]) }),
      check: (node) => (matchesNodeSelection(pod, node) ? undefined : mismatch),
    };
  },
  score({ pod }) {
    const terms = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    if (terms.length === 0) return undefined;
    return {
      likeness: JSON.stringify(terms),
      score(node) {
        let sum = 0;
        for (const { weight, preference } of terms) if (matchesTerm(preference, node)) sum += weight;
        return sum;
      },
      normalize: (scores) => normalizeByGreatest(scores, false),
    };
  },
  hints: [
    hint(
      nodes,
      ({ pod }, now, old) =>
        nodeLabelsChanged(now, old) &&
        now !== undefined &&
        matchesNodeSelection(pod, { name: now.metadata.name, labels: now.metadata.labels ?? {} }),
    ),
  ],
};
