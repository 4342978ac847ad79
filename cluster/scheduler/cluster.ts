/**
 * What the scheduler knows of the cluster: nodes, what is on them, and what is meant to come. It follows the informers by
 * single changes and holds what was decided here before they show it; it is never copied. Plugins read it, and change nothing.
 */
import type { Stored } from '../kinds/kind.ts';
import type { Node } from '../kinds/types/core.ts';
import { NodeInfo } from './node-info.ts';
import { inZoneOrder } from './node-order.ts';
import { type AffinityTerms, createAffinityTerms } from './affinity-terms.ts';
import { type PodInfo, sameLabels } from './pod-info.ts';
import { createSelectedPods, type SelectedPods } from './selected-pods.ts';
import { Tally } from './tally.ts';

const noPods: ReadonlySet<PodInfo> = new Set();

export class Cluster {
  /** Counts every change of what plugins may see. */
  version = 0;
  /** What the pods on nodes say of others. */
  readonly terms: AffinityTerms = createAffinityTerms();
  readonly selected: SelectedPods = createSelectedPods((namespace) => this.podsIn(namespace));
  nodesWithSoftTaints = 0;
  private readonly infos = new Map<string, NodeInfo>();
  private readonly placed = new Map<string, PodInfo>();
  private readonly byNamespace = new Map<string, Set<PodInfo>>();
  /** Of the pods on nodes: how many have which. */
  private readonly priorities = new Map<number, number>();
  private readonly imageNodes = new Map<string, number>();
  private list: NodeInfo[] | undefined;
  private domainsOfNodes: Tally | undefined;

  /** Every node that pods may be given to, zones in turn. */
  nodes(): readonly NodeInfo[] {
    this.list ??= inZoneOrder([...this.infos.values()].filter(({ node }) => node !== undefined));
    return this.list;
  }

  node(name: string): NodeInfo | undefined {
    const info = this.infos.get(name);
    return info?.node === undefined ? undefined : info;
  }

  /** The nodes themselves, counted: which domains there are, and how many nodes have a label. */
  nodeTally(): Tally {
    if (this.domainsOfNodes === undefined) {
      this.domainsOfNodes = new Tally();
      for (const node of this.nodes()) this.domainsOfNodes.change(node, 1);
    }
    return this.domainsOfNodes;
  }

  setNode(node: Stored<Node>): void {
    this.change(this.infoOf(node.metadata.name), node);
  }

  /** Its pods still count, should it come back. */
  removeNode(name: string): void {
    const info = this.infos.get(name);
    if (!info) return;
    this.change(info, undefined);
    this.forgetIfEmpty(info);
  }

  /** The pod of this uid, where it counts. */
  pod(uid: string): PodInfo | undefined {
    return this.placed.get(uid);
  }

  /** Counts the pod on the node, and no more where it or what it was before was. */
  place(pod: PodInfo, name: string): void {
    this.remove(pod.uid);
    this.version++;
    const info = this.infoOf(name);
    pod.node = info;
    info.add(pod);
    this.placed.set(pod.uid, pod);
    let others = this.byNamespace.get(pod.namespace);
    if (!others) this.byNamespace.set(pod.namespace, (others = new Set()));
    others.add(pod);
    this.selected.change(pod, 1);
    this.terms.change(pod, 1);
    this.priorities.set(pod.priority, (this.priorities.get(pod.priority) ?? 0) + 1);
  }

  /** Returns what was counted. */
  remove(uid: string): PodInfo | undefined {
    const pod = this.placed.get(uid);
    const info = pod?.node;
    if (!pod || !info) return undefined;
    this.version++;
    this.placed.delete(uid);
    this.selected.change(pod, -1);
    this.terms.change(pod, -1);
    const alike = (this.priorities.get(pod.priority) ?? 0) - 1;
    if (alike > 0) this.priorities.set(pod.priority, alike);
    else this.priorities.delete(pod.priority);
    info.remove(pod);
    pod.node = undefined;
    const others = this.byNamespace.get(pod.namespace);
    others?.delete(pod);
    if (others?.size === 0) this.byNamespace.delete(pod.namespace);
    this.forgetIfEmpty(info);
    return pod;
  }

  podsIn(namespace: string): ReadonlySet<PodInfo> {
    return this.byNamespace.get(namespace) ?? noPods;
  }

  /** All pods on nodes. */
  pods(): Iterable<PodInfo> {
    return this.placed.values();
  }

  /** Is any pod on any node less important? */
  hasLesser({ priority }: PodInfo): boolean {
    for (const other of this.priorities.keys()) if (other < priority) return true;
    return false;
  }

  nodesWithImage(name: string): number {
    return this.imageNodes.get(name) ?? 0;
  }

  private infoOf(name: string): NodeInfo {
    let info = this.infos.get(name);
    if (!info) this.infos.set(name, (info = new NodeInfo(name)));
    return info;
  }

  private change(info: NodeInfo, node: Stored<Node> | undefined): void {
    const { labels, node: before } = info;
    this.version++;
    this.count(info, -1);
    info.set(node);
    this.count(info, 1);
    // A heartbeat changes neither what nodes there are, nor their order and domains.
    if ((before === undefined) === (node === undefined) && sameLabels(labels, info.labels)) return;
    this.list = undefined;
    this.domainsOfNodes = undefined;
    this.selected.relabel();
    this.terms.relabel();
  }

  private count(info: NodeInfo, sign: 1 | -1): void {
    if (info.softTaints.length > 0) this.nodesWithSoftTaints += sign;
    for (const name of info.images.keys()) {
      const count = (this.imageNodes.get(name) ?? 0) + sign;
      if (count > 0) this.imageNodes.set(name, count);
      else this.imageNodes.delete(name);
    }
  }

  private forgetIfEmpty(info: NodeInfo): void {
    if (info.node === undefined && info.pods.size === 0) this.infos.delete(info.name);
  }
}
