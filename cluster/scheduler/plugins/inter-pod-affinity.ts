/**
 * Pods that want to be near others, or not ("Inter-pod affinity and anti-affinity"). A term is about domains: all nodes that
 * have one value of its topology key. Anti-affinity goes both ways: a pod that is there keeps those away that it does not want.
 */
import type { Informer } from '../../client/client.ts';
import { namespaces, nodes, pods } from '../../kinds/resources.ts';
import type { Namespace } from '../../kinds/types/core.ts';
import type { Cluster } from '../cluster.ts';
import { nodeLabelsChanged } from '../node-changes.ts';
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
import { type AffinityTerm, type PodInfo, podInfo, termMatches } from '../pod-info.ts';

const notNear = unresolvable("node(s) didn't match pod affinity rules");
const tooNear = rejection("node(s) didn't match pod anti-affinity rules");
const notWanted = rejection("node(s) didn't satisfy existing pods anti-affinity rules");

/** What a pod's required affinity adds to the score of others, where it is the other that is scheduled. */
const requiredWeight = 1;

type LabelsOf = (namespace: string) => Record<string, string> | undefined;

/** Numbers of domains: by topology key, then by its value. */
class DomainCounts {
  private readonly byKey = new Map<string, Map<string, number>>();

  add(key: string, { labels }: NodeInfo, by: number): void {
    const value = labels[key];
    if (value === undefined) return;
    let counts = this.byKey.get(key);
    if (!counts) this.byKey.set(key, (counts = new Map()));
    const count = (counts.get(value) ?? 0) + by;
    if (count === 0) counts.delete(value);
    else counts.set(value, count);
    if (counts.size === 0) this.byKey.delete(key);
  }

  get(key: string, { labels }: NodeInfo): number {
    const value = labels[key];
    return value === undefined ? 0 : (this.byKey.get(key)?.get(value) ?? 0);
  }

  /** Over all keys. */
  sum(node: NodeInfo): number {
    let sum = 0;
    for (const key of this.byKey.keys()) sum += this.get(key, node);
    return sum;
  }

  some(node: NodeInfo): boolean {
    for (const key of this.byKey.keys()) if (this.get(key, node) > 0) return true;
    return false;
  }

  get isEmpty(): boolean {
    return this.byKey.size === 0;
  }
}

function matchesAll(terms: readonly AffinityTerm[], pod: PodInfo, labelsOf: LabelsOf): boolean {
  return terms.length > 0 && terms.every((term) => termMatches(term, pod, labelsOf));
}

/** The pods that a term may match: those of its namespaces, and of all where it selects namespaces. */
function* podsFor(terms: readonly AffinityTerm[], cluster: Cluster): Generator<PodInfo> {
  if (terms.some(({ namespaceSelector }) => namespaceSelector !== undefined)) {
    yield* cluster.pods();
    return;
  }
  const wanted = new Set(terms.flatMap((term) => [...term.namespaces]));
  for (const namespace of wanted) yield* cluster.podsIn(namespace);
}

/** What required terms demand of each domain, kept right while pods are added and removed in thought. */
class RequiredTerms {
  private readonly pod: PodInfo;
  private readonly labelsOf: LabelsOf;
  private readonly near = new DomainCounts();
  private readonly far = new DomainCounts();
  private readonly unwelcome = new DomainCounts();

  constructor(pod: PodInfo, cluster: Cluster, labelsOf: LabelsOf) {
    this.pod = pod;
    this.labelsOf = labelsOf;
    for (const node of cluster.nodesWithAntiAffinity)
      for (const other of node.podsWithAntiAffinity) this.countUnwelcome(other, node, 1);
    const terms = [...pod.affinity, ...pod.antiAffinity];
    if (terms.length === 0) return;
    for (const other of podsFor(terms, cluster)) if (other.node?.node) this.countWanted(other, other.node, 1);
  }

  get isEmpty(): boolean {
    const { affinity, antiAffinity } = this.pod;
    return affinity.length + antiAffinity.length === 0 && this.unwelcome.isEmpty;
  }

  count(other: PodInfo, node: NodeInfo, by: 1 | -1): void {
    this.countUnwelcome(other, node, by);
    this.countWanted(other, node, by);
  }

  isNear(node: NodeInfo): boolean {
    const { affinity } = this.pod;
    if (affinity.length === 0) return true;
    if (affinity.some(({ topologyKey }) => node.labels[topologyKey] === undefined)) return false;
    if (affinity.every(({ topologyKey }) => this.near.get(topologyKey, node) > 0)) return true;
    // The first of a group that wants to be together has nobody to go to.
    return this.near.isEmpty && matchesAll(affinity, this.pod, this.labelsOf);
  }

  isTooNear(node: NodeInfo): boolean {
    return this.pod.antiAffinity.some(({ topologyKey }) => this.far.get(topologyKey, node) > 0);
  }

  isUnwelcome(node: NodeInfo): boolean {
    return this.unwelcome.some(node);
  }

  private countUnwelcome(other: PodInfo, node: NodeInfo, by: 1 | -1): void {
    for (const term of other.antiAffinity)
      if (termMatches(term, this.pod, this.labelsOf)) this.unwelcome.add(term.topologyKey, node, by);
  }

  private countWanted(other: PodInfo, node: NodeInfo, by: 1 | -1): void {
    const { affinity, antiAffinity } = this.pod;
    if (matchesAll(affinity, other, this.labelsOf))
      for (const { topologyKey } of affinity) this.near.add(topologyKey, node, by);
    for (const term of antiAffinity)
      if (termMatches(term, other, this.labelsOf)) this.far.add(term.topologyKey, node, by);
  }
}

function filter(pod: PodInfo, cluster: Cluster, labelsOf: LabelsOf): PodFilter | undefined {
  const terms = new RequiredTerms(pod, cluster, labelsOf);
  if (terms.isEmpty) return undefined;
  return {
    check(node) {
      if (!terms.isNear(node)) return notNear;
      if (terms.isTooNear(node)) return tooNear;
      return terms.isUnwelcome(node) ? notWanted : undefined;
    },
    add: (other, node) => terms.count(other, node, 1),
    remove: (other, node) => terms.count(other, node, -1),
  };
}

function addWeights(
  counts: DomainCounts,
  terms: readonly AffinityTerm[],
  pod: PodInfo,
  at: NodeInfo,
  sign: number,
  labelsOf: LabelsOf,
): void {
  for (const term of terms) if (termMatches(term, pod, labelsOf)) counts.add(term.topologyKey, at, sign * term.weight);
}

function score(pod: PodInfo, cluster: Cluster, labelsOf: LabelsOf): PodScore | undefined {
  const counts = new DomainCounts();
  const own = [...pod.preferredAffinity, ...pod.preferredAntiAffinity];
  if (own.length > 0) {
    for (const other of podsFor(own, cluster)) {
      if (!other.node?.node) continue;
      addWeights(counts, pod.preferredAffinity, other, other.node, 1, labelsOf);
      addWeights(counts, pod.preferredAntiAffinity, other, other.node, -1, labelsOf);
    }
  }
  for (const node of cluster.nodesWithAffinity) {
    if (!node.node) continue;
    for (const other of node.podsWithAffinity) {
      addWeights(counts, other.affinity, pod, node, requiredWeight, labelsOf);
      addWeights(counts, other.preferredAffinity, pod, node, 1, labelsOf);
      addWeights(counts, other.preferredAntiAffinity, pod, node, -1, labelsOf);
    }
  }
  if (counts.isEmpty) return undefined;
  return { score: (node) => counts.sum(node), normalize: spread };
}

/** The worst gets 0, the best 100. */
function spread(scores: Float64Array): void {
  let [least, most] = [0, 0];
  for (const value of scores) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  for (let at = 0; at < scores.length; at++)
    scores[at] = most === least ? 0 : Math.trunc((100 * ((scores[at] ?? 0) - least)) / (most - least));
}

/** A pod that came may be one to be near to; one that went, one to be far from. */
function podHelps(pod: PodInfo, now: PodInfo | undefined, old: PodInfo | undefined, labelsOf: LabelsOf): boolean {
  const meets = (terms: readonly AffinityTerm[], one: PodInfo | undefined): boolean =>
    one !== undefined && terms.some((term) => termMatches(term, one, labelsOf));
  if (meets(pod.affinity, now) && !(old && meets(pod.affinity, old))) return true;
  if (meets(pod.antiAffinity, old) && !meets(pod.antiAffinity, now)) return true;
  return now === undefined && old !== undefined && meets(old.antiAffinity, pod);
}

export function interPodAffinity(context: PluginContext): Plugin {
  const informer: Informer<Namespace> = context.informer(namespaces);
  const labelsOf: LabelsOf = (name) => informer.get(name)?.metadata.labels;
  return {
    name: 'InterPodAffinity',
    weight: 2,
    filter: (pod, cluster) => filter(pod, cluster, labelsOf),
    score: (pod, cluster) => score(pod, cluster, labelsOf),
    hints: [
      hint(pods, (pod, now, old) => podHelps(pod, now && podInfo(now), old && podInfo(old), labelsOf)),
      hint(nodes, (_pod, now, old) => nodeLabelsChanged(now, old)),
      hint(
        namespaces,
        (pod, now, old) =>
          [...pod.affinity, ...pod.antiAffinity].some(({ namespaceSelector }) => namespaceSelector !== undefined) &&
          JSON.stringify(now?.metadata.labels) !== JSON.stringify(old?.metadata.labels),
      ),
    ],
  };
}
