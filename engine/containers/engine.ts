/** The engine over its rooms: each call of the contract goes to the room that owns it. */
import { readFile, statfs } from 'node:fs/promises';
import type { Duplex, Readable, Writable } from 'node:stream';
import {
  EngineError,
  type Container,
  type ContainerExit,
  type ContainerSpec,
  type ContainerStats,
  type Engine,
  type EngineEvent,
  type EngineInfo,
  type ExecSession,
  type ExecSpec,
  type LogOptions,
  type LogRecord,
  type PublishedPort,
  type Sandbox,
  type SandboxSpec,
  type SandboxStats,
  type TerminalSize,
  type WrittenFile,
} from '../engine.ts';
import type { DiskVolumes } from '../disk-volumes.ts';
import type { FileChange, WrittenLayer } from '../written.ts';
import type { NodeImages } from '../images/open.ts';
import type { ContentStore } from '../images/store.ts';
import type { Watermarks } from '../images/watermarks.ts';
import { type Network, readTraffic } from '../network/open.ts';
import { hasCode } from '../sys/libc.ts';
import type {
  ContainerChange,
  ContainerProcess,
  ContainerUsage,
  ContainerVerbs,
  LimitSupport,
  PathStat,
  WriteArchiveOptions,
} from '../verbs.ts';
import { readArchive, statPath, writeArchive } from './archive.ts';
import type { Cgroups } from './cgroups.ts';
import type { Runtime } from './conmon.ts';
import * as verbs from './container-verbs.ts';
import type { Containers } from './containers.ts';
import { dial, type DialOptions } from './dial.ts';
import { diskUse } from './disk-use.ts';
import type { LocalDiskVolumes } from './disk-volumes.ts';
import type { EventHub } from './events.ts';
import { startExec } from './exec.ts';
import { type Layout, containerPaths } from './layout.ts';
import { readLog } from './log-reader.ts';
import { replaceFiles } from './mounts.ts';
import type { ViewRequest } from './root-view.ts';
import type { NameServer } from '../network/dns/server.ts';
import type { UserNetworks } from '../network/user-networks.ts';
import type { Networks } from '../networks.ts';
import type { Neighbours } from '../neighbours.ts';
import type { Overlay, Peer } from '../overlay.ts';
import type { Sandboxes } from './sandboxes.ts';
import { unmountBelow } from '../sys/mounts.ts';
import { changesOf, exportWritten, type WrittenRequest, writeWritten } from './written.ts';

export interface EngineRooms {
  images: NodeImages;
  network: Network;
  userNetworks: UserNetworks;
  names: NameServer;
  cgroups: Cgroups;
  sandboxes: Sandboxes;
  containers: Containers;
  events: EventHub;
  watermarks: Watermarks;
  diskVolumes: LocalDiskVolumes;
  layout: Layout;
  runtime: Runtime;
  info: Omit<EngineInfo, 'sandboxPool'>;
  /** Called last by `close`. */
  release: () => void;
}

export class LocalEngine implements Engine, ContainerVerbs, Overlay, Neighbours {
  readonly #rooms: EngineRooms;
  readonly #closing = new AbortController();
  readonly networks: Networks;

  constructor(rooms: EngineRooms) {
    this.#rooms = rooms;
    const { userNetworks, sandboxes } = rooms;
    this.networks = {
      create: async (spec) => await userNetworks.create(spec),
      remove: async (id) => await userNetworks.remove(id),
      list: () => userNetworks.list(),
      get: (id) => userNetworks.get(id),
      connect: async (sandbox, wish) => void (await sandboxes.connect(sandbox, wish)),
      disconnect: async (sandbox, network) => void (await sandboxes.disconnect(sandbox, network)),
      setAliases: async (sandbox, network, aliases) => void (await sandboxes.setAliases(sandbox, network, aliases)),
    };
  }

  get images(): NodeImages {
    return this.#rooms.images;
  }

  get diskVolumes(): DiskVolumes {
    return this.#rooms.diskVolumes;
  }

  get content(): ContentStore {
    return this.#rooms.images.content;
  }

  info(): EngineInfo {
    return { ...this.#rooms.info, sandboxPool: this.#rooms.sandboxes.pool };
  }

  async createSandbox(spec: SandboxSpec, options: { signal?: AbortSignal } = {}): Promise<Sandbox> {
    const sandbox = await this.#rooms.sandboxes.create(spec, options.signal);
    this.#rooms.events.emit({ at: sandbox.createdAt, type: 'sandbox-created', id: sandbox.id, sandbox: sandbox.id });
    return sandbox;
  }

  async removeSandbox(id: string): Promise<void> {
    const { containers, sandboxes, events } = this.#rooms;
    const own = containers.list().filter(({ sandbox }) => sandbox === id);
    await Promise.all(own.map((container) => containers.remove(container.id, { force: true })));
    if (sandboxes.get(id) === undefined) return;
    await sandboxes.remove(id);
    events.emit({ at: Date.now(), type: 'sandbox-removed', id, sandbox: id });
  }

  async recoverSandbox(id: string): Promise<Sandbox> {
    return await this.#rooms.sandboxes.recover(id);
  }

  async publishPorts(id: string, ports: PublishedPort[]): Promise<PublishedPort[]> {
    return await this.#rooms.sandboxes.publish(id, ports);
  }

  announce(addresses: readonly string[]): void {
    this.#rooms.network.announce(addresses);
  }

  async setPeers(peers: readonly Peer[]): Promise<void> {
    await this.#rooms.network.setPeers(peers);
  }

  peers(): Peer[] {
    return this.#rooms.network.peers();
  }

  async dialSandbox(id: string, port: number, options: DialOptions = {}): Promise<Duplex> {
    const sandbox = this.#rooms.sandboxes.get(id);
    if (sandbox === undefined) throw new EngineError('not-found', `no sandbox ${id}`);
    return await dial(sandbox, port, options);
  }

  sandboxes(): Sandbox[] {
    return this.#rooms.sandboxes.list();
  }

  sandbox(id: string): Sandbox | undefined {
    return this.#rooms.sandboxes.get(id);
  }

  async createContainer(spec: ContainerSpec, options: { signal?: AbortSignal } = {}): Promise<Container> {
    return await this.#rooms.containers.create(spec, options.signal);
  }

  async startContainer(id: string, options: { again?: boolean } = {}): Promise<void> {
    await this.#rooms.containers.start(id, options.again);
  }

  async attachInput(id: string): Promise<Writable> {
    return await this.#rooms.containers.attachInput(id);
  }

  async resizeContainer(id: string, size: TerminalSize): Promise<void> {
    await this.#rooms.containers.resize(id, size);
  }

  async stopContainer(id: string, options: { graceSeconds?: number; signal?: AbortSignal } = {}): Promise<void> {
    await this.#rooms.containers.stop(id, options);
  }

  async killContainer(id: string, signal: string | number): Promise<void> {
    await this.#rooms.containers.kill(id, signal);
  }

  async removeContainer(id: string, options: { force?: boolean; logs?: boolean } = {}): Promise<void> {
    await this.#rooms.containers.remove(id, options);
  }

  async releaseMounts(id: string): Promise<void> {
    await this.#rooms.containers.edit(id, async (record, paths) => {
      if (record.state !== 'exited')
        throw new EngineError('conflict', `container ${id} is ${record.state}, not exited`);
      unmountBelow(paths.mounts);
      return record;
    });
  }

  containers(): Container[] {
    return this.#rooms.containers.list();
  }

  container(id: string): Container | undefined {
    return this.#rooms.containers.get(id);
  }

  async waitContainer(id: string, options: { signal?: AbortSignal } = {}): Promise<ContainerExit> {
    return await this.#rooms.containers.wait(id, options.signal);
  }

  async exec(id: string, spec: ExecSpec, options: { signal?: AbortSignal } = {}): Promise<ExecSession> {
    const { containers, layout, runtime } = this.#rooms;
    options.signal?.throwIfAborted();
    const process = await containers.process(id, spec.user);
    const session = await startExec({
      id,
      runtime,
      runtimeRoot: layout.runtimeRoot,
      directory: layout.execs,
      spec,
      ...process,
    });
    const onAbort = (): void => session.kill();
    if (options.signal?.aborted === true) onAbort();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    session.exited.finally(() => options.signal?.removeEventListener('abort', onAbort)).catch(() => {});
    return session;
  }

  logs(id: string, options: LogOptions): AsyncIterable<LogRecord> {
    const container = this.#rooms.containers.get(id);
    if (container === undefined) throw new EngineError('not-found', `no container ${id}`);
    return readLog(
      { path: container.logPath, isEnded: container.state === 'exited', ended: this.#rooms.containers.ended(id) },
      options,
    );
  }

  async stats(id: string): Promise<ContainerStats> {
    const { containers, cgroups } = this.#rooms;
    const container = containers.get(id);
    if (container === undefined) throw new EngineError('not-found', `no container ${id}`);
    if (container.state !== 'running') throw new EngineError('conflict', `container ${id} does not run`);
    try {
      const [cgroup, diskBytes] = await Promise.all([
        cgroups.stats(cgroups.path(container.sandbox, id)),
        this.diskUse(id),
      ]);
      return { at: Date.now(), ...cgroup, diskBytes };
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENODEV'))
        throw new EngineError('conflict', `container ${id} does not run any more`, { cause: error });
      throw error;
    }
  }

  async sandboxStats(id: string): Promise<SandboxStats> {
    const { sandboxes, info } = this.#rooms;
    if (sandboxes.get(id) === undefined) throw new EngineError('not-found', `no sandbox ${id}`);
    const traffic = await readTraffic(info.instance, id, async (path) => await readFile(path, 'utf8'));
    return { at: Date.now(), ...(traffic ?? { receivedBytes: 0, sentBytes: 0 }) };
  }

  async pauseContainer(id: string): Promise<void> {
    await verbs.pause(this.#verbRooms(), id);
  }

  async unpauseContainer(id: string): Promise<void> {
    await verbs.unpause(this.#verbRooms(), id);
  }

  async renameContainer(id: string, name: string): Promise<void> {
    await verbs.rename(this.#verbRooms(), id, name);
  }

  async updateContainer(id: string, change: ContainerChange): Promise<void> {
    await verbs.update(this.#verbRooms(), id, change);
  }

  async processes(id: string): Promise<ContainerProcess[]> {
    return await verbs.processes(this.#verbRooms(), id);
  }

  async usage(id: string): Promise<ContainerUsage> {
    return await verbs.usage(this.#verbRooms(), id);
  }

  async diskUse(id: string): Promise<number> {
    const { containers, layout } = this.#rooms;
    const { spec } = containers.record(id);
    const paths = containerPaths(layout, id);
    return await (spec.limits?.diskBytes === undefined ? diskUse(paths.upper) : usedOf(paths.diskMount));
  }

  limitSupport(): LimitSupport {
    return verbs.limitSupport(this.#verbRooms());
  }

  async statPath(id: string, path: string): Promise<PathStat> {
    return await statPath(this.#view(id), path);
  }

  async readArchive(id: string, path: string): Promise<{ stat: PathStat; archive: Readable }> {
    return await readArchive(this.#view(id), path);
  }

  async writeArchive(
    id: string,
    path: string,
    archive: AsyncIterable<Uint8Array>,
    options: WriteArchiveOptions = {},
  ): Promise<void> {
    await writeArchive(this.#view(id), path, archive, options);
  }

  #verbRooms(): verbs.VerbRooms {
    const { events, ...rooms } = this.#rooms;
    return { ...rooms, emit: (event) => events.emit(event) };
  }

  #view(id: string): ViewRequest {
    const { containers, sandboxes, layout } = this.#rooms;
    const record = containers.record(id);
    const sandbox = sandboxes.get(record.sandbox);
    if (sandbox === undefined)
      throw new EngineError('conflict', `container ${id} lost its sandbox when the machine was booted`);
    return { layout, record, sandbox };
  }

  async changes(id: string): Promise<FileChange[]> {
    return await changesOf(this.#written(id));
  }

  async writeLayer(id: string, options: { signal?: AbortSignal } = {}): Promise<WrittenLayer | undefined> {
    return await writeWritten(this.#written(id), this.content, options.signal);
  }

  exportContainer(id: string, options: { signal?: AbortSignal } = {}): AsyncIterable<Uint8Array> {
    return exportWritten(this.#written(id), options.signal);
  }

  #written(id: string): WrittenRequest {
    const { containers, sandboxes, images, layout } = this.#rooms;
    const container = containers.get(id);
    if (container === undefined) throw new EngineError('not-found', `no container ${id}`);
    return { container, sandbox: sandboxes.get(container.sandbox), images, layout };
  }

  async updateFiles(id: string, target: string, files: readonly WrittenFile[]): Promise<void> {
    const { containers, sandboxes, layout } = this.#rooms;
    const container = containers.get(id);
    const sandbox = container === undefined ? undefined : sandboxes.get(container.sandbox);
    if (container === undefined || sandbox === undefined) throw new EngineError('not-found', `no container ${id}`);
    replaceFiles(containerPaths(layout, id), { container, sandbox, target, files });
  }

  events(options: { signal?: AbortSignal } = {}): AsyncIterable<EngineEvent> {
    return this.#rooms.events.subscribe(options.signal);
  }

  /** Stops every container that runs. Sandboxes stay. */
  async stopAll(options: { graceSeconds?: number; signal?: AbortSignal } = {}): Promise<void> {
    const { containers } = this.#rooms;
    const running = containers.list().filter(({ state }) => state === 'running');
    await Promise.all(running.map(({ id }) => containers.stop(id, options)));
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    const { sandboxes, containers, diskVolumes, network, names, events, images, watermarks, release } = this.#rooms;
    events.close();
    await Promise.all([watermarks.close(), names.close()]);
    await containers.close();
    await diskVolumes.settled();
    await sandboxes.close();
    network.close();
    await images.close();
    release();
  }
}

/** Bytes used of the file system that is mounted there. */
async function usedOf(directory: string): Promise<number> {
  const { blocks, bfree, bsize } = await statfs(directory);
  return (blocks - bfree) * bsize;
}
