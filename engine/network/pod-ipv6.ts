/** Ranges of IPv6 that pods have beside those of IPv4. */
import { isIPv6 } from 'node:net';
import { EngineError } from '../engine.ts';
import { addressAt, contains, overlap, parseCidr } from './addresses.ts';
import { parseAddress } from './address-text.ts';
import { routeTo } from './link-addresses.ts';
import type { Links } from './links.ts';
import type { Ipv6Ranges } from './network.ts';
import { localPool } from './subnets.ts';

/** As nodes have everywhere; by it a range is known from an address in it. */
const PREFIX = 64;

/** Throws `invalid`. */
export function checkIpv6({ podCidr, clusterCidr, serviceCidr }: Ipv6Ranges, ipv4: string): void {
  const [pods, cluster, services] = [parseCidr(podCidr, 6), parseCidr(clusterCidr, 6), parseCidr(serviceCidr, 6)];
  const refuse = (what: string): never => {
    throw new EngineError('invalid', `network.ipv6.${what}`);
  };
  if (pods.prefix !== PREFIX) refuse(`podCidr: ${podCidr} is no /${PREFIX}`);
  if (parseCidr(ipv4, 4).size > pods.size) refuse(`podCidr: ${podCidr} is smaller than ${ipv4}`);
  if (!contains(cluster, addressAt(pods, 0n))) refuse(`podCidr: ${podCidr} is not of ${clusterCidr}`);
  if (overlap(cluster, services)) refuse(`serviceCidr: ${serviceCidr} and ${clusterCidr} share addresses`);
}

/** Those of an earlier engine, known by the gateways that the bridge still has. */
export function removeOldRanges(links: Links, bridge: number, gateways: ReadonlySet<string>): void {
  for (const address of links.addresses(bridge)) {
    if (!isIPv6(address) || gateways.has(address)) continue;
    const base = (parseAddress(address).value >> BigInt(128 - PREFIX)) << BigInt(128 - PREFIX);
    const range = addressAt({ family: 6, base, prefix: PREFIX, size: 1n << BigInt(128 - PREFIX) }, 0n);
    links.removeRoute(routeTo(`${range}/${PREFIX}`));
    links.removeAddress(bridge, address);
  }
}

/**
 * Those of an instance on this machine: at the end of the /48 that networks of users have theirs from, with room for as many nodes as a
 * range of IPv4 has, and for as many Services.
 */
export function podRanges6(instance: string): Ipv6Ranges {
  const { base, ...pool } = localPool(instance);
  const at = (subnet: bigint, prefix: number): string =>
    `${addressAt({ ...pool, base }, subnet << BigInt(128 - PREFIX))}/${prefix}`;
  return { podCidr: at(0xff00n, PREFIX), clusterCidr: at(0xff00n, 56), serviceCidr: at(0xfe00n, 112) };
}
