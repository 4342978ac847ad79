/** Labels of nodes under names that are no longer used: who selects by one is told its new name, in upstream's words. */
import type { NodeSelectorTerm } from './types/core.ts';
import type { LabelSelector } from './types/meta.ts';

const DEPRECATED: ReadonlyMap<string, string> = new Map([
  ['beta.kubernetes.io/arch', 'deprecated since v1.14; use "kubernetes.io/arch" instead'],
  ['beta.kubernetes.io/os', 'deprecated since v1.14; use "kubernetes.io/os" instead'],
  ['failure-domain.beta.kubernetes.io/region', 'deprecated since v1.17; use "topology.kubernetes.io/region" instead'],
  ['failure-domain.beta.kubernetes.io/zone', 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'],
  ['beta.kubernetes.io/instance-type', 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'],
]);

export function nodeLabelWarning(label: string): string | undefined {
  return DEPRECATED.get(label);
}

/** Of labels that are selected by their value. `fieldOf` says where one is. */
export function nodeLabelsWarnings(
  labels: Readonly<Record<string, string>> | undefined,
  fieldOf: (label: string) => string,
): string[] {
  return Object.keys(labels ?? {}).flatMap((label) => {
    const text = nodeLabelWarning(label);
    return text === undefined ? [] : [`${fieldOf(label)}: ${text}`];
  });
}

export function nodeTermsWarnings(terms: readonly NodeSelectorTerm[] | undefined, at: string): string[] {
  return (terms ?? []).flatMap((term, index) => nodeTermWarnings(term, `${at}[${index}]`));
}

export function nodeTermWarnings({ matchExpressions }: NodeSelectorTerm, at: string): string[] {
  return keyWarnings(matchExpressions, at);
}

export function nodeSelectorWarnings(selector: LabelSelector | undefined, at: string): string[] {
  return [
    ...keyWarnings(selector?.matchExpressions, at),
    ...nodeLabelsWarnings(selector?.matchLabels, (label) => `${at}.matchLabels.${label}`),
  ];
}

function keyWarnings(expressions: readonly { key: string }[] | undefined, at: string): string[] {
  return (expressions ?? []).flatMap(({ key }, index) => {
    const text = nodeLabelWarning(key);
    return text === undefined ? [] : [`${at}.matchExpressions[${index}].key: ${key} is ${text}`];
  });
}
