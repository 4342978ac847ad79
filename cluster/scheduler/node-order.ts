import type { NodeInfo } from './node-info.ts';

/** Zones in turn, so that a search that ends early has looked at all of them. */
export function inZoneOrder(nodes: NodeInfo[]): NodeInfo[] {
  const zones = [
    ...Map.groupBy(
      nodes,
      ({ labels }) => `${labels['topology.kubernetes.io/region'] ?? ''}/${labels['topology.kubernetes.io/zone'] ?? ''}`,
    ).values(),
  ];
  if (zones.length <= 1) return nodes;
  const ordered: NodeInfo[] = [];
  for (let at = 0; ordered.length < nodes.length; at++) {
    for (const zone of zones) {
      const node = zone[at];
      if (node) ordered.push(node);
    }
  }
  return ordered;
}
