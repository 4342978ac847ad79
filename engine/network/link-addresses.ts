/** Gives the link of a sandbox its addresses and routes, and takes others away: what is there is compared with what is wanted. */
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { inNetworkNamespace } from '../sys/netlink.ts';
import { addressAt, parseCidr } from './addresses.ts';
import { allowIpv6 } from './ipv6-host.ts';
import { Links } from './links.ts';
import type { LinkAddress } from './network.ts';

export interface LinkRequest {
  /** The host's end. */
  name: string;
  namespacePath: string;
  addresses: readonly LinkAddress[];
  /** Where names are asked. */
  resolver: string;
  mac?: string;
}

/** Both ends of a link, each with a socket of its own network namespace. */
interface Ends {
  host: Links;
  inside: Links;
  link: number;
  eth0: number;
}

/**
 * An address that goes: the host's route first, so that after a crash between the two the address still tells that there is
 * something to take away. One that comes: the other way around.
 */
export function setLinkAddresses({ name, namespacePath, addresses, resolver, mac }: LinkRequest): void {
  using host = new Links();
  using inside = new Links(namespacePath);
  const link = linkIndex(name);
  const eth0 = inside.index('eth0');
  if (link === undefined || eth0 === undefined)
    throw new EngineError('unavailable', `link ${name} was removed by somebody else`);
  const ends = { host, inside, link, eth0 };
  if (mac !== undefined) inside.setMac(eth0, mac);
  const wanted = new Set(addresses.map(({ ip }) => ip));
  const present = inside.addresses(eth0);
  for (const ip of present) {
    if (wanted.has(ip)) continue;
    host.removeRoute({ to: ip, prefix: lengthOf(ip), link });
    inside.removeAddress(eth0, ip);
  }
  const six = addresses.filter(({ ip }) => isIPv6(ip));
  if (six.length > 0) {
    allowIpv6(name);
    inNetworkNamespace(namespacePath, () => allowIpv6('eth0'));
  }
  for (const { ip, gateway } of addresses) {
    if (!present.includes(ip)) inside.addAddress(eth0, ip);
    host.setRoute({ to: ip, prefix: lengthOf(ip), link, source: gateway });
  }
  if (six.length > 0) introduce(ends, six);
  // Names are answered to IPv4 addresses of such networks alone.
  const named = addresses.find(({ ip, subnet }) => subnet !== undefined && !isIPv6(ip));
  if (named !== undefined) inside.setRoute({ to: resolver, prefix: 32, link: eth0, source: named.ip });
  setRoutes(ends, addresses);
  if (six.length > 0 || present.some(isIPv6)) removeOldRoutes(ends, six);
}

/** To each network by its gateway; and out, by the first network that leads there. */
function setRoutes({ inside, eth0: link }: Ends, addresses: readonly LinkAddress[]): void {
  for (const { ip, gateway, subnet } of addresses)
    if (subnet !== undefined) inside.setRoute({ ...routeTo(subnet), link, gateway, source: ip });
  for (const everywhere of ['0.0.0.0', '::']) {
    const route = { to: everywhere, prefix: 0, link };
    const outward = addresses.find(({ ip, internal }) => !internal && isIPv6(ip) === isIPv6(everywhere));
    if (outward !== undefined) inside.setRoute({ ...route, gateway: outward.gateway, source: outward.ip });
    else if (!isIPv6(everywhere)) inside.removeRoute(route);
  }
}

/** The kernel lets IPv6 routes be when their source goes. */
function removeOldRoutes({ inside, eth0: link }: Ends, addresses: readonly LinkAddress[]): void {
  const wanted = new Set(addresses.map(({ subnet }) => subnet));
  if (addresses.some(({ internal }) => !internal)) wanted.add('::/0');
  for (const { to, prefix } of inside.ipv6Routes(link))
    if (!wanted.has(`${to}/${prefix}`)) inside.removeRoute({ to, prefix, link });
}

/** Written down on both sides, so that nobody has to ask, and what a sandbox says of neighbours can be dropped unread. */
function introduce({ host, inside, link, eth0 }: Ends, addresses: readonly LinkAddress[]): void {
  const outside = host.mac(link);
  const own = inside.mac(eth0);
  for (const { ip, gateway } of addresses) {
    inside.setNeighbour(eth0, gateway, outside);
    host.setNeighbour(link, ip, own);
  }
}

function lengthOf(ip: string): number {
  return isIPv6(ip) ? 128 : 32;
}

export function routeTo(subnet: string): { to: string; prefix: number } {
  const cidr = parseCidr(subnet);
  return { to: addressAt(cidr, 0n), prefix: cidr.prefix };
}

function linkIndex(name: string): number | undefined {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/ifindex`, 'utf8'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
