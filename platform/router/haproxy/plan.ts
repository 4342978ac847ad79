/** From a routing table to what HAProxy should have, and from two states to the commands between them. No I/O. */
import type { Backend, RouterOptions, RoutingTable } from '../model.ts';
import {
  emptyState,
  MAPS,
  type MapName,
  type Pools,
  type ProxyState,
  parseTarget,
  type Server,
  type ServerProtocol,
  serverName,
  target,
  tcpSlot,
} from './state.ts';

/** The largest command: HAProxy's buffer is 16 KiB, of which a part is reserved. */
const MAX_COMMAND = 12_000;

/** Which slot each backend of the routing table has. */
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
  return slots;
}

/**
 * Gives a slot to each backend that a route leads to, keeping what is assigned. A slot is free when nobody has it and no
 * server is left in it. `missing` says how many backends found none: their pool must grow.
 */
export function assignSlots(
  table: RoutingTable,
  before: Slots,
  actual: ProxyState,
  pools: Pools,
): { slots: Slots; missing: Pools } {
  const routed = new Set(table.routes.map((route) => route.backend));
  const wanted = table.backends.filter(({ name }) => routed.has(name));
  const slots: Slots = new Map();
  const taken = new Set(actual.servers.keys());
  for (const slot of before.values()) taken.add(slot);
  for (const backend of wanted) {
    const slot = before.get(backend.name);
    if (slot?.startsWith(poolOf(backend))) slots.set(backend.name, slot);
  }
  const next: Pools = { b: 0, l: 0 };
  const missing: Pools = { b: 0, l: 0 };
  for (const backend of wanted) {
    if (slots.has(backend.name)) continue;
    const pool = poolOf(backend);
    while (next[pool] < pools[pool] && taken.has(pool + next[pool])) next[pool]++;
    if (next[pool] >= pools[pool]) missing[pool]++;
    else slots.set(backend.name, pool + next[pool]++);
  }
  return { slots, missing };
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
  { system, tcp }: { system: RouterOptions['system']; tcp: readonly number[] },
): ProxyState {
  const state = emptyState();
  for (const [index, { host }] of system.entries()) {
    state.hosts.set(host, target(systemBackend(index), `system-${index}`));
  }
  for (const route of table.routes) {
    const slot = slots.get(route.backend);
    if (slot === undefined) continue;
    const value = target(slot, route.backend);
    if (route.exact === true) {
      state.exact.set(route.host + route.path, value);
      state.deep.set(route.host, '1');
    } else if (route.path === '/') {
      state.hosts.set(route.host, value);
    } else {
      state.paths.set(`${route.host}${route.path}/`, value);
      state.deep.set(route.host, '1');
    }
  }
  state.challenges = new Map(table.challenges);
  const backends = new Map(table.backends.map((backend) => [backend.name, backend]));
  for (const backend of backends.values()) setServers(state, slots.get(backend.name), backend);
  for (const { port, backend } of table.tcp ?? []) {
    if (tcp.includes(port)) setServers(state, tcpSlot(port), backends.get(backend), 'tcp');
  }
  return state;
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

export function planChange(actual: ProxyState, desired: ProxyState, mapFile: (map: MapName) => string): Plan {
  const plan: Plan = { commands: [], drain: [], gone: [], same: [] };
  for (const [slot, servers] of desired.servers) {
    const existing = actual.servers.get(slot);
    for (const [name, server] of servers) planServer(plan, { slot, name }, server, existing?.get(name));
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
    removed: removedEntries(actual[map], desired[map], mapFile(map)),
    added: addedEntries(actual[map], desired[map], mapFile(map)),
  }));
  plan.commands.push(...changes.flatMap(({ added }) => added));
  plan.commands.push(...changes.toReversed().flatMap(({ removed }) => removed));
  plan.same = changes.flatMap(({ map, added, removed }) => (added.length + removed.length === 0 ? map : []));
  return plan;
}

function draining(ref: ServerRef): Command {
  return { text: `set server ${serverId(ref)} state maint` };
}

function planServer(plan: Plan, ref: ServerRef, wanted: Server, existing: Server | undefined): void {
  const id = serverId(ref);
  if (existing === undefined) {
    // Who is draining and unknown gets nothing anyway.
    if (wanted.mode !== 'ready') return;
    plan.commands.push(
      { text: `add server ${id} ${serverArguments(ref.name, wanted)}`, expect: /^New server registered/ },
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
export function serverArguments(name: string, server: Server): string {
  const address = server.ip.includes(':') ? `[${server.ip}]:${server.port}` : `${server.ip}:${server.port}`;
  const protocol = name.split('.')[2];
  if (protocol === 'tcp') return `${address} weight ${server.weight}`;
  const http2 = protocol === 'h2' ? ' proto h2' : '';
  return `${address}${http2} weight ${server.weight} pool-max-conn -1 pool-purge-delay 5s`;
}

function addedEntries(actual: Map<string, string>, desired: Map<string, string>, file: string): Command[] {
  const commands: Command[] = [];
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
      commands.push({ text: `set map ${file} ${escapeArgument(key)} ${escapeArgument(value)}` });
    }
  }
  flush();
  return commands;
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
