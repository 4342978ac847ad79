/**
 * What the scheduler knows of the cluster: nodes, what is on them, and what is meant to come. It follows the informers by
 * single changes and holds what was decided here before they show it; it is never copied. Plugins read it, and change nothing.
 */
import type { Stored } from '../kinds/kind.ts';
import type { Requirement } from '../kinds/selector.ts';
import type { Node } from '../kinds/types/core.ts';
import { NodeInfo } from './node-info.ts';
import { inZoneOrder } from './node-order.ts';
import { createPodCounts, type PodCounts } from './pod-counts.ts';
import type { PodInfo } from './pod-info.ts';

const noPods: ReadonlySet<PodInfo> = new Set();

export class Cluster {
  /** Nodes with pods that say something about others. */
  readonly nodesWithAffinity = new Set<NodeInfo>();
  readonly nodesWithAntiAffinity = new Set<NodeInfo>();
  private readonly infos = new Map<string, NodeInfo>();
  private readonly placed = new Map<string, PodInfo>();
  private readonly byNamespace = new Map<string, Set<PodInfo>>();
  private readonly imageNodes = new Map<string, number>();
  private readonly counts: PodCounts = createPodCounts((namespace) => this.podsIn(namespace));
  private list: NodeInfo[] | undefined;

  /** Every node that pods may be given to, zones in turn. */
  nodes(): readonly NodeInfo[] {
    this.list ??= inZoneOrder([...this.infos.values()].filter(({ node }) => node !== undefined));
    return this.list;
  }

  node(name: string): NodeInfo | undefined {
    const info = this.infos.get(name);
    return info?.node === undefined ? undefined : info;
  }

  setNode(node: Stored<Node>): void {
    const info = this.infoOf(node.metadata.name);
    this.countImages(info, -1);
    info.set(node);
    this.countImages(info, 1);
    this.list = undefined;
  }

  /** Its pods still count, should it come back. */
  removeNode(name: string): void {
    const info = this.infos.get(name);
    if (!info) return;
    this.countImages(info, -1);
    info.set(undefined);
    this.list = undefined;
    this.forgetIfEmpty(info);
  }

  /** The pod of this uid, where it counts. */
  pod(uid: string): PodInfo | undefined {
    return this.placed.get(uid);
  }

  /** Counts the pod on the node, and no more where it or what it was before was. */
  place(pod: PodInfo, name: string): void {
    this.remove(pod.uid);
    const info = this.infoOf(name);
    pod.node = info;
    info.add(pod);
    this.placed.set(pod.uid, pod);
    let others = this.byNamespace.get(pod.namespace);
    if (!others) this.byNamespace.set(pod.namespace, (others = new Set()));
    others.add(pod);
    this.counts.add(pod);
    this.noteAffinity(info);
  }

  /** Returns what was counted. */
  remove(uid: string): PodInfo | undefined {
    const pod = this.placed.get(uid);
    const info = pod?.node;
    if (!pod || !info) return undefined;
    this.placed.delete(uid);
    this.counts.remove(pod);
    info.remove(pod);
    pod.node = undefined;
    const others = this.byNamespace.get(pod.namespace);
    others?.delete(pod);
    if (others?.size === 0) this.byNamespace.delete(pod.namespace);
    this.noteAffinity(info);
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

  /** How many pods of a namespace that are not being deleted a selector matches, on each node that has any. Valid in this turn only. */
  podCounts(namespace: string, selector: Requirement[]): ReadonlyMap<NodeInfo, number> {
    return this.counts.of(namespace, selector);
  }

  nodesWithImage(name: string): number {
    return this.imageNodes.get(name) ?? 0;
  }

  private infoOf(name: string): NodeInfo {
    let info = this.infos.get(name);
    if (!info) this.infos.set(name, (info = new NodeInfo(name)));
    return info;
  }

  private noteAffinity(info: NodeInfo): void {
    if (info.podsWithAffinity.size > 0) this.nodesWithAffinity.add(info);
    else this.nodesWithAffinity.delete(info);
    if (info.podsWithAntiAffinity.size > 0) this.nodesWithAntiAffinity.add(info);
    else this.nodesWithAntiAffinity.delete(info);
  }

  private countImages(info: NodeInfo, sign: 1 | -1): void {
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
