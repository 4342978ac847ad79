/** Which nodes are peers: pure. */
import { overlaps } from '#lib/routes.ts';
import type { Stored } from '../../kinds/kind.ts';
import type { Node } from '../../kinds/types/core.ts';
import type { OverlayOptions, OverlayPeer } from './overlay.ts';

export interface PeerList {
  peers: OverlayPeer[];
  /** Why a node that has a range and an address is none. */
  refused: { node: string; why: string }[];
}

/** The oldest node keeps what two claim: a node that lies about itself takes nothing away from another. */
export function peersOf(
  nodes: readonly Stored<Node>[],
  { nodeName, own, clusterCidr, ipv6 }: Pick<OverlayOptions, 'nodeName' | 'own' | 'clusterCidr' | 'ipv6'>,
): PeerList {
  const taken: (OverlayPeer & { node: string })[] = [{ node: nodeName, ...own }];
  const refused: PeerList['refused'] = [];
  const byAge = [...nodes].sort((a, b) => order(a).localeCompare(order(b)));
  for (const { metadata, spec, status } of byAge) {
    const node = metadata.name;
    const range = spec?.podCIDR;
    const address = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
    if (node === nodeName || !range || !address) continue;
    const other = taken.find((one) => one.address === address || overlaps(one.range, range));
    if (!/^\d+(\.\d+){3}$/.test(address)) refused.push({ node, why: `${address} is no IPv4 address` });
    else if (!inside(range, clusterCidr)) refused.push({ node, why: `${range} is not of ${clusterCidr}` });
    else if (other !== undefined)
      refused.push({
        node,
        why: `${address} with ${range} meets ${other.address} with ${other.range} of ${other.node}`,
      });
    else {
      const range6 = spec?.podCIDRs?.find((one) => one.includes(':'));
      const isGood =
        range6 !== undefined &&
        ipv6 !== undefined &&
        inside(range6, ipv6.clusterCidr) &&
        !taken.some((one) => one.range6 !== undefined && overlaps(one.range6, range6));
      if (range6 !== undefined && ipv6 !== undefined && !isGood)
        refused.push({ node, why: `${range6} is not of ${ipv6.clusterCidr}, or another's` });
      // It is reached by IPv4 all the same.
      taken.push({ node, address, range, ...(isGood && { range6 }) });
    }
  }
  return { peers: taken.slice(1).map(({ node: _node, ...peer }) => peer), refused };
}

function order({ metadata }: Stored<Node>): string {
  return `${metadata.creationTimestamp} ${metadata.name}`;
}

function inside(range: string, outer: string): boolean {
  const bits = (cidr: string): number => Number(cidr.split('/')[1]);
  return bits(range) >= bits(outer) && overlaps(range, outer);
}
