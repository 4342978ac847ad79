/**
 * Pods that want to be near others, or not ("Inter-pod affinity and anti-affinity"). A term is about domains: all nodes that
 * have one value of its topology key. Anti-affinity goes both ways: a pod that is there keeps those away that it does not want.
 */
import type { Informer } from '../../client/client.ts';
import { namespaces, nodes, pods } from '../../kinds/resources.ts';
import type { Namespace } from '../../kinds/types/core.ts';
import type { TermKind } from '../affinity-terms.ts';
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
import { Tally } from '../tally.ts';

const notNear = unresolvable("node(s) didn't match pod affinity rules");
const tooNear = rejection("node(s) didn't match pod anti-affinity rules");
const notWanted = rejection("node(s) didn't satisfy existing pods anti-affinity rules");

/** What a pod's required affinity adds to the score of others, where it is the other that is scheduled. */
const requiredWeight = 1;

type LabelsOf = (namespace: string) => Record<string, string> | undefined;

function matchesAll(terms: readonly AffinityTerm[], pod: PodInfo, labelsOf: LabelsOf): boolean {
  return terms.length > 0 && terms.every((term) => termMatches(term, pod, labelsOf));
}

/** Where the pods are that a rule about terms selects. Kept, where the terms mean one namespace only, which is the usual. */
function tallyOf(terms: readonly AffinityTerm[], selects: (pod: PodInfo) => boolean, cluster: Cluster): Tally {
  const namespaces = new Set(terms.flatMap((term) => [...term.namespaces]));
  const byLabels = terms.some(({ namespaceSelector }) => namespaceSelector !== undefined);
  const [only] = namespaces;
  if (!byLabels && namespaces.size === 1 && only !== undefined)
    return cluster.selected.tally(only, terms.map(({ text }) => text).join(), selects);
  const tally = new Tally();
  for (const pods of byLabels ? [cluster.pods()] : [...namespaces].map((name) => cluster.podsIn(name)))
    for (const pod of pods) if (pod.node && selects(pod)) tally.change(pod.node, 1);
  return tally;
}

/** Pods in domains, and what is added and taken in thought. */
class Near {
  readonly topologyKey: string;
  private readonly tally: Tally;
  private thought: Tally | undefined;

  constructor(topologyKey: string, tally: Tally) {
    this.topologyKey = topologyKey;
    this.tally = tally;
  }

  at(node: NodeInfo): number {
    const { topologyKey, thought } = this;
    return this.tally.near(topologyKey, node) + (thought?.near(topologyKey, node) ?? 0);
  }

  change(node: NodeInfo, by: 1 | -1): void {
    (this.thought ??= new Tally()).change(node, by);
  }

  /** In any domain at all. */
  get isNowhere(): boolean {
    const counts = this.tally.domains(this.topologyKey);
    const thought = this.thought?.domains(this.topologyKey);
    if (thought === undefined || thought.size === 0) return counts.size === 0;
    return [...new Set([...counts.keys(), ...thought.keys()])].every(
      (value) => (counts.get(value) ?? 0) + (thought.get(value) ?? 0) <= 0,
    );
  }
}

/** What required terms demand of each domain, kept right while pods are added and removed in thought. */
class RequiredTerms {
  private readonly pod: PodInfo;
  private readonly labelsOf: LabelsOf;
  /** Of pods that all terms of affinity match, by each term's key. */
  private readonly near: Near[];
  private readonly far: { term: AffinityTerm; near: Near }[];
  /** Of pods that do not want this one, by their term. */
  private readonly unwelcome: Map<string, Near>;

  constructor(pod: PodInfo, cluster: Cluster, labelsOf: LabelsOf) {
    this.pod = pod;
    this.labelsOf = labelsOf;
    const { affinity, antiAffinity } = pod;
    const all = affinity.length > 0 && tallyOf(affinity, (other) => matchesAll(affinity, other, labelsOf), cluster);
    this.near = all ? affinity.map(({ topologyKey }) => new Near(topologyKey, all)) : [];
    this.far = antiAffinity.map((term) => ({
      term,
      near: new Near(
        term.topologyKey,
        tallyOf([term], (other) => termMatches(term, other, labelsOf), cluster),
      ),
    }));
    this.unwelcome = new Map();
    for (const { term, tally } of cluster.terms.of('antiAffinity'))
      if (termMatches(term, pod, labelsOf)) this.unwelcome.set(term.text, new Near(term.topologyKey, tally));
  }

  get isEmpty(): boolean {
    return this.near.length + this.far.length + this.unwelcome.size === 0;
  }

  change(other: PodInfo, node: NodeInfo, by: 1 | -1): void {
    const { pod, labelsOf, near, far, unwelcome } = this;
    if (near.length > 0 && matchesAll(pod.affinity, other, labelsOf)) for (const one of near) one.change(node, by);
    for (const { term, near: one } of far) if (termMatches(term, other, labelsOf)) one.change(node, by);
    for (const term of other.antiAffinity) {
      if (!termMatches(term, pod, labelsOf)) continue;
      let one = unwelcome.get(term.text);
      if (!one) unwelcome.set(term.text, (one = new Near(term.topologyKey, new Tally())));
      one.change(node, by);
    }
  }

  isNear(node: NodeInfo): boolean {
    const { near } = this;
    if (near.length === 0) return true;
    if (near.some(({ topologyKey }) => node.labels[topologyKey] === undefined)) return false;
    if (near.every((one) => one.at(node) > 0)) return true;
    // The first of a group that wants to be together has nobody to go to.
    return near.every((one) => one.isNowhere) && matchesAll(this.pod.affinity, this.pod, this.labelsOf);
  }

  isTooNear(node: NodeInfo): boolean {
    for (const { near } of this.far) if (near.at(node) > 0) return true;
    return false;
  }

  isUnwelcome(node: NodeInfo): boolean {
    for (const near of this.unwelcome.values()) if (near.at(node) > 0) return true;
    return false;
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
    add: (other, node) => terms.change(other, node, 1),
    remove: (other, node) => terms.change(other, node, -1),
  };
}

interface Weighed {
  /** Of the term. */
  text: string;
  topologyKey: string;
  tally: Tally;
  weight: number;
}

function score(pod: PodInfo, cluster: Cluster, labelsOf: LabelsOf): PodScore | undefined {
  const own = (terms: readonly AffinityTerm[], sign: number): Weighed[] =>
    terms.map((term) => ({
      text: term.text,
      topologyKey: term.topologyKey,
      tally: tallyOf([term], (other) => termMatches(term, other, labelsOf), cluster),
      weight: sign * term.weight,
    }));
  const others = (kind: TermKind, weightOf: (term: AffinityTerm) => number): Weighed[] =>
    [...cluster.terms.of(kind)]
      .filter(({ term }) => termMatches(term, pod, labelsOf))
      .map(({ term, tally }) => ({
        text: term.text,
        topologyKey: term.topologyKey,
        tally,
        weight: weightOf(term),
      }));
  const weighed = [
    ...own(pod.preferredAffinity, 1),
    ...own(pod.preferredAntiAffinity, -1),
    ...others('affinity', () => requiredWeight),
    ...others('preferredAffinity', ({ weight }) => weight),
    ...others('preferredAntiAffinity', ({ weight }) => -weight),
  ].filter(({ topologyKey, tally }) => tally.domains(topologyKey).size > 0);
  if (weighed.length === 0) return undefined;
  return {
    likeness: weighed.map(({ text, weight }) => `${weight}${text}`).join(),
    isVolatile: true,
    score(node) {
      let sum = 0;
      for (const { topologyKey, tally, weight } of weighed) sum += weight * tally.near(topologyKey, node);
      return sum;
    },
    normalize: spread,
  };
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
