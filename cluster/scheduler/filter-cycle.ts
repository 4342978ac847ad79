/** One pod's filters, asked of one node after the other. */
import type { Cluster } from './cluster.ts';
import type { NodeInfo } from './node-info.ts';
import type { Nominations } from './nominations.ts';
import { isRejection, type Plugin, type PodFilter, type Rejection } from './plugin.ts';
import type { PodInfo } from './pod-info.ts';

interface Refusal {
  plugin: string;
  rejection: Rejection;
}

export interface FilterCycle {
  readonly pod: PodInfo;
  /** Names of the only nodes that can do, and which plugins say so. */
  readonly only: ReadonlySet<string> | undefined;
  readonly onlyBy: readonly string[];
  /** Of the pod in the eyes of all filters; undefined where an answer may depend on more than the pod and the node. */
  readonly likeness: string | undefined;
  /** With those that are promised the node and are no less important, and without them: the promise may not be kept. */
  check(node: NodeInfo): Refusal | undefined;
  /** Puts another pod on the node in thought, or takes it away. Whoever does so undoes it in the same turn. */
  add(other: PodInfo, node: NodeInfo): void;
  remove(other: PodInfo, node: NodeInfo): void;
}

interface Asked {
  plugin: string;
  filter: PodFilter;
}

function intersection(sets: ReadonlySet<string>[]): ReadonlySet<string> | undefined {
  const [first, ...others] = sets;
  return first && others.reduce((all, one) => new Set([...all].filter((name) => one.has(name))), first);
}

/** A refusal when no node at all will do. */
export function beginFilters(
  plugins: readonly Plugin[],
  pod: PodInfo,
  { cluster, nominations }: { cluster: Cluster; nominations: Nominations },
): FilterCycle | Refusal {
  const asked: Asked[] = [];
  for (const plugin of plugins) {
    const answer = plugin.filter?.(pod, cluster);
    if (answer === undefined) continue;
    if (isRejection(answer)) return { plugin: plugin.name, rejection: answer };
    asked.push({ plugin: plugin.name, filter: answer });
  }
  const choosy = asked.filter(({ filter }) => filter.only !== undefined);
  const only = intersection(choosy.flatMap(({ filter }) => filter.only ?? []));

  function ask(node: NodeInfo): Refusal | undefined {
    for (const { plugin, filter } of asked) {
      const rejection = filter.check?.(node);
      if (rejection !== undefined) return { plugin, rejection };
    }
    return undefined;
  }

  function add(other: PodInfo, node: NodeInfo): void {
    node.add(other);
    for (const { filter } of asked) filter.add?.(other, node);
  }

  function remove(other: PodInfo, node: NodeInfo): void {
    node.remove(other);
    for (const { filter } of asked) filter.remove?.(other, node);
  }

  function check(node: NodeInfo): Refusal | undefined {
    if (nominations.size === 0) return ask(node);
    const promised = [...nominations.on(node.name)].filter(
      (other) => other.priority >= pod.priority && other.uid !== pod.uid && !node.pods.has(other.uid),
    );
    if (promised.length > 0) {
      for (const other of promised) add(other, node);
      const refusal = ask(node);
      for (const other of promised) remove(other, node);
      if (refusal !== undefined) return refusal;
    }
    return ask(node);
  }

  const likeness = likenessOf(asked, nominations);
  return { pod, only, onlyBy: choosy.map(({ plugin }) => plugin), likeness, check, add, remove };
}

/** A promise may be given or withdrawn at any time, without a change of the cluster. */
function likenessOf(asked: readonly Asked[], nominations: Nominations): string | undefined {
  if (nominations.size > 0) return undefined;
  let text = '';
  for (const { plugin, filter } of asked) {
    if (filter.likeness === undefined) return undefined;
    text += `${plugin}:${filter.likeness};`;
  }
  return text;
}

export function isCycle(begun: FilterCycle | Refusal): begun is FilterCycle {
  return 'check' in begun;
}
