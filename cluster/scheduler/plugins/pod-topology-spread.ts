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

/**
 * Is a node with the constraint's key all that counts? So it mostly is: then the counts that are kept for all pods hold for this
 * one, and no node need be looked at.
 */
function countsEveryNode(constraint: SpreadConstraint, all: SpreadConstraint[], cluster: Cluster): boolean {
  if (!constraint.includesAll) return false;
  const others = all.filter(({ topologyKey }) => topologyKey !== constraint.topologyKey);
  return others.every(({ topologyKey }) => {
    let labelled = 0;
    for (const count of cluster.nodeTally().domains(topologyKey).values()) labelled += count;
    return labelled === cluster.nodes().length;
  });
}

/** Pods in each domain of a constraint that some node which counts is in. */
class Domains {
  readonly constraint: SpreadConstraint;
  private readonly counts: ReadonlyMap<string, number>;
  /** Its keys are the domains. */
  private readonly eligible: ReadonlyMap<string, number>;
  private readonly thought = new Map<string, number>();
  private least: number | undefined;

  constructor(constraint: SpreadConstraint, all: SpreadConstraint[], cluster: Cluster) {
    this.constraint = constraint;
    const { topologyKey } = constraint;
    const tally = constraint.tally(cluster);
    if (countsEveryNode(constraint, all, cluster)) {
      this.counts = tally.domains(topologyKey);
      this.eligible = cluster.nodeTally().domains(topologyKey);
      return;
    }
    const counts = new Map<string, number>();
    for (const node of cluster.nodes()) {
      if (!hasEveryKey(node, all) || !constraint.includes(node)) continue;
      const value = node.labels[topologyKey] ?? '';
      counts.set(value, (counts.get(value) ?? 0) + (tally.onNodes().get(node) ?? 0));
    }
    this.counts = this.eligible = counts;
  }

  change(node: NodeInfo, by: 1 | -1): void {
    if (!this.constraint.includes(node)) return;
    const value = node.labels[this.constraint.topologyKey] ?? '';
    this.thought.set(value, (this.thought.get(value) ?? 0) + by);
    this.least = undefined;
  }

  exceeds(value: string): boolean {
    const { minDomains, maxSkew, selectsItself } = this.constraint;
    this.least ??= this.eligible.size < minDomains ? 0 : this.smallest();
    return this.countOf(value) + (selectsItself ? 1 : 0) - this.least > maxSkew;
  }

  private countOf(value: string): number {
    return (this.counts.get(value) ?? 0) + (this.thought.get(value) ?? 0);
  }

  private smallest(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const value of this.eligible.keys()) {
      least = Math.min(least, this.countOf(value));
      if (least === 0) break;
    }
    return least;
  }
}

function filter(cluster: Cluster, pod: PodInfo, { constraints }: Spreading): PodFilter {
  const domains = constraints.map((constraint) => new Domains(constraint, constraints, cluster));
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
  countAt: (node: NodeInfo, value: string) => number;
  /** So that the few domains of a coarse key weigh as much as the many of a fine one. */
  weight: number;
}

interface Scoring {
  cluster: Cluster;
  all: SpreadConstraint[];
  scoring: NodeInfo[];
  needed: (node: NodeInfo) => boolean;
}

function scored(constraint: SpreadConstraint, { cluster, all, scoring, needed }: Scoring): Scored {
  const tally = constraint.tally(cluster);
  const { topologyKey } = constraint;
  if (topologyKey === hostnameKey) {
    const onNodes = tally.onNodes();
    return { constraint, countAt: (node) => onNodes.get(node) ?? 0, weight: Math.log(scoring.length + 2) };
  }
  const values = new Set(scoring.map(({ labels }) => labels[topologyKey] ?? ''));
  const weight = Math.log(values.size + 2);
  if (countsEveryNode(constraint, all, cluster)) {
    const counts = tally.domains(topologyKey);
    return { constraint, countAt: (_node, value) => counts.get(value) ?? 0, weight };
  }
  const counts = new Map<string, number>();
  for (const [node, count] of tally.onNodes()) {
    const value = node.labels[topologyKey] ?? '';
    if (node.node && values.has(value) && needed(node) && constraint.includes(node))
      counts.set(value, (counts.get(value) ?? 0) + count);
  }
  return { constraint, countAt: (_node, value) => counts.get(value) ?? 0, weight };
}

/** Pods whose soft constraints count the same pods in the same domains. */
function likenessOf(
  { namespace }: PodInfo,
  { constraints, needsEveryKey }: Spreading,
): { likeness?: string; isVolatile: true } {
  if (constraints.some(({ includesAll }) => !includesAll)) return { isVolatile: true };
  const same = constraints.map(({ topologyKey, maxSkew, selector }) => [topologyKey, maxSkew, selector]);
  return { likeness: JSON.stringify([namespace, needsEveryKey, same]), isVolatile: true };
}

function score(cluster: Cluster, pod: PodInfo, spreading: Spreading, candidates: readonly NodeInfo[]): PodScore {
  const { constraints, needsEveryKey } = spreading;
  const needed = (node: NodeInfo): boolean => !needsEveryKey || hasEveryKey(node, constraints);
  const scoring = candidates.filter(needed);
  const all = constraints.map((constraint) => scored(constraint, { cluster, all: constraints, scoring, needed }));
  return {
    ...likenessOf(pod, spreading),
    /** The lower, the fewer; less than nothing for a node that is left out. */
    score(node) {
      if (!needed(node)) return -1;
      let sum = 0;
      for (const { constraint, countAt, weight } of all) {
        const value = node.labels[constraint.topologyKey];
        if (value !== undefined) sum += countAt(node, value) * weight + constraint.maxSkew - 1;
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
      return spreading && filter(cluster, pod, spreading);
    },
    score(pod, cluster, candidates) {
      const spreading = spreadingOf(pod, 'ScheduleAnyway');
      return spreading && score(cluster, pod, spreading, candidates);
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
