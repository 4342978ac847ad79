/**
 * The plugins of this node: who has a socket in the directory of registrations. Looked at whenever that directory changes, and
 * level-triggered: each socket that is there is asked who it is until it has said so, and what is gone is taken out. A socket that
 * was made anew is another plugin, though its name be the same: it is asked again.
 */
import { type FSWatcher, watch } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openGrpc } from '#lib/grpc.ts';
import type { AgentOptions } from '../agent.ts';
import { grow } from '../backoff.ts';
import { hasErrorCode, messageOf } from '../errors.ts';
import { CsiDriver } from './driver.ts';
import { empty, type NodeInfo, type PluginInfo, readPluginInfo, registrationStatus } from './messages.ts';

const ASK_MILLISECONDS = 10_000;
const FIRST_RETRY = 500;
const LAST_RETRY = 120_000;

export interface PluginsOptions {
  /** Is there. */
  directory: string;
  /** The plugin is ready: written down where others read it, before it is told that it is taken in. */
  onRegistered: (name: string, info: NodeInfo) => Promise<void>;
  /** It can be asked from now on. */
  onReady: () => void;
  onGone: (name: string) => Promise<void>;
  log: AgentOptions['log'];
}

interface Plugin {
  /** Inode and time of birth of its socket. */
  identity: string;
  /** From when it was taken in. */
  driver?: CsiDriver;
  failures: number;
  retryAt: number;
}

export class Plugins {
  readonly #options: PluginsOptions;
  /** By the path of the socket. */
  readonly #plugins = new Map<string, Plugin>();
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(options: PluginsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#watcher = watch(this.#options.directory, () => this.#look());
    this.#watcher.on('error', (error) => this.#warn('the directory of plugins is not watched any more', error));
    this.#watcher.unref();
    this.#look();
  }

  driver(name: string): CsiDriver | undefined {
    for (const { driver } of this.#plugins.values()) if (driver?.name === name) return driver;
    return undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watcher?.close();
    clearTimeout(this.#timer);
    for (const { driver } of this.#plugins.values()) driver?.close();
    await this.#looking;
  }

  #look(): void {
    if (this.#closed) return;
    this.#again = this.#looking !== undefined;
    this.#looking ??= this.#lookOnce()
      .catch((error: unknown) => this.#warn('plugins could not be looked at', error))
      .finally(() => {
        this.#looking = undefined;
        if (this.#again) this.#look();
        else this.#arm();
      });
  }

  async #lookOnce(): Promise<void> {
    const sockets = await this.#sockets();
    for (const [path, { identity, driver }] of this.#plugins) {
      if (sockets.get(path) === identity) continue;
      this.#plugins.delete(path);
      if (driver === undefined) continue;
      driver.close();
      if (this.driver(driver.name) === undefined && !sockets.has(path)) await this.#options.onGone(driver.name);
    }
    for (const [path, identity] of sockets) {
      const plugin = this.#plugins.get(path) ?? { identity, failures: 0, retryAt: 0 };
      this.#plugins.set(path, plugin);
      if (plugin.driver === undefined && performance.now() >= plugin.retryAt) await this.#register(path, plugin);
    }
  }

  async #sockets(): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const name of await readdir(this.#options.directory)) {
      if (name.startsWith('.')) continue;
      const path = join(this.#options.directory, name);
      try {
        const info = await stat(path, { bigint: true });
        if (info.isSocket()) found.set(path, `${info.ino} ${info.ctimeNs}`);
      } catch (error) {
        if (!hasErrorCode(error, 'ENOENT')) throw error;
      }
    }
    return found;
  }

  async #register(path: string, plugin: Plugin): Promise<void> {
    const registration = openGrpc({ endpoints: [`unix:${path}`] });
    const call = async (method: string, request = empty()): Promise<Buffer> =>
      await registration.call(`/pluginregistration.Registration/${method}`, request, {
        milliseconds: ASK_MILLISECONDS,
      });
    let driver: CsiDriver | undefined;
    try {
      const info = readPluginInfo(await call('GetInfo'));
      const problem = this.#problem(info);
      if (problem !== undefined) {
        await call('NotifyRegistrationStatus', registrationStatus(problem));
        throw new Error(problem);
      }
      driver = new CsiDriver(info.name, info.endpoint === '' ? path : info.endpoint);
      try {
        await this.#options.onRegistered(info.name, await driver.nodeInfo());
      } catch (error) {
        await call('NotifyRegistrationStatus', registrationStatus(messageOf(error)));
        throw error;
      }
      await call('NotifyRegistrationStatus', registrationStatus(undefined));
      plugin.driver = driver;
      this.#options.onReady();
      this.#options.log('info', 'a CSI driver was registered', { driver: info.name, socket: path });
    } catch (error) {
      driver?.close();
      this.#warn('a plugin could not be registered; it is tried again', error, { socket: path });
      plugin.retryAt = performance.now() + grow(FIRST_RETRY, LAST_RETRY, plugin.failures);
      plugin.failures += 1;
    } finally {
      registration.close();
    }
  }

  #problem({ type, name, versions }: PluginInfo): string | undefined {
    if (type !== 'CSIPlugin') return `plugins of the type "${type}" are not supported: only CSIPlugin is`;
    if (!/^[a-zA-Z0-9]([-a-zA-Z0-9.]{0,61}[a-zA-Z0-9])?$/.test(name)) return `"${name}" is no name of a CSI driver`;
    if (!versions.some((version) => /^v?1\.\d+(\.\d+)?/.test(version)))
      return `CSI driver "${name}": none of its versions [${versions.join(' ')}] is supported: 1.x is`;
    return undefined;
  }

  /** A socket may be there before somebody listens on it. */
  #arm(): void {
    clearTimeout(this.#timer);
    const waiting = [...this.#plugins.values()].filter(({ driver }) => driver === undefined);
    if (this.#closed || waiting.length === 0) return;
    const next = Math.min(...waiting.map(({ retryAt }) => retryAt));
    this.#timer = setTimeout(() => this.#look(), Math.max(1, next - performance.now()));
    this.#timer.unref();
  }

  #warn(message: string, error: unknown, fields: Record<string, unknown> = {}): void {
    if (!this.#closed) this.#options.log('warn', message, { ...fields, error: messageOf(error) });
  }
}
