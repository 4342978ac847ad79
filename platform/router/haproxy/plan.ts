/** From a routing table to what HAProxy should have, and from two states to the commands between them. No I/O. */
import type { Backend, RouterOptions, RoutingTable } from '../model.ts';
import { hashSlot } from './hash.ts';
import {
  CURRENT,
  emptyState,
  MAPS,
  type MapName,
  mapPools,
  type Pools,
  type ProxyState,
  hostKey,
  parseTarget,
  type Server,
  type ServerProtocol,
  serverName,
  serviceTarget,
  target,
  tcpSlot,
} from './state.ts';

/** The largest command: HAProxy's buffer is 16 KiB, of which a part is reserved. */
const MAX_COMMAND = 12_000;

/** Which slot each backend and service of the routing table has. */
export type Slots = Map<string, string>;

/** What a running proxy's maps say about its slots. */
export function slotsOf(state: ProxyState): Slots {
  const slots: Slots = new Map();
  for (const map of [state.hosts, state.paths, state.exact]) {
    for (const value of map.values()) {
      const { slot, backend } = parseTarget(value);
      if (slot !== undefined) slots.set(backend, slot);
    }
  }
  for (const [service, value] of state.services) {
    const { slot } = parseTarget(value);
    if (slot !== undefined) slots.set(service, slot);
  }
  return slots;
}

/** What HAProxy has declared. */
export interface Declared {
  pools: Pools;
  /** Slots that choose by a header. */
  hashed: readonly string[];
}

/**
 * Gives a slot to each backend that a route leads to, and to each service, keeping what is assigned. A slot is free when nobody has it and no
 * server is left in it. `missing` says how many backends found none: their pool must grow. `undeclared` are slots that choose by a header and
 * are not there yet: until they are, their backends take turns.
 */
export function assignSlots(
  table: RoutingTable,
  before: Slots,
  actual: ProxyState,
  { pools, hashed }: Declared,
): { slots: Slots; missing: Pools; undeclared: string[] } {
  const routed = new Set(table.routes.map((route) => route.backend));
  const slots: Slots = new Map();
  const undeclared: string[] = [];
  const wanted: { name: string; pool: keyof Pools }[] = [];
  for (const backend of table.backends) {
    if (!routed.has(backend.name)) continue;
    const own = hashSlot(backend);
    if (own !== undefined && hashed.includes(own)) slots.set(backend.name, own);
    else wanted.push({ name: backend.name, pool: poolOf(backend) });
    if (own !== undefined && !hashed.includes(own)) undeclared.push(own);
  }
  for (const { name } of table.services ?? []) wanted.push({ name, pool: 's' });
  const taken = new Set(actual.servers.keys());
  for (const slot of before.values()) taken.add(slot);
  for (const { name, pool } of wanted) {
    const slot = before.get(name);
    if (slot?.startsWith(pool)) slots.set(name, slot);
  }
  const next: Pools = mapPools(() => 0);
  const missing: Pools = mapPools(() => 0);
  for (const { name, pool } of wanted) {
    if (slots.has(name)) continue;
    while (next[pool] < pools[pool] && taken.has(pool + next[pool])) next[pool]++;
    if (next[pool] >= pools[pool]) missing[pool]++;
    else slots.set(name, pool + next[pool]++);
  }
  return { slots, missing, undeclared };
}

function poolOf({ balance }: Backend): keyof Pools {
  return balance === 'least-connections' ? 'l' : 'b';
}

export function systemBackend(index: number): string {
  return `system${index}`;
}

/** What HAProxy should have. Draining endpoints are there with mode `drain`; routes of ports that it does not have are left out. */
export function desiredState(
  table: RoutingTable,
  slots: Slots,
  { system, tcp, serviceTls }: Pick<RouterOptions, 'system' | 'serviceTls'> & { tcp: readonly number[] },
): ProxyState {
  const state = emptyState();
  for (const [index, { host }] of system.entries()) {
    state.hosts.set(host, target(systemBackend(index), `system-${index}`));
  }
  for (const route of table.routes) {
    const slot = slots.get(route.backend);
    if (slot === undefined) continue;
    const value = target(slot, route.backend, route.service);
    const host = hostKey(route);
    if (route.exact === true) {
      state.exact.set(host + route.path, value);
      state.deep.set(host, '1');
    } else if (route.path === '/') {
      state.hosts.set(host, value);
    } else {
      state.paths.set(`${host}${route.path}/`, value);
      state.deep.set(host, '1');
    }
  }
  state.challenges = new Map(table.challenges);
  const backends = new Map(table.backends.map((backend) => [backend.name, backend]));
  for (const backend of backends.values()) setServers(state, slots.get(backend.name), backend);
  setServices(state, table, slots, serviceTls !== undefined);
  for (const { port, backend } of table.tcp ?? []) {
    if (tcp.includes(port)) setServers(state, tcpSlot(port), backends.get(backend), 'tcp');
  }
  return state;
}

/** All of them are told of, so that a request finds its service or an answer, and never the app. */
function setServices(
  state: ProxyState,
  { services = [], signatureKeys = [] }: RoutingTable,
  slots: Slots,
  isReached: boolean,
): void {
  for (const { name, url, addresses } of services) {
    const slot = slots.get(name);
    if (slot === undefined) continue;
    state.services.set(name, serviceTarget(slot, url));
    const port = Number(new URL(url).port) || 443;
    const endpoints = isReached ? addresses.map((ip) => ({ name, ip, port })) : [];
    setServers(state, slot, { name, endpoints }, 'tls');
  }
  const [current] = signatureKeys;
  for (const { id, key } of signatureKeys) state.keys.set(id, key);
  if (current) state.keys.set(CURRENT, `${current.id}.${current.key}`);
}

function setServers(
  state: ProxyState,
  slot: string | undefined,
  backend: Backend | undefined,
  protocol?: ServerProtocol,
): void {
  if (slot === undefined || backend === undefined || backend.endpoints.length === 0) return;
  const servers = new Map<string, Server>();
  for (const endpoint of backend.endpoints) {
    servers.set(serverName(endpoint, protocol ?? (endpoint.protocol === 'http2' ? 'h2' : 'h1')), {
      ip: endpoint.ip,
      port: endpoint.port,
      weight: endpoint.weight ?? 100,
      mode: endpoint.draining ? 'drain' : 'ready',
    });
  }
  state.servers.set(slot, servers);
}

export interface Command {
  text: string;
  /** A command with a payload prints one prompt more for each line of it. */
  payload?: boolean;
  /** The answer that means success; default: an empty one. */
  expect?: RegExp;
  /** What is in it is told to nobody else. */
  secret?: boolean;
}

export interface ServerRef {
  slot: string;
  name: string;
}

/** As commands name it. */
export function serverId({ slot, name }: ServerRef): string {
  return `${slot}/${name}`;
}

export interface Plan {
  /** Servers that appear, then routes. */
  commands: Command[];
  /** Servers that take nothing new from now on. `gone` ones are to be deleted when idle. */
  drain: Command[];
  gone: ServerRef[];
  /** Maps that stay as they are. */
  same: MapName[];
}

/** What commands name of the proxy's files, and of the options that it runs with. */
export interface PlanNames {
  map: (map: MapName) => string;
  /** Arguments of the servers of route services; empty: there are none. */
  serviceTls: string;
}

export function planChange(actual: ProxyState, desired: ProxyState, names: PlanNames): Plan {
  const plan: Plan = { commands: [], drain: [], gone: [], same: [] };
  for (const [slot, servers] of desired.servers) {
    const existing = actual.servers.get(slot);
    for (const [name, wanted] of servers) {
      planServer(plan, { slot, name }, { wanted, existing: existing?.get(name) }, names);
    }
  }
  for (const [slot, servers] of actual.servers) {
    const wanted = desired.servers.get(slot);
    for (const [name, server] of servers) {
      if (wanted?.has(name)) continue;
      if (server.mode === 'ready') plan.drain.push(draining({ slot, name }));
      plan.gone.push({ slot, name });
    }
  }
  // `deep` comes after the paths when a host gets its first path, and goes before them when it loses its last.
  const changes = MAPS.map((map) => ({
    map,
    removed: removedEntries(actual[map], desired[map], names.map(map)),
    added: addedEntries(actual[map], desired[map], names.map(map)).map((command) =>
      map === 'keys' ? { ...command, secret: true } : command,
    ),
  }));
  plan.commands.push(...changes.flatMap(({ added }) => added));
  plan.commands.push(...changes.toReversed().flatMap(({ removed }) => removed));
  plan.same = changes.flatMap(({ map, added, removed }) => (added.length + removed.length === 0 ? map : []));
  return plan;
}

function draining(ref: ServerRef): Command {
  return { text: `set server ${serverId(ref)} state maint` };
}

function planServer(
  plan: Plan,
  ref: ServerRef,
  { wanted, existing }: { wanted: Server; existing: Server | undefined },
  { serviceTls }: PlanNames,
): void {
  const id = serverId(ref);
  if (existing === undefined) {
    // Who is draining and unknown gets nothing anyway.
    if (wanted.mode !== 'ready') return;
    plan.commands.push(
      { text: `add server ${id} ${serverArguments(ref.name, wanted, serviceTls)}`, expect: /^New server registered/ },
      { text: `enable server ${id}` },
    );
    return;
  }
  if (existing.weight !== wanted.weight) plan.commands.push({ text: `set server ${id} weight ${wanted.weight}` });
  if (existing.mode === wanted.mode) return;
  if (wanted.mode === 'ready') plan.commands.push({ text: `set server ${id} state ready` });
  else plan.drain.push(draining(ref));
}

/**
 * Address and settings of a server, the same at run time and in the configuration. Servers that are added at run time keep
 * no idle connection by default: with `pool-max-conn -1` they do, and throughput triples.
 */
export function serverArguments(name: string, server: Server, serviceTls: string): string {
  const address = server.ip.includes(':') ? `[${server.ip}]:${server.port}` : `${server.ip}:${server.port}`;
  const protocol = name.split('.')[2];
  if (protocol === 'tcp') return `${address} weight ${server.weight}`;
  const how = protocol === 'h2' ? ' proto h2' : protocol === 'tls' ? ` ${serviceTls}` : '';
  const place = server.place === undefined ? '' : ` id ${server.place}`;
  return `${address}${how}${place} weight ${server.weight} pool-max-conn -1 pool-purge-delay 5s`;
}

function addedEntries(actual: Map<string, string>, desired: Map<string, string>, file: string): Command[] {
  const commands: Command[] = [];
  // After what is new, which they may name.
  const changed: Command[] = [];
  let lines = '';
  const flush = (): void => {
    if (lines !== '') commands.push({ text: `add map ${file} <<\n${lines}`, payload: true });
    lines = '';
  };
  for (const [key, value] of desired) {
    const old = actual.get(key);
    if (old === undefined) {
      if (lines.length + key.length + value.length > MAX_COMMAND) flush();
      lines += `${key} ${value}\n`;
    } else if (old !== value) {
      changed.push({ text: `set map ${file} ${escapeArgument(key)} ${escapeArgument(value)}` });
    }
  }
  flush();
  return [...commands, ...changed];
}

function removedEntries(actual: Map<string, string>, desired: Map<string, string>, file: string): Command[] {
  const commands: Command[] = [];
  for (const key of actual.keys()) {
    if (!desired.has(key)) commands.push({ text: `del map ${file} ${escapeArgument(key)}` });
  }
  return commands;
}

/** In a command line the semicolon ends a command, and quotes and the backslash are read. Payloads are taken as they are. */
function escapeArgument(value: string): string {
  return value.replace(/[\\;"'#<> ]/g, '\\$&');
}
