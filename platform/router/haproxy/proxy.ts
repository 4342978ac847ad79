/**
 * One running HAProxy and what we know of it: found or started, read, changed by commands, reloaded, and its files kept.
 * Callers serialize their calls (`driver.ts`).
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type HostCertificate, RouterError, type RouterOptions } from '../model.ts';
import { type ConfigInput, configVersion, type Files, POOLS_START, renderConfig } from './config.ts';
import { FileKeeper, type Saved } from './files.ts';
import { HostCertificates, parseOffered } from './host-certificates.ts';
import { type Command, type Declared, type Plan, type ServerRef, systemBackend } from './plan.ts';
import { freePorts } from '../ports.ts';
import { askMaster, type Environment, readEnvironment, readProcesses, startProxy, waitForStamp } from './process.ts';
import { CommandSocket } from './socket.ts';
import {
  emptyState,
  MAPS,
  mapPools,
  type Pools,
  type ProxyState,
  parseMap,
  parseServers,
  type Server,
  target,
} from './state.ts';

const FIND_ATTEMPTS = 100;
const FIND_PAUSE = 50;

export class Proxy {
  readonly files: Files;
  readonly #options: RouterOptions;
  readonly #keeper: FileKeeper;
  readonly #certificates: HostCertificates;
  #input: ConfigInput | undefined;
  state: ProxyState = emptyState();
  pools: Pools = POOLS_START;
  hashed: readonly string[] = [];
  pid: number | undefined;
  reloads = 0;
  #stamp: string = randomUUID();

  constructor(files: Files, options: RouterOptions) {
    this.files = files;
    this.#options = options;
    this.#certificates = new HostCertificates(files, options.log);
    this.#keeper = new FileKeeper(files, options.log, () => ({
      config: renderConfig(this.input, { ...this.declared, stamp: this.#stamp, state: this.state }),
      ...this.declared,
      http: this.input.http,
      https: this.input.https,
      access: this.input.access,
      state: this.state,
      offered: this.#certificates.offered,
    }));
  }

  get input(): ConfigInput {
    if (this.#input === undefined) throw new RouterError('unavailable', 'The router was not opened');
    return this.#input;
  }

  get declared(): Declared {
    return { pools: this.pools, hashed: this.hashed };
  }

  /** What was saved by the router before this one; makes the directories. */
  prepare(): Promise<Saved | undefined> {
    return this.#keeper.prepare();
  }

  /** Takes over the proxy that runs, or starts one with what was saved. `adopted` tells which. */
  async open(input: ConfigInput, saved: Saved | undefined): Promise<{ adopted: boolean }> {
    this.#input = input;
    const environment = await this.#find();
    if (environment === undefined) {
      this.pools = atLeast(POOLS_START, saved?.pools);
      this.hashed = saved?.hashed ?? [];
      this.state = saved?.state ?? emptyState();
      this.#certificates.offered = saved?.offered ?? new Map();
      await this.#certificates.removeUnoffered();
      this.#setSystemRoutes();
      await this.#start();
      return { adopted: false };
    }
    this.pools = atLeast(environment.pools);
    this.hashed = environment.hashed;
    this.#stamp = environment.stamp;
    await this.refresh();
    await this.#certificates.removeUnoffered();
    if (environment.version !== configVersion(input)) {
      this.#options.log('info', 'HAProxy runs with another configuration: it is reloaded');
      this.#setSystemRoutes();
      await this.reload({ pools: atLeast(POOLS_START, this.pools), hashed: this.hashed });
    }
    return { adopted: true };
  }

  /** Starts the proxy again unless it answers. True when it had to. */
  async ensureRunning(): Promise<boolean> {
    if ((await this.#find()) === undefined) {
      await this.#start();
      return true;
    }
    await this.refresh();
    return false;
  }

  /**
   * What runs, or undefined when nothing does. While a master is there, a worker that does not answer is starting or
   * ending: a second proxy beside it would share its ports.
   */
  async #find(): Promise<Environment | undefined> {
    for (let attempt = 0; attempt < FIND_ATTEMPTS; attempt++) {
      try {
        return await readEnvironment(this.files);
      } catch (error) {
        if (!isUnavailable(error)) throw error;
      }
      const master = await readProcesses(this.files).catch((error: unknown) => {
        if (!isUnavailable(error)) throw error;
      });
      if (master === undefined) return undefined;
      await delay(FIND_PAUSE);
    }
    throw new RouterError('proxy-failed', "HAProxy's master runs, and its worker does not answer");
  }

  /** Without the ports of TCP routes that another program has taken meanwhile, where it does not start with them. */
  async #start(): Promise<void> {
    try {
      await this.#startOnce();
    } catch (error) {
      const { tcp } = this.input;
      const free = await freePorts(tcp, new Set());
      if (free.length === tcp.length) throw error;
      const taken = tcp.filter((port) => !free.includes(port));
      this.#options.log('warn', 'Ports of TCP routes are taken by another program', { ports: taken.join() });
      this.#input = { ...this.input, tcp: free };
      await this.#startOnce();
    }
  }

  async #startOnce(): Promise<void> {
    this.#stamp = randomUUID();
    this.touch();
    await this.flush();
    const { ended } = await startProxy(this.#options.instance, this.files);
    await waitForStamp(this.files, this.#stamp, ended);
    await this.refresh();
  }

  /** Reads back what the proxy has. */
  async refresh(): Promise<void> {
    const state = emptyState();
    await using socket = await CommandSocket.open(this.files.commandSocket);
    const answers = await socket.run([
      ...MAPS.map((map) => ({ text: `show map ${this.files.map(map)}` })),
      { text: 'show servers state' },
      { text: `show ssl crt-list ${this.files.certificateList}` },
    ]);
    for (const [index, map] of MAPS.entries()) state[map] = parseMap(answers[index] ?? '');
    state.servers = parseServers(answers[MAPS.length] ?? '');
    this.state = state;
    this.#certificates.offered = parseOffered(this.files, answers[MAPS.length + 1] ?? '');
    this.pid = (await readProcesses(this.files)).master;
  }

  /** Replaces the worker by one with the files' configuration; connections go on in the old one. */
  async reload({ pools, hashed }: Declared): Promise<void> {
    const before = { ...this.declared, stamp: this.#stamp };
    this.pools = pools;
    this.hashed = hashed;
    this.#stamp = randomUUID();
    try {
      this.touch();
      await this.flush();
      await askMaster(this.files, 'reload');
      await waitForStamp(this.files, this.#stamp, new Promise(() => {}));
    } catch (error) {
      this.pools = before.pools;
      this.hashed = before.hashed;
      this.#stamp = before.stamp;
      this.touch();
      throw error;
    }
    this.reloads++;
    await this.refresh();
  }

  /** Runs commands in order. Rejects with the first answer that is not as expected; the state must then be read again. */
  async execute(commands: readonly Command[]): Promise<void> {
    if (commands.length === 0) return;
    await using socket = await CommandSocket.open(this.files.commandSocket);
    const answers = await socket.run(commands);
    for (const [index, command] of commands.entries()) {
      const answer = answers[index] ?? '';
      if ((command.expect ?? /^$/).test(answer)) continue;
      const shown = command.secret ? command.text.split(' ', 2).join(' ') : command.text.slice(0, 200);
      throw new RouterError('proxy-failed', `HAProxy refused "${shown}": ${answer}`);
    }
  }

  /** Takes over a state that the plan's commands have led to. */
  became(desired: ProxyState, { gone, same }: Pick<Plan, 'gone' | 'same'>): void {
    const servers = new Map<string, Map<string, Server>>();
    for (const [slot, wanted] of desired.servers) {
      const kept = [...wanted].filter(
        ([name, { mode }]) => mode === 'ready' || this.state.servers.get(slot)?.has(name),
      );
      if (kept.length > 0) servers.set(slot, new Map(kept));
    }
    for (const { slot, name } of gone) {
      const server = this.state.servers.get(slot)?.get(name);
      if (server === undefined) continue;
      const slotServers = servers.get(slot) ?? new Map();
      slotServers.set(name, { ...server, mode: 'drain' });
      servers.set(slot, slotServers);
    }
    const maps = Object.fromEntries(same.map((map) => [map, this.state[map]]));
    this.state = { ...desired, ...maps, servers };
    this.touch();
  }

  /** A server was deleted. */
  forget({ slot, name }: ServerRef): void {
    const servers = this.state.servers.get(slot);
    servers?.delete(name);
    if (servers?.size === 0) this.state.servers.delete(slot);
    this.touch();
  }

  /** Offers what is wanted beside what was offered before; `withdraw` ends it. One that is refused is told, and left out. */
  async offer(wanted: readonly HostCertificate[]): Promise<void> {
    if (await this.#certificates.offer(wanted)) this.touch();
  }

  /** Takes back what is not wanted. */
  async withdraw(wanted: readonly HostCertificate[]): Promise<void> {
    if (await this.#certificates.withdraw(wanted)) this.touch();
  }

  touch(): void {
    this.#keeper.touch();
  }

  flush(): Promise<void> {
    return this.#keeper.flush();
  }

  writeCertificateList(): Promise<void> {
    return this.#keeper.writeCertificateList();
  }

  /** The platform's own routes are in the maps whatever the table says. */
  #setSystemRoutes(): void {
    for (const [host, value] of this.state.hosts) if (value.startsWith('system')) this.state.hosts.delete(host);
    for (const [index, { host }] of this.input.system.entries()) {
      this.state.hosts.set(host, target(systemBackend(index), `system-${index}`));
    }
  }
}

function atLeast(least: Pools, pools: Partial<Pools> = {}): Pools {
  return mapPools((pool) => Math.max(least[pool], pools[pool] ?? 0));
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof RouterError && error.code === 'unavailable';
}
