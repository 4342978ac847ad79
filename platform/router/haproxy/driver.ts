/**
 * Drives HAProxy by the router's contract. One queue serializes everything that talks to the proxy; beside it there is
 * only the lifeline, the connection to HAProxy's master whose end means that the proxy must be started again.
 */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Turns } from '#lib/turns.ts';
import {
  type AccessRecord,
  type Router,
  RouterError,
  type RouterOptions,
  type RouterStatus,
  type RoutingTable,
} from '../model.ts';
import { checkTable } from '../validate.ts';
import type { AccessLog } from './access-log.ts';
import {
  certificateDiffers,
  certificateFile,
  checkCertificate,
  installCertificate,
  storeCertificate,
} from './certificates.ts';
import { Drain } from './drain.ts';
import { withPlaces } from './hash.ts';
import { assignSlots, desiredState, planChange, type Slots, slotsOf } from './plan.ts';
import { isUnavailable, type Proxy } from './proxy.ts';
import { CommandSocket, connectUnix } from './socket.ts';
import { serviceServer } from './service-config.ts';
import { isHashSlot, mapPools, type Pools, sizeOf } from './state.ts';
import { endProxy } from './stop.ts';

/** Who needs more backends than this needs more than one machine. */
const POOL_LIMIT = 32_768;
const ATTEMPTS = 4;
const HASH_PAUSE = 10_000;

export class HaproxyDriver implements Router {
  readonly #options: RouterOptions;
  readonly #proxy: Proxy;
  readonly #access: AccessLog;
  readonly #drain: Drain;
  readonly #systemHosts: ReadonlySet<string>;
  readonly #turns = new Turns();
  #waiting: Promise<void> | undefined;
  #wanted: RoutingTable | undefined;
  #slots: Slots;
  #lifeline: Socket | undefined;
  #closed = false;
  /** When a reload last declared what chooses by a header, and what waits for the next one. */
  #declaredAt = Number.NEGATIVE_INFINITY;
  #declaring: NodeJS.Timeout | undefined;

  /** `proxy` is open. */
  constructor(options: RouterOptions, proxy: Proxy, access: AccessLog) {
    this.#options = options;
    this.#proxy = proxy;
    this.#access = access;
    this.#slots = slotsOf(proxy.state);
    this.#systemHosts = new Set(options.system.map(({ host }) => host));
    this.#drain = new Drain(options.drainSeconds ?? 10, () => {
      this.#turns.take(() => this.#stepDrain()).catch((error: unknown) => this.#report('Cannot drain a server', error));
    });
    void this.#turns.take(() => this.#watch().catch(() => this.#recover()));
  }

  async apply(table: RoutingTable): Promise<void> {
    checkTable(table, this.#systemHosts);
    this.#checkOpen();
    this.#wanted = table;
    this.#waiting ??= this.#turns.take(() => {
      this.#waiting = undefined;
      return this.#converge();
    });
    await this.#waiting;
  }

  async setCertificate(certificate: { name: string; pem: string }): Promise<void> {
    const path = certificateFile(this.#proxy.files, certificate.name);
    const pem = checkCertificate(certificate.name, certificate.pem);
    this.#checkOpen();
    await this.#turns.take(async () => {
      if (!(await certificateDiffers(path, pem))) return;
      await using socket = await CommandSocket.open(this.#proxy.files.commandSocket);
      await installCertificate(socket, this.#proxy.files, path, pem);
      await storeCertificate(path, pem);
      await this.#proxy.writeCertificateList();
    });
  }

  onAccess(listener: (record: AccessRecord) => void): () => void {
    return this.#access.onRecord(listener);
  }

  ports(): ReturnType<Router['ports']> {
    const { http, https, tcp } = this.#proxy.input;
    return { http, https, tcp };
  }

  status(): RouterStatus {
    const { state, pid, pools, reloads } = this.#proxy;
    let endpoints = 0;
    for (const servers of state.servers.values()) {
      for (const { mode } of servers.values()) if (mode === 'ready') endpoints++;
    }
    return {
      proxyPid: pid,
      routes: state.hosts.size + state.paths.size + state.exact.size - this.#systemHosts.size,
      backends: this.#slots.size,
      backendPool: sizeOf(pools),
      endpoints,
      reloads,
      lostAccessRecords: this.#access.lost(),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#lifeline?.destroy();
    this.#drain.close();
    clearTimeout(this.#declaring);
    await this.#turns.settled();
    await this.#proxy.flush();
    await this.#access.close();
  }

  async stop(): Promise<void> {
    await this.close();
    await endProxy(this.#options.instance, this.#proxy.files, this.#options.drainSeconds ?? 10);
  }

  #checkOpen(): void {
    if (this.#closed) throw new RouterError('unavailable', 'The router is closed');
  }

  #report(message: string, error: unknown): void {
    if (!this.#closed) this.#options.log('error', message, { error: error instanceof Error ? error.message : error });
  }

  /** Makes the proxy serve the newest table; a proxy that died or disagrees meanwhile is read again. */
  async #converge(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#pass();
      } catch (error) {
        if (attempt === ATTEMPTS || this.#closed) throw error;
        this.#options.log('warn', 'HAProxy did not take a change: it is read again', { error: String(error) });
        if (isUnavailable(error)) await this.#revive();
        else await this.#proxy.refresh();
      }
    }
  }

  async #pass(): Promise<void> {
    const table = this.#wanted;
    if (table === undefined) return;
    const proxy = this.#proxy;
    const assign = () => assignSlots(table, this.#slots, proxy.state, proxy.declared);
    let assigned = assign();
    const { undeclared } = assigned;
    const declares = undeclared.length > 0 && this.#mayDeclare();
    if (sizeOf(assigned.missing) > 0 || declares) {
      await this.#grow(assigned.missing, declares ? undeclared : []);
      assigned = assign();
    }
    const desired = withPlaces(proxy.state, desiredState(table, assigned.slots, proxy.input));
    const plan = planChange(proxy.state, desired, {
      map: proxy.files.map,
      serviceTls: serviceServer(proxy.input),
    });
    await proxy.offer(table.certificates ?? []);
    await proxy.execute([...plan.commands, ...plan.drain]);
    this.#slots = assigned.slots;
    if (plan.commands.length + plan.drain.length > 0) proxy.became(desired, plan);
    this.#drain.set(plan.gone);
    await proxy.withdraw(table.certificates ?? []);
  }

  async #grow(missing: Pools, undeclared: readonly string[]): Promise<void> {
    const { pools } = this.#proxy;
    const to = mapPools((pool) => grown(pools[pool], missing[pool]));
    const used = [...this.#slots.values()].filter(isHashSlot);
    const hashed = [...new Set([...used, ...undeclared])];
    if (sizeOf(to) + hashed.length > POOL_LIMIT) {
      const needed = sizeOf(pools) + sizeOf(missing) + hashed.length;
      throw new RouterError('invalid', `Cannot route: ${needed} backends are more than ${POOL_LIMIT}`);
    }
    this.#options.log('info', 'There are not enough backends: HAProxy is reloaded', { from: pools, to, hashed });
    await this.#proxy.reload({ pools: to, hashed });
  }

  /** A reload leaves a worker behind until its last connection ends: whoever changes a route all the time must not make one each time. */
  #mayDeclare(): boolean {
    const now = performance.now();
    const wait = this.#declaredAt + (this.#options.hashPauseMilliseconds ?? HASH_PAUSE) - now;
    if (wait <= 0) {
      this.#declaredAt = now;
      return true;
    }
    this.#declaring ??= setTimeout(() => {
      this.#declaring = undefined;
      this.#turns.take(() => this.#converge()).catch((error: unknown) => this.#report('Cannot change HAProxy', error));
    }, wait);
    return false;
  }

  async #stepDrain(): Promise<void> {
    if (this.#closed || this.#drain.size === 0) return;
    try {
      await using socket = await CommandSocket.open(this.#proxy.files.commandSocket);
      for (const ref of await this.#drain.step(socket)) this.#proxy.forget(ref);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      // The proxy died; what drained died with it, and whoever starts it again leaves those servers out.
      await this.#revive();
      await this.#converge();
    }
  }

  /** Holds the lifeline: HAProxy closes it when it dies, and at a reload. */
  async #watch(): Promise<void> {
    if (this.#closed) return;
    this.#lifeline?.destroy();
    const socket = await connectUnix(this.#proxy.files.masterSocket);
    this.#lifeline = socket;
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.#closed || this.#lifeline !== socket) return;
      this.#lifeline = undefined;
      this.#turns.take(() => this.#recover()).catch((error: unknown) => this.#report('Cannot restart HAProxy', error));
    });
    socket.resume();
  }

  /** The lifeline was cut: starts the proxy again if it is dead, for as long as it takes. */
  async #recover(): Promise<void> {
    for (let wait = 50; !this.#closed; wait = Math.min(5000, wait * 2)) {
      try {
        await this.#revive();
        await this.#converge();
        return;
      } catch (error) {
        this.#report('Cannot restart HAProxy', error);
        await delay(wait);
      }
    }
  }

  async #revive(): Promise<void> {
    const started = await this.#proxy.ensureRunning();
    if (started) this.#options.log('warn', 'HAProxy was gone: it was started again', { pid: this.#proxy.pid });
    await this.#watch();
  }
}

function grown(pool: number, missing: number): number {
  let size = Math.max(1, pool);
  while (size < pool + missing) size *= 2;
  return size;
}
