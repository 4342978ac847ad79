/**
 * Addresses of load balancers, taken by one node each.
 *
 * The node that has one puts it on `lo` as a /32; one of IPv6, as a /128, on the link whose range it is of, and on `lo` where there is none.
 * The kernel then answers for it wherever it is asked (ARP and neighbour discovery on the link whose range it is of; a packet that a router
 * sends), so neighbours reach it with nothing configured where the pool is a part of their own network, and by a route to any node
 * elsewhere. Which node: the first of those that may, in an order that depends on the address
 * (rendezvous hashing), so that nodes that come and go move few addresses, and all agents agree without talking to each other.
 * Whoever takes one says so to its neighbours, who else would send to where it was until their entry is old.
 * A node may when it is Ready; for `externalTrafficPolicy: Local`, when it has a ready endpoint.
 */
import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { familyOf, inRanges } from '#lib/ip-range.ts';
import { run } from '#lib/run.ts';

export interface BalancedService {
  addresses: readonly string[];
  /** Nodes with a ready endpoint, where only those may; else undefined. */
  only: ReadonlySet<string> | undefined;
}

/** The node that answers for the address; undefined where none may. */
export function holderOf(address: string, nodes: readonly string[]): string | undefined {
  const weight = (node: string): string => createHash('sha256').update(`${address} ${node}`).digest('hex');
  return nodes.toSorted((a, b) => (weight(a) < weight(b) ? -1 : 1))[0];
}

/** @param ready  names of the nodes that are Ready */
export function addressesOfNode(
  nodeName: string,
  ready: readonly string[],
  services: Iterable<BalancedService>,
  pool: readonly string[],
): string[] {
  const mine = new Set<string>();
  for (const { addresses, only } of services) {
    const may = only === undefined ? ready : ready.filter((node) => only.has(node));
    for (const address of addresses)
      if (inRanges(address, pool) && holderOf(address, may) === nodeName) mine.add(address);
  }
  return [...mine].sort();
}

/** By what the kernel keeps with each of an instance's addresses: of IPv4 a label (at most 15 characters, and the link's name first), of IPv6, which has none, a metric. */
export function addressMark(instance: string): { label: string; metric: number } {
  const own = createHash('sha256').update(instance).digest('hex').slice(0, 8);
  return { label: `lo:${own}`, metric: Number.parseInt(own, 16) || 1 };
}

/**
 * On this host: these addresses of the instance and no others. By nothing but what the kernel has.
 * @returns those that were not there
 */
export async function holdAddresses(instance: string, wanted: readonly string[]): Promise<string[]> {
  const mark = addressMark(instance);
  const places = new Map(wanted.map((address) => [address, linkOf(address)]));
  const kept = new Set<string>();
  for (const { address, bits, link } of await ownAddresses(mark)) {
    if (places.get(address) === link) kept.add(address);
    else await run('ip', ['address', 'delete', `${address}/${bits}`, 'dev', link]);
  }
  const added = wanted.filter((address) => !kept.has(address));
  for (const address of added) {
    const words =
      familyOf(address) === 4
        ? [`${address}/32`, 'dev', 'lo', 'label', mark.label]
        : [`${address}/128`, 'dev', linkOf(address), 'metric', String(mark.metric), ...ANSWERED_ONLY];
    await run('ip', ['address', 'add', ...words]);
  }
  return added;
}

/** Whether this host has all of them: who takes a link down takes its addresses of IPv6 away. */
export function hasAddresses(wanted: readonly string[]): boolean {
  // A host has many links: they are not read for nothing.
  if (wanted.length === 0) return true;
  const there = new Set(Object.values(networkInterfaces()).flatMap((list = []) => list.map(({ address }) => address)));
  return wanted.every((address) => there.has(address));
}

/** Nobody asks who else has it, no route is made by it, and what this host sends of its own accord is sent from another. */
const ANSWERED_ONLY = ['nodad', 'noprefixroute', 'preferred_lft', '0'];

interface OwnAddress {
  address: string;
  bits: number;
  link: string;
}

async function ownAddresses({ label, metric }: ReturnType<typeof addressMark>): Promise<OwnAddress[]> {
  const { stdout } = await run('ip', ['-json', 'address', 'show']);
  const links = JSON.parse(stdout) as { ifname: string; addr_info?: AddressInfo[] }[];
  return links.flatMap(({ ifname, addr_info: list = [] }) =>
    list
      .filter((one) => (one.family === 'inet' ? one.label === label : one.prefixlen === 128 && one.metric === metric))
      .map(({ local, prefixlen }) => ({ address: local, bits: prefixlen, link: ifname })),
  );
}

/** As ip(8) prints it. */
interface AddressInfo {
  family: string;
  local: string;
  prefixlen: number;
  label?: string;
  metric?: number;
}

/** The kernel answers for an address of IPv4 on every link, for one of IPv6 on its own alone: that is the one whose range it is of. */
function linkOf(address: string): string {
  if (familyOf(address) === 4) return 'lo';
  const near = Object.entries(networkInterfaces()).find(([, list = []]) =>
    list.some(({ cidr, internal, family }) => {
      if (internal || family !== 'IPv6' || cidr === null || cidr.endsWith('/128')) return false;
      return inRanges(address, [cidr]);
    }),
  );
  return near?.[0] ?? 'lo';
}
