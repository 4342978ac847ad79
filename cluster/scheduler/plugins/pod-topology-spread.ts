/**
 * Spreads pods over domains ("Pod Topology Spread Constraints"): what must not be exceeded in `filter`, what should be even
 * in `score`. Pods of a constraint are those of the pod's namespace that its selector matches and that are not being deleted.
 */
import { nodes, pods } from '../../kinds/resources.ts';
import { matchesLabels } from '../../kinds/selector.ts';
import type { Cluster } from '../cluster.ts';
import { nodeLabelsChanged, nodeTaintsChanged } from '../node-changes.ts';
import type { NodeInfo } from '../node-info.ts';
import {
  hint,
  type Plugin,
  type PluginContext,
  type PodFilter,
  type PodScore,
  rejection,
  unresolvable,
} from '../plugin.ts';
import type { PodInfo } from '../pod-info.ts';
import { createSpreading, hostnameKey, type SpreadConstraint, type Spreading } from './spread-constraints.ts';

const uneven = rejection("node(s) didn't match pod topology spread constraints");
const withoutKey = unresolvable("node(s) didn't match pod topology spread constraints (missing required label)");

function hasEveryKey({ labels }: NodeInfo, constraints: SpreadConstraint[]): boolean {
  return constraints.every(({ topologyKey }) => labels[topologyKey] !== undefined);
}

/** Pods in each domain of a constraint that some node which counts is in. */
class Domains {
  readonly constraint: SpreadConstraint;
  private readonly counts = new Map<string, number>();
  private least: number | undefined;

  constructor(pod: PodInfo, constraint: SpreadConstraint, eligible: NodeInfo[], cluster: Cluster) {
    this.constraint = constraint;
    const onNode = cluster.podCounts(pod.namespace, constraint.selector);
    for (const node of eligible) {
      if (!constraint.includes(node)) continue;
      const value = node.labels[constraint.topologyKey] ?? '';
      this.counts.set(value, (this.counts.get(value) ?? 0) + (onNode.get(node) ?? 0));
    }
  }

  change(node: NodeInfo, by: 1 | -1): void {
    if (!this.constraint.includes(node)) return;
    const value = node.labels[this.constraint.topologyKey] ?? '';
    this.counts.set(value, (this.counts.get(value) ?? 0) + by);
    this.least = undefined;
  }

  exceeds(value: string): boolean {
    const { minDomains, maxSkew, selectsItself } = this.constraint;
    this.least ??= this.counts.size < minDomains ? 0 : this.smallest();
    return (this.counts.get(value) ?? 0) + (selectsItself ? 1 : 0) - this.least > maxSkew;
  }

  private smallest(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const count of this.counts.values()) if (count < least) least = count;
    return least;
  }
}

function filter(pod: PodInfo, cluster: Cluster, { constraints }: Spreading): PodFilter {
  const eligible = cluster.nodes().filter((node) => hasEveryKey(node, constraints));
  const domains = constraints.map((constraint) => new Domains(pod, constraint, eligible, cluster));
  const change = (other: PodInfo, node: NodeInfo, by: 1 | -1): void => {
    if (other.namespace !== pod.namespace || !hasEveryKey(node, constraints)) return;
    for (const domain of domains) if (matchesLabels(domain.constraint.selector, other.labels)) domain.change(node, by);
  };
  return {
    check({ labels }) {
      for (const domain of domains) {
        const value = labels[domain.constraint.topologyKey];
        if (value === undefined) return withoutKey;
        if (domain.exceeds(value)) return uneven;
      }
      return undefined;
    },
    add: (other, node) => change(other, node, 1),
    remove: (other, node) => change(other, node, -1),
  };
}

interface Scored {
  constraint: SpreadConstraint;
  /** Pods by node, for the host name; by domain, for all others. */
  onNode: ReadonlyMap<NodeInfo, number>;
  inDomain: Map<string, number>;
  /** So that the few domains of a coarse key weigh as much as the many of a fine one. */
  weight: number;
}

function scored(
  pod: PodInfo,
  cluster: Cluster,
  constraint: SpreadConstraint,
  { scoring, needed }: { scoring: NodeInfo[]; needed: (node: NodeInfo) => boolean },
): Scored {
  const onNode = cluster.podCounts(pod.namespace, constraint.selector);
  const inDomain = new Map<string, number>();
  const { topologyKey } = constraint;
  if (topologyKey === hostnameKey) return { constraint, onNode, inDomain, weight: Math.log(scoring.length + 2) };
  for (const { labels } of scoring) inDomain.set(labels[topologyKey] ?? '', 0);
  for (const [node, count] of onNode) {
    if (!node.node || !needed(node) || !constraint.includes(node)) continue;
    const value = node.labels[topologyKey] ?? '';
    const before = inDomain.get(value);
    if (before !== undefined) inDomain.set(value, before + count);
  }
  return { constraint, onNode, inDomain, weight: Math.log(inDomain.size + 2) };
}

function score(
  pod: PodInfo,
  cluster: Cluster,
  candidates: readonly NodeInfo[],
  { constraints, needsEveryKey }: Spreading,
): PodScore {
  const needed = (node: NodeInfo): boolean => !needsEveryKey || hasEveryKey(node, constraints);
  const scoring = candidates.filter(needed);
  const all = constraints.map((constraint) => scored(pod, cluster, constraint, { scoring, needed }));
  return {
    /** The lower, the fewer; less than nothing for a node that is left out. */
    score(node) {
      if (!needed(node)) return -1;
      let sum = 0;
      for (const { constraint, onNode, inDomain, weight } of all) {
        const value = node.labels[constraint.topologyKey];
        if (value === undefined) continue;
        const count = constraint.topologyKey === hostnameKey ? onNode.get(node) : inDomain.get(value);
        sum += (count ?? 0) * weight + constraint.maxSkew - 1;
      }
      return Math.round(sum);
    },
    normalize: favourFew,
  };
}

function favourFew(scores: Float64Array): void {
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const value of scores) {
    if (value < 0) continue;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  for (let at = 0; at < scores.length; at++) {
    const value = scores[at] ?? 0;
    if (value < 0) scores[at] = 0;
    else scores[at] = most === 0 ? 100 : Math.trunc((100 * (most + least - value)) / most);
  }
}

export function podTopologySpread(context: PluginContext): Plugin {
  const spreadingOf = createSpreading(context);
  return {
    name: 'PodTopologySpread',
    weight: 2,
    filter(pod, cluster) {
      const spreading = spreadingOf(pod, 'DoNotSchedule');
      return spreading && filter(pod, cluster, spreading);
    },
    score(pod, cluster, candidates) {
      const spreading = spreadingOf(pod, 'ScheduleAnyway');
      return spreading && score(pod, cluster, candidates, spreading);
    },
    hints: [
      // A pod that comes raises the least of its constraint, one that goes lowers its own domain.
      hint(pods, (pod, now, old) => {
        const one = now ?? old;
        if (one?.metadata.namespace !== pod.namespace) return false;
        const constraints = spreadingOf(pod, 'DoNotSchedule')?.constraints ?? [];
        return constraints.some(
          ({ selector }) =>
            matchesLabels(selector, now?.metadata.labels) || matchesLabels(selector, old?.metadata.labels),
        );
      }),
      // A domain may come, or go and with it the least.
      hint(nodes, (_pod, now, old) => now === undefined || nodeLabelsChanged(now, old) || nodeTaintsChanged(now, old)),
    ],
  };
}
