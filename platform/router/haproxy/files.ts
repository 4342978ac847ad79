/** Keeps the files on disk equal to what runs: a HAProxy that is started with them serves the same. */
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { writeFileAtomic } from '#lib/atomic-file.ts';
import { bootId } from '#lib/boot-id.ts';
import type { RouterOptions } from '../model.ts';
import type { AccessTarget, Files } from './config.ts';
import { isOfTable, type Offered } from './host-certificates.ts';
import {
  emptyState,
  MAPS,
  type MapName,
  type Pools,
  type ProxyState,
  parseMapFile,
  parseServerLines,
} from './state.ts';

export interface Saved {
  /** The boot that this was saved in: addresses of another one mean other pods. */
  boot: string;
  pools: Pools;
  /** Absent in what older versions saved. */
  hashed?: readonly string[];
  http: number;
  https: number;
  access: AccessTarget;
  /** Of a boot before this one: none. It is read from the proxy's own files. */
  state: ProxyState;
  offered?: Offered;
}

export interface Content {
  config: string;
  pools: Pools;
  hashed: readonly string[];
  http: number;
  https: number;
  access: AccessTarget;
  state: ProxyState;
  offered: Offered;
}

export class FileKeeper {
  readonly #files: Files;
  readonly #log: RouterOptions['log'];
  readonly #render: () => Content;
  readonly #written = new Map<string, string>();
  readonly #maps = new Map<MapName, ReadonlyMap<string, string>>();
  #boot = '';
  #dirty = true;
  #timer: NodeJS.Timeout | undefined;
  #chain: Promise<void> = Promise.resolve();

  constructor(files: Files, log: RouterOptions['log'], render: () => Content) {
    this.#files = files;
    this.#log = log;
    this.#render = render;
  }

  async prepare(): Promise<Saved | undefined> {
    await mkdir(this.#files.certificates, { recursive: true, mode: 0o700 });
    this.#boot = bootId();
    let saved: Saved;
    try {
      saved = JSON.parse(await readFile(this.#files.saved, 'utf8'), revive) as Saved;
    } catch {
      // None yet, or a part of one: what is saved here only spares a start from nothing.
      return undefined;
    }
    return { ...saved, state: saved.boot === this.#boot ? await this.#readState() : emptyState() };
  }

  async #readState(): Promise<ProxyState> {
    const state = emptyState();
    // A file that is not there yet is empty.
    const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
    for (const map of MAPS) state[map] = parseMapFile(await read(this.#files.map(map)));
    state.servers = parseServerLines(await read(this.#files.config));
    return state;
  }

  /** Something changed: the files follow within a moment. */
  touch(): void {
    this.#dirty = true;
    this.#timer ??= setTimeout(() => {
      this.flush().catch((error: unknown) => {
        this.#log('error', "Cannot write the router's files", { error: String(error) });
      });
    }, 750);
  }

  /** Resolves when the files are as things are now. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const written = this.#chain.then(() => (this.#dirty ? this.#write() : undefined));
    this.#chain = written.catch(() => undefined);
    return written;
  }

  async #write(): Promise<void> {
    this.#dirty = false;
    const { config, state, offered, ...rest } = this.#render();
    const saved: Omit<Saved, 'state'> = { boot: this.#boot, ...rest, offered };
    try {
      await this.writeCertificateList(offered);
      for (const map of MAPS) await this.#writeMap(map, state[map]);
      await this.#writeChanged(this.#files.saved, JSON.stringify(saved, store));
      await this.#writeChanged(this.#files.config, config);
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }

  /** `default.pem` first, and for no host by its names: it is for clients that name none, or one that no other certificate is for. */
  async writeCertificateList(offered = this.#render().offered): Promise<void> {
    const names = (await readdir(this.#files.certificates)).filter((name) => /^[^.].*\.pem$/.test(name)).sort();
    const own = names.filter((name) => name !== 'default.pem' && !isOfTable(name));
    const lines = ['default.pem !*', ...own].map((line) => `${this.#files.certificates}/${line}\n`);
    for (const name of names.filter(isOfTable)) {
      const path = `${this.#files.certificates}/${name}`;
      const hosts = offered.get(path);
      if (hosts !== undefined) lines.push(`${path} ${hosts.join(' ')}\n`);
    }
    await this.#writeChanged(this.#files.certificateList, lines.join(''));
  }

  /** One of thousands of entries is not put together anew while it is the same map. */
  async #writeMap(map: MapName, entries: ReadonlyMap<string, string>): Promise<void> {
    if (this.#maps.get(map) === entries) return;
    await this.#writeChanged(this.#files.map(map), [...entries].map(([key, value]) => `${key} ${value}\n`).join(''));
    this.#maps.set(map, entries);
  }

  async #writeChanged(path: string, content: string): Promise<void> {
    if (this.#written.get(path) === content) return;
    await writeFileAtomic(path, content, { mode: 0o600 });
    this.#written.set(path, content);
  }
}

function store(_key: string, value: unknown): unknown {
  return value instanceof Map ? { entries: [...value] } : value;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('entries' in value)) return value;
  return new Map(value.entries as [unknown, unknown][]);
}
