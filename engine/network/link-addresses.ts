/** Gives the link of a sandbox its addresses and routes, and takes others away: what is there is compared with what is wanted. */
import { readFileSync } from 'node:fs';
import { EngineError } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { formatIpv4, parseCidr } from './addresses.ts';
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
  if (mac !== undefined) inside.setMac(eth0, mac);
  const wanted = new Set(addresses.map(({ ip }) => ip));
  const present = inside.addresses(eth0);
  for (const ip of present) {
    if (wanted.has(ip)) continue;
    host.removeRoute({ to: ip, prefix: 32, link });
    inside.removeAddress(eth0, ip);
  }
  for (const { ip, gateway } of addresses) {
    if (!present.includes(ip)) inside.addAddress(eth0, ip);
    host.setRoute({ to: ip, prefix: 32, link, source: gateway });
  }
  // Names are answered to addresses of such networks alone.
  const named = addresses.find(({ subnet }) => subnet !== undefined);
  if (named !== undefined) inside.setRoute({ to: resolver, prefix: 32, link: eth0, source: named.ip });
  for (const { ip, gateway, subnet } of addresses) {
    if (subnet === undefined) continue;
    const { base, prefix } = parseCidr(subnet);
    inside.setRoute({ to: formatIpv4(base), prefix, link: eth0, gateway, source: ip });
  }
  const outward = addresses.find(({ internal }) => !internal);
  if (outward === undefined) inside.removeRoute({ to: '0.0.0.0', prefix: 0, link: eth0 });
  else inside.setRoute({ to: '0.0.0.0', prefix: 0, link: eth0, gateway: outward.gateway, source: outward.ip });
}

function linkIndex(name: string): number | undefined {
  try {
    return Number(readFileSync(`/sys/class/net/${name}/ifindex`, 'utf8'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
