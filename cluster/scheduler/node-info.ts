/** A node with what is on it, kept up to date by single changes: nothing is summed up again for a pod. */
import type { Stored } from '../kinds/kind.ts';
import type { Node, Taint } from '../kinds/types/core.ts';
import type { PodInfo } from './pod-info.ts';
import { addResources, noResources, parseResources, type Resources } from './resources.ts';

const noLabels: Record<string, string> = {};

const noTaints: Taint[] = [];

/** Thousands of nodes without taints are looked at for a pod: one array for all of them stays in the processor's cache. */
function orShared(taints: Taint[]): Taint[] {
  return taints.length === 0 ? noTaints : taints;
}

export class NodeInfo {
  readonly name: string;
  /** Undefined while only its pods are known; nothing is scheduled to it then. */
  node: Stored<Node> | undefined;
  labels: Record<string, string> = noLabels;
  unschedulable = false;
  /** Taints that keep pods away (`NoSchedule`, `NoExecute`), and those that only should. */
  hardTaints = noTaints;
  softTaints = noTaints;
  allocatable: Resources = noResources();
  /** Sizes by name. */
  images = new Map<string, number>();

  readonly requested: Resources = noResources();
  scoredCpu = 0;
  scoredMemory = 0;
  readonly pods = new Map<string, PodInfo>();
  /** By `protocol/port`: how many pods have it on which address. */
  readonly ports = new Map<string, Map<string, number>>();

  constructor(name: string) {
    this.name = name;
  }

  set(node: Stored<Node> | undefined): void {
    this.node = node;
    this.labels = node?.metadata.labels ?? noLabels;
    this.unschedulable = node?.spec?.unschedulable === true;
    const taints = node?.spec?.taints ?? [];
    this.hardTaints = orShared(taints.filter(({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute'));
    this.softTaints = orShared(taints.filter(({ effect }) => effect === 'PreferNoSchedule'));
    this.allocatable = parseResources(node?.status?.allocatable ?? node?.status?.capacity);
    this.images = new Map(
      node?.status?.images?.flatMap(({ names = [], sizeBytes = 0 }) => names.map((name) => [name, sizeBytes] as const)),
    );
  }

  add(pod: PodInfo): void {
    this.pods.set(pod.uid, pod);
    this.account(pod, 1);
  }

  remove(pod: PodInfo): void {
    if (this.pods.delete(pod.uid)) this.account(pod, -1);
  }

  private account(pod: PodInfo, sign: 1 | -1): void {
    addResources(this.requested, pod.requests, sign);
    this.scoredCpu += sign * pod.scoredCpu;
    this.scoredMemory += sign * pod.scoredMemory;
    for (const { protocol, ip, port } of pod.ports) {
      const key = `${protocol}/${port}`;
      let addresses = this.ports.get(key);
      if (!addresses) this.ports.set(key, (addresses = new Map()));
      const count = (addresses.get(ip) ?? 0) + sign;
      if (count > 0) addresses.set(ip, count);
      else addresses.delete(ip);
      if (addresses.size === 0) this.ports.delete(key);
    }
  }
}
