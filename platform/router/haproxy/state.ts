/**
 * What the proxy serves, in the proxy's own terms: maps that lead a host (and path) to a slot, and the servers in each
 * slot. The same structure holds what is wanted and what HAProxy has; `plan.ts` compares them.
 *
 * A slot is one of HAProxy's backends, declared ahead and empty until a backend of the routing table takes it: of the pool
 * that takes turns (`b0`, `b1`, …), of the one that looks for the fewest connections (`l0`, …), of the one for route services (`s0`, …),
 * the one of a TCP port (`t1024`), or one that chooses by a header (`h:…`, see `hash.ts`).
 */
import { createHash } from 'node:crypto';
import type { Endpoint, Route } from '../model.ts';

/**
 * Who drains is in HAProxy's maintenance: it finishes what it has, and sticky sessions leave it too, which HAProxy's own `drain` would
 * still give it.
 */
export type ServerMode = 'ready' | 'drain';

export interface Server {
  ip: string;
  port: number;
  weight: number;
  mode: ServerMode;
  /** On the ring of a slot that chooses by a header. */
  place?: number;
}

export interface ProxyState {
  /** Host → target, for routes of the whole host. */
  hosts: Map<string, string>;
  /** `host/path/` → target. The slash at the end makes the prefix match respect segments. */
  paths: Map<string, string>;
  /** `host/path` → target, for routes of exactly this path. */
  exact: Map<string, string>;
  /** Hosts that have an entry in `paths` or `exact`: all others skip those look-ups. */
  deep: Map<string, string>;
  /** Name of a route service → slot, host and URL: see `serviceTarget`. */
  services: Map<string, string>;
  /** Keys of signatures: id → key, and `CURRENT` → the id and key that sign. */
  keys: Map<string, string>;
  /** Paths of ACME's challenges → the answer. */
  challenges: Map<string, string>;
  /** By slot, by server name. */
  servers: Map<string, Map<string, Server>>;
}

/** How many slots of each kind are declared, besides those of TCP ports. */
export interface Pools {
  b: number;
  l: number;
  s: number;
}

export function mapPools<T>(of: (pool: keyof Pools) => T): Record<keyof Pools, T> {
  return { b: of('b'), l: of('l'), s: of('s') };
}

export function sizeOf({ b, l, s }: Pools): number {
  return b + l + s;
}

/** Services and keys before the routes that need them. */
export const MAPS = ['keys', 'services', 'hosts', 'paths', 'exact', 'deep', 'challenges'] as const;
export type MapName = (typeof MAPS)[number];

export function emptyState(): ProxyState {
  return {
    hosts: new Map(),
    paths: new Map(),
    exact: new Map(),
    deep: new Map(),
    services: new Map(),
    keys: new Map(),
    challenges: new Map(),
    servers: new Map(),
  };
}

/** A host as maps have it: `**.` where it stands for any number of labels. */
export function hostKey({ host, wide }: Pick<Route, 'host' | 'wide'>): string {
  return wide === true && host.startsWith('*.') ? `*${host}` : host;
}

/** A map's value: the HAProxy backend to use, the routing table's name for it, which the access log repeats, and what comes first, if anything. */
export function target(proxyBackend: string, backend: string, service?: string): string {
  return service === undefined ? `${proxyBackend}|${backend}` : `${proxyBackend}|${backend}|${service}`;
}

export function parseTarget(value: string): { slot: string | undefined; backend: string } {
  const [proxyBackend = '', backend = ''] = value.split('|');
  return { slot: SLOT.exec(proxyBackend)?.[0], backend };
}

/** Of a backend that chooses by a header: see `hash.ts`. */
export function isHashSlot(slot: string): boolean {
  return slot.startsWith('h:');
}

const SLOT = /^(?:[bls]\d+|h:[a-z0-9_:-]+)$/;

/** The key of `keys` that no client can name: ids have no dot. */
export const CURRENT = '.current';

/** `<slot>|<host and port>|<path and query>`; without a slot as long as it has no address. */
export function serviceTarget(slot: string, url: string): string {
  const { host, pathname, search } = new URL(url);
  return `${slot}|${host}|${pathname}${search}`;
}

export function tcpSlot(port: number): string {
  return `t${port}`;
}

export interface ServerName {
  endpoint: string;
  instance: number | undefined;
  http2: boolean;
}

/** `tls`: HTTP/1.1 in TLS, of route services. */
export type ServerProtocol = 'h1' | 'h2' | 'tcp' | 'tls';

/**
 * The name tells everything that cannot change while the server exists, address included: an endpoint that comes back
 * under another address is another server, so the old one can drain beside it.
 */
export function serverName(endpoint: Endpoint, protocol: ServerProtocol): string {
  const address = createHash('sha256').update(`${endpoint.ip} ${endpoint.port}`).digest('hex').slice(0, 8);
  return `${endpoint.name}.${endpoint.instance ?? 'x'}.${protocol}.${address}`;
}

export function parseServerName(name: string): ServerName {
  const [endpoint = name, instance = 'x', protocol] = name.split('.');
  return { endpoint, instance: /^\d+$/.test(instance) ? Number(instance) : undefined, http2: protocol === 'h2' };
}

/** Reads the answer to `show map`: `<pointer> <key> <value>` a line. A proxy of an older version may not know the map. */
export function parseMap(answer: string): Map<string, string> {
  const map = new Map<string, string>();
  for (const line of answer.split('\n')) {
    const [pointer, key, value] = line.split(' ');
    if (pointer?.startsWith('0x') && key !== undefined && value !== undefined) map.set(key, value);
  }
  return map;
}

/** Reads the answer to `show servers state` (format version 1), slots only. */
export function parseServers(answer: string): Map<string, Map<string, Server>> {
  const slots = new Map<string, Map<string, Server>>();
  for (const line of answer.split('\n')) {
    const field = line.split(' ');
    const slot = /^(?:[blst]\d+|h:.+)$/.exec(field[1] ?? '')?.[0];
    const name = field[3];
    if (slot === undefined || name === undefined || line.startsWith('#')) continue;
    const admin = Number(field[6]);
    // Bits 0x01, 0x02, 0x04, 0x20 are the kinds of maintenance, 0x08 and 0x10 are forced and inherited drain.
    const mode: ServerMode = (admin & 0x3f) === 0 ? 'ready' : 'drain';
    const servers = slots.get(slot) ?? new Map<string, Server>();
    const place = isHashSlot(slot) ? { place: Number(field[2]) } : {};
    servers.set(name, { ip: field[4] ?? '', port: Number(field[18]), weight: Number(field[7]), mode, ...place });
    slots.set(slot, servers);
  }
  return slots;
}

/** Reads a map's file: `<key> <value>` a line. */
export function parseMapFile(text: string): Map<string, string> {
  const map = new Map<string, string>();
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ');
    if (space > 0) map.set(line.slice(0, space), line.slice(space + 1));
  }
  return map;
}

/** Reads the servers of slots out of a configuration of ours: those that are ready, as no others are written. */
export function parseServerLines(config: string): Map<string, Map<string, Server>> {
  const slots = new Map<string, Map<string, Server>>();
  let slot: string | undefined;
  for (const line of config.split('\n')) {
    if (/^\S/.test(line)) slot = /^backend ([blst]\d+|h:\S+) /.exec(line)?.[1];
    const [, name, ip = '', port, weight] = /^ {2}server (\S+) (\S+):(\d+) .*?weight (\d+)/.exec(line) ?? [];
    const id = / id (\d+)/.exec(line)?.[1];
    if (slot === undefined || name === undefined) continue;
    const servers = slots.get(slot) ?? new Map<string, Server>();
    servers.set(name, {
      ip: ip.replace(/[[\]]/g, ''),
      port: Number(port),
      weight: Number(weight),
      mode: 'ready',
      ...(id === undefined ? {} : { place: Number(id) }),
    });
    slots.set(slot, servers);
  }
  return slots;
}
