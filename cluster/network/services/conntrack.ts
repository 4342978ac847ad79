/**
 * Forgets connections of UDP that lead to endpoints which are gone. Established connections never ask the rules again, and one of UDP
 * is established for as long as its client sends: without this a client goes on to an address where nobody is, or where
 * somebody else is by now. Also one that began while a Service had no endpoint, and so was not translated at all.
 */
import { networkInterfaces } from 'node:os';
import { familyOf } from '#lib/ip-range.ts';
import { overlaps } from '#lib/routes.ts';
import { run } from '#lib/run.ts';
import type { ServicePort } from './services.ts';

/** By `address:port`, or for every address of this host by `:port`, of IPv6 `[]:port`: the endpoints, as `address:port`. */
export type UdpFrontends = ReadonlyMap<string, ReadonlySet<string>>;

export function udpFrontends(ports: Iterable<ServicePort>): UdpFrontends {
  const frontends = new Map<string, Set<string>>();
  for (const one of ports) {
    if (one.protocol !== 'udp') continue;
    const { Cluster, Local } = one.backends;
    const endpoints = new Set([...Cluster, ...Local].map(({ ip, port }) => `${ip}:${port}`));
    for (const ip of [one.clusterIp, ...one.externalIps, ...one.loadBalancerIps])
      frontends.set(`${ip}:${one.port}`, endpoints);
    if (one.nodePort !== undefined) frontends.set(`${one.family === 6 ? '[]' : ''}:${one.nodePort}`, endpoints);
  }
  return frontends;
}

/** Whether connections may have become stale: an endpoint or a frontend went, or the first endpoint came. */
export function mayBeStale(before: UdpFrontends, after: UdpFrontends): boolean {
  for (const [frontend, endpoints] of before) {
    const now = after.get(frontend);
    if (now === endpoints) continue;
    if (now === undefined || (endpoints.size === 0 && now.size > 0)) return true;
    for (const endpoint of endpoints) if (!now.has(endpoint)) return true;
  }
  for (const [frontend, endpoints] of after) if (!before.has(frontend) && endpoints.size > 0) return true;
  return false;
}

interface Connection {
  destination: string;
  port: string;
  answeredBy: string;
  answeringPort: string;
}

/**
 * @param gone  frontends of earlier states that are not there any more
 * @param range.serviceCidrs  one for each family that is looked at
 * @param range.foreign  addresses of the service ranges that somebody else leads anywhere
 */
export async function forgetStale(
  frontends: UdpFrontends,
  gone: Iterable<string>,
  range: { serviceCidrs: readonly string[]; foreign: ReadonlySet<string> },
): Promise<number> {
  const known = new Map(frontends);
  for (const frontend of gone) if (!known.has(frontend)) known.set(frontend, new Set());
  const own = new Set(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address)));
  let forgotten = 0;
  for (const serviceCidr of range.serviceCidrs) {
    const family = ['-f', familyOf(serviceCidr) === 6 ? 'ipv6' : 'ipv4'];
    const { stdout } = await run('conntrack', ['-L', ...family, '-p', 'udp']);
    const stale = new Map<string, Connection>();
    for (const connection of connectionsOf(stdout)) {
      if (range.foreign.has(connection.destination)) continue;
      if (isStale(connection, known, own, serviceCidr)) stale.set(Object.values(connection).join(' '), connection);
    }
    for (const { destination, port, answeredBy, answeringPort } of stale.values()) {
      const original = ['--orig-dst', destination, '--orig-port-dst', port];
      const reply = ['--reply-src', answeredBy, '--reply-port-src', answeringPort];
      // Its exit status is 1 where the last of them ended by itself meanwhile.
      await run('conntrack', ['-D', ...family, '-p', 'udp', ...original, ...reply], { allow: [1] });
    }
    forgotten += stale.size;
  }
  return forgotten;
}

/** `udp 17 29 src=A dst=B sport=1 dport=2 src=C dst=D sport=3 dport=4 …`, the second four for the answers, with marks between. */
export function* connectionsOf(listing: string): Generator<Connection> {
  for (const line of listing.split('\n')) {
    const fields = [...line.matchAll(/\b(dst|src|dport|sport)=(\S+)/g)];
    const nth = (name: string, index: number): string => fields.filter(([, key]) => key === name)[index]?.[2] ?? '';
    if (fields.length < 8) continue;
    yield {
      destination: nth('dst', 0),
      port: nth('dport', 0),
      answeredBy: nth('src', 1),
      answeringPort: nth('sport', 1),
    };
  }
}

function isStale(
  { destination, port, answeredBy, answeringPort }: Connection,
  frontends: UdpFrontends,
  own: ReadonlySet<string>,
  serviceCidr: string,
): boolean {
  const endpoints =
    frontends.get(`${destination}:${port}`) ??
    (own.has(destination) ? frontends.get(`${familyOf(destination) === 6 ? '[]' : ''}:${port}`) : undefined);
  if (endpoints !== undefined) return !endpoints.has(`${answeredBy}:${answeringPort}`);
  // An address of the service range that nobody has, and was led somewhere when somebody had it.
  return overlaps(destination, serviceCidr) && answeredBy !== destination;
}
