/** How many of some pods are on each node, and in each domain: all nodes with one value of a label. Kept right by single changes. */
import type { NodeInfo } from './node-info.ts';

export class Tally {
  private readonly nodes = new Map<NodeInfo, number>();
  /** By label, then by its value; those labels that were asked for. */
  private readonly byKey = new Map<string, Map<string, number>>();

  get isEmpty(): boolean {
    return this.nodes.size === 0;
  }

  /** Valid until the next change. */
  onNodes(): ReadonlyMap<NodeInfo, number> {
    return this.nodes;
  }

  /** Pods by the value of the label, on nodes that have it. Valid until the next change. */
  domains(key: string): ReadonlyMap<string, number> {
    let counts = this.byKey.get(key);
    if (counts === undefined) {
      counts = new Map();
      for (const [node, count] of this.nodes) addTo(counts, node.labels[key], count);
      this.byKey.set(key, counts);
    }
    return counts;
  }

  /** How many share the node's domain. */
  near(key: string, { labels }: NodeInfo): number {
    const value = labels[key];
    return value === undefined ? 0 : (this.domains(key).get(value) ?? 0);
  }

  change(node: NodeInfo, by: 1 | -1): void {
    addTo(this.nodes, node, by);
    for (const [key, counts] of this.byKey) addTo(counts, node.labels[key], by);
  }

  /** Labels of nodes changed. */
  relabel(): void {
    this.byKey.clear();
  }
}

function addTo<K>(counts: Map<K, number>, key: K | undefined, by: number): void {
  if (key === undefined) return;
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
