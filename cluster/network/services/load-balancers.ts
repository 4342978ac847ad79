/**
 * Addresses of load balancers, taken by one node each.
 *
 * The node that has one puts it on `lo` as a /32. The kernel then answers for it wherever it is asked (ARP on the link whose range it
 * is of; a packet that a router sends), so neighbours reach it with nothing configured where the pool is a part of their own network,
 * and by a route to any node elsewhere. Which node: the first of those that may, in an order that depends on the address
 * (rendezvous hashing), so that nodes that come and go move few addresses, and all agents agree without talking to each other.
 * Whoever takes one says so to its neighbours, who else would send to where it was until their entry is old.
 * A node may when it is Ready; for `externalTrafficPolicy: Local`, when it has a ready endpoint.
 */
import { createHash } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { overlaps } from '#lib/routes.ts';
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
      if (inPool(address, pool) && holderOf(address, may) === nodeName) mine.add(address);
  }
  return [...mine].sort();
}

export function inPool(address: string, pool: readonly string[]): boolean {
  return isIPv4(address) && pool.some((range) => overlaps(`${address}/32`, range));
}

/** Of an instance's addresses on `lo`: at most 15 characters, and the link's name first. */
export function addressLabel(instance: string): string {
  return `lo:${createHash('sha256').update(instance).digest('hex').slice(0, 8)}`;
}

/**
 * On `lo`, with a label that says whose they are: these and no others. By nothing but what the kernel has.
 * @returns those that were not there
 */
export async function holdAddresses(instance: string, wanted: readonly string[]): Promise<string[]> {
  const label = addressLabel(instance);
  const { stdout } = await run('ip', ['-json', '-4', 'address', 'show', 'dev', 'lo']);
  const [link] = JSON.parse(stdout) as { addr_info?: { local: string; label?: string }[] }[];
  const there = (link?.addr_info ?? []).filter((one) => one.label === label).map(({ local }) => local);
  for (const address of there) {
    if (!wanted.includes(address)) await run('ip', ['address', 'delete', `${address}/32`, 'dev', 'lo']);
  }
  const added = wanted.filter((address) => !there.includes(address));
  for (const address of added) await run('ip', ['address', 'add', `${address}/32`, 'dev', 'lo', 'label', label]);
  return added;
}
