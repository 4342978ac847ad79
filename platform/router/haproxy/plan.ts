/** From a routing table to what HAProxy should have, and from two states to the commands between them. No I/O. */
import type { RouterOptions, RoutingTable } from '../model.ts';
import {
  emptyState,
  MAPS,
  type MapName,
  type ProxyState,
  parseTarget,
  type Server,
  serverName,
  target,
} from './state.ts';

/** The largest command: HAProxy's buffer is 16 KiB, of which a part is reserved. */
const MAX_COMMAND = 12_000;

/** Which slot each backend of the routing table has. */
export type Slots = Map<string, number>;

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
 * server is left in it. `missing` says how many backends found none: the pool must grow.
 */
export function assignSlots(
  table: RoutingTable,
  before: Slots,
  actual: ProxyState,
  pool: number,
): { slots: Slots; missing: number } {
  const wanted = new Set(table.routes.map((route) => route.backend));
  const slots: Slots = new Map();
  const taken = new Set<number>(actual.servers.keys());
  for (const [backend, slot] of before) {
    taken.add(slot);
    if (wanted.has(backend)) slots.set(backend, slot);
  }
  let next = 0;
  let missing = 0;
  for (const backend of wanted) {
    if (slots.has(backend)) continue;
    while (next < pool && taken.has(next)) next++;
    if (next >= pool) {
      missing++;
      continue;
    }
    taken.add(next);
    slots.set(backend, next);
  }
  return { slots, missing };
}

export function systemBackend(index: number): string {
  return `system${index}`;
}

/** What HAProxy should have. Draining endpoints are there with mode `drain`. */
export function desiredState(table: RoutingTable, slots: Slots, system: RouterOptions['system']): ProxyState {
  const state = emptyState();
  for (const [index, { host }] of system.entries()) {
    state.hosts.set(host, target(systemBackend(index), `system-${index}`));
  }
  for (const route of table.routes) {
    const slot = slots.get(route.backend);
    if (slot === undefined) continue;
    const value = target(`b${slot}`, route.backend);
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
  for (const backend of table.backends) {
    const slot = slots.get(backend.name);
    if (slot === undefined) continue;
    const servers = new Map<string, Server>();
    for (const endpoint of backend.endpoints) {
      servers.set(serverName(endpoint, backend.protocol === 'http2'), {
        ip: endpoint.ip,
        port: endpoint.port,
        weight: endpoint.weight ?? 100,
        mode: endpoint.draining ? 'drain' : 'ready',
      });
    }
    if (servers.size > 0) state.servers.set(slot, servers);
  }
  return state;
}

export interface Command {
  text: string;
  /** A command with a payload prints one prompt more for each line of it. */
  payload?: boolean;
  /** The answer that means success; default: an empty one. */
  expect?: RegExp;
}

export interface ServerRef {
  slot: number;
  name: string;
}

export interface Plan {
  /** Servers that appear, then routes. */
  commands: Command[];
  /** Servers that take nothing new from now on. `gone` ones are to be deleted when idle. */
  drain: Command[];
  gone: ServerRef[];
}

export function planChange(actual: ProxyState, desired: ProxyState, mapFile: (map: MapName) => string): Plan {
  const plan: Plan = { commands: [], drain: [], gone: [] };
  for (const [slot, servers] of desired.servers) {
    const existing = actual.servers.get(slot);
    for (const [name, server] of servers) planServer(plan, { slot, name }, server, existing?.get(name));
  }
  for (const [slot, servers] of actual.servers) {
    const wanted = desired.servers.get(slot);
    for (const [name, server] of servers) {
      if (wanted?.has(name)) continue;
      if (server.mode === 'ready') plan.drain.push({ text: `set server b${slot}/${name} state drain` });
      plan.gone.push({ slot, name });
    }
  }
  // `deep` comes after the paths when a host gets its first path, and goes before them when it loses its last.
  const removals = MAPS.toReversed().flatMap((map) => removedEntries(actual[map], desired[map], mapFile(map)));
  const additions = MAPS.flatMap((map) => addedEntries(actual[map], desired[map], mapFile(map)));
  plan.commands.push(...additions, ...removals);
  return plan;
}

function planServer(plan: Plan, ref: ServerRef, wanted: Server, existing: Server | undefined): void {
  const id = `b${ref.slot}/${ref.name}`;
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
  else if (existing.mode === 'ready') plan.drain.push({ text: `set server ${id} state drain` });
}

/**
 * Address and settings of a server, the same at run time and in the configuration. Servers that are added at run time keep
 * no idle connection by default: with `pool-max-conn -1` they do, and throughput triples.
 */
export function serverArguments(name: string, server: Server): string {
  const address = server.ip.includes(':') ? `[${server.ip}]:${server.port}` : `${server.ip}:${server.port}`;
  const http2 = name.split('.')[2] === 'h2' ? ' proto h2' : '';
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
