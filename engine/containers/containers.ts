/** The life of containers: create, start, stop, kill, remove, wait; and how their ends are learned. */
import { randomBytes } from 'node:crypto';
import { type FSWatcher, existsSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Writable } from 'node:stream';
import { processStartTime } from '#lib/process-start-time.ts';
import { settledBefore } from '#lib/settled-before.ts';
import { Turns } from '#lib/turns.ts';
import {
  EngineError,
  type Container,
  type ContainerExit,
  type ContainerSpec,
  type EngineEvent,
  type Images,
  type TerminalSize,
} from '../engine.ts';
import { timerOf } from '#lib/longest-timer.ts';
import { namedWhenFull } from '../disk-full.ts';
import type { EngineOptions } from '../options.ts';
import { hasCode } from '../sys/libc.ts';
import { ProcessHandle } from '../sys/pidfd.ts';
import { setDomainName } from '../sys/uts.ts';
import { AdoptedContainers } from './adopted.ts';
import type { Cgroups } from './cgroups.ts';
import { lookUpUser, makeBundle, remakeBundle, removeBundle, type SharedProcesses } from './container-files.ts';
import { endLog, logSizeOf, resumeLog, rotateLog } from './container-log.ts';
import { validateSpec, withoutContents } from './container-spec.ts';
import { type ContainerRecord, publicContainer } from './container-records.ts';
import { type Monitor, type Runtime, openOutputs, pidOf, releaseContainer, startConmon } from './conmon.ts';
import type { Disks } from './disks.ts';
import { readEnd } from './ends.ts';
import { openInput, resizeConsole } from './attach.ts';
import { isFrozen, thaw } from './freezer.ts';
import { type ContainerPaths, type Layout, containerPaths } from './layout.ts';
import { readLastWords } from './mounts.ts';
import { adoptMonitor, isMonitor } from './monitors.ts';
import type { LogRotation } from './log-rotation.ts';
import { removeSegments } from './log-segments.ts';
import type { OciProcess } from './oci.ts';
import { killStarting } from './recovery.ts';
import { type AllowedRisks, refuseContainerRisks } from './risks.ts';
import { writeRecord } from './records.ts';
import type { Sandboxes } from './sandboxes.ts';
import { signalNumber } from './signals.ts';

export interface ContainersOptions {
  layout: Layout;
  cgroups: Cgroups;
  disks: Disks;
  images: Images;
  sandboxes: Sandboxes;
  runtime: Runtime;
  conmon: string;
  log: NonNullable<EngineOptions['log']>;
  risks: AllowedRisks;
  emit: (event: EngineEvent) => void;
}

interface Entry {
  record: ContainerRecord;
  handle: ProcessHandle | undefined;
  rotation: LogRotation | undefined;
  /** Of a start by this engine. */
  monitor?: Monitor;
  exited: PromiseWithResolvers<ContainerExit>;
  /** The tail of what is done to it: one thing at a time. */
  turns: Turns;
}

export class Containers {
  readonly #options: ContainersOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #names = new Set<string>();
  readonly #openFiles: number;
  readonly #adopted = new AdoptedContainers<Entry>((entry) => void this.#unwatched(entry, undefined));
  readonly #creating = new Set<Promise<unknown>>();
  #exits: FSWatcher | undefined;
  #closed = false;

  constructor(options: ContainersOptions) {
    this.#options = options;
    this.#openFiles = hardOpenFiles();
  }

  /** Takes over what an earlier engine left; see `recovery.ts`. Call once, before anything else. */
  async adopt(records: ContainerRecord[]): Promise<void> {
    const { layout } = this.#options;
    this.#exits = watch(layout.exits, (_, name) => {
      if (name !== null) this.#exitFile(name);
    });
    for (const record of records) {
      const entry = this.#add(record);
      if (record.state === 'running' && record.pid !== undefined) {
        entry.handle = ProcessHandle.open(record.pid, record.pidStartTime);
        entry.rotation = rotateLog(this.#options, record);
        await this.#readPause(record);
      }
    }
    // Those that ended while nobody looked, and those that end from now on, in one way.
    for (const id of await readdir(layout.exits)) this.#exitFile(id);
    for (const entry of this.#entries.values()) {
      if (entry.record.state !== 'running' || entry.handle !== undefined) continue;
      const { conmonPid } = containerPaths(layout, entry.record.id);
      // Where its monitor lives, that is about to write down the end.
      if (!(await isMonitor(await pidOf(conmonPid), entry.record.id))) this.#lost(entry);
    }
    await Promise.all([...this.#entries.values()].map(({ turns }) => turns.settled()));
    this.#adopted.follow(layout, this.#entries.values());
  }

  list(): Container[] {
    return [...this.#entries.values()].map(({ record }) => publicContainer(record));
  }

  /** Whether anything runs in the sandbox. */
  isRunningIn(sandbox: string): boolean {
    for (const { record } of this.#entries.values())
      if (record.sandbox === sandbox && record.state === 'running') return true;
    return false;
  }

  get(id: string): Container | undefined {
    const entry = this.#entries.get(id);
    return entry === undefined ? undefined : publicContainer(entry.record);
  }

  /** As it is kept; not to be changed. @throws EngineError `not-found` */
  record(id: string): ContainerRecord {
    return this.#entry(id).record;
  }

  async create(spec: ContainerSpec, signal?: AbortSignal): Promise<Container> {
    this.#assertOpen();
    using _creation = this.#options.sandboxes.busy();
    const creating = this.#create(spec, signal);
    this.#creating.add(creating);
    return await creating.finally(() => this.#creating.delete(creating));
  }

  async #create(spec: ContainerSpec, signal?: AbortSignal): Promise<Container> {
    signal?.throwIfAborted();
    const { layout, images, sandboxes, emit } = this.#options;
    const sandbox = sandboxes.get(spec.sandbox);
    if (sandbox === undefined) throw new EngineError('not-found', `no sandbox ${spec.sandbox}`);
    const image = images.get(spec.image);
    if (image === undefined) throw new EngineError('not-found', `no image "${spec.image}" here: pull it first`);
    const { stopSignal } = validateSpec(spec, image);
    refuseContainerRisks(spec, sandbox.userNamespacePath !== undefined, this.#options.risks);
    const id = spec.id ?? randomBytes(32).toString('hex');
    if (!/^[0-9a-f]{64}$/.test(id) || this.#entries.has(id))
      throw new EngineError('invalid', `id: ${JSON.stringify(id)} is not 64 hexadecimal digits of its own`);
    const key = `${spec.sandbox} ${spec.name}`;
    if (this.#names.has(key))
      throw new EngineError('conflict', `there is a container "${spec.name}" in sandbox ${spec.sandbox}`);
    this.#names.add(key);
    const paths = containerPaths(layout, id);
    const logPath = spec.log?.none === true ? paths.memoryLog : (spec.log?.path ?? paths.log);
    try {
      const layers = await images.layerDirectories(image);
      const shared = this.#sharedProcesses(spec);
      await makeBundle({
        ...this.#options,
        ...shared,
        id,
        spec,
        sandbox,
        image,
        layers,
        logPath,
        openFiles: this.#openFiles,
      });
      signal?.throwIfAborted();
      const record: ContainerRecord = {
        id,
        name: spec.name,
        sandbox: spec.sandbox,
        state: 'created',
        image: spec.image,
        imageId: image.id,
        imageDigest: image.digest,
        labels: { ...spec.labels },
        createdAt: Date.now(),
        logPath,
        spec: withoutContents(spec),
        stopSignal,
      };
      writeRecord(paths.record, record);
      this.#add(record);
      emit({ at: record.createdAt, type: 'container-created', id, sandbox: spec.sandbox });
      return publicContainer(record);
    } catch (error) {
      await removeBundle(layout, id);
      this.#names.delete(key);
      throw namedWhenFull(error);
    }
  }

  async start(id: string, again = false): Promise<void> {
    this.#assertOpen();
    const entry = this.#entry(id);
    using _start = this.#options.sandboxes.busy();
    await entry.turns.take(async () => {
      const { record } = entry;
      if (record.state !== 'created' && !(again && record.state === 'exited'))
        throw new EngineError('conflict', `container ${id} is ${record.state}: only a created one can be started`);
      const { layout, cgroups, runtime, conmon } = this.#options;
      const paths = containerPaths(layout, id);
      await this.#ensureBundle(record, paths);
      if (record.state === 'exited') await this.#prepareAgain(entry, paths);
      writeFileSync(paths.starting, '');
      try {
        const { tty = false, stdin = false } = record.spec;
        const { pid, monitor } = await startConmon({
          id,
          name: record.name,
          layout,
          paths,
          runtime,
          conmon,
          logPath: record.logPath,
          logSize: logSizeOf(record),
          tty,
          stdin,
        });
        entry.monitor = monitor;
        void monitor.gone.then((itself) => (itself ? this.#unwatched(entry, monitor) : undefined));
        const startTime = processStartTime(pid);
        entry.handle = ProcessHandle.open(pid, startTime);
        if (!tty) openOutputs(pid);
        if (record.spec.domainName !== undefined) setDomainName(pid, record.spec.domainName);
        await releaseContainer({ id, layout, paths, runtime });
        record.pid = pid;
        if (startTime !== undefined) record.pidStartTime = startTime;
        record.state = 'running';
        record.startedAt = Date.now();
        delete record.exit;
        writeRecord(paths.record, record);
        rmSync(paths.starting, { force: true });
      } catch (error) {
        await killStarting(layout, cgroups, record);
        const message = error instanceof Error ? error.message : String(error);
        const code = error instanceof EngineError && error.code === 'invalid' ? 127 : 128;
        await this.#finish(entry, { code, oomKilled: false, at: Date.now(), message });
        throw namedWhenFull(error);
      }
      entry.rotation = rotateLog(this.#options, record);
      adoptMonitor(this.#options, record.id);
      this.#options.emit({ at: record.startedAt, type: 'container-started', id, sandbox: record.sandbox });
    });
  }

  /** A boot of the machine takes every mount and the bundle; where the sandbox is there (again), they are made anew. */
  async #ensureBundle(record: ContainerRecord, paths: ContainerPaths): Promise<void> {
    const { layout, images, sandboxes } = this.#options;
    const sandbox = sandboxes.get(record.sandbox);
    if (sandbox === undefined || sandbox.lost === true) {
      throw new EngineError(
        'conflict',
        `container ${record.id} lost its sandbox when the machine was booted: ${sandbox === undefined ? 'remove it and make a new one' : 'recover the sandbox first'}`,
      );
    }
    if (existsSync(join(paths.bundle, 'config.json'))) return;
    const image = images.get(record.imageDigest);
    if (image === undefined)
      throw new EngineError(
        'not-found',
        `no image ${record.imageDigest} of container ${record.id} here: pull it first`,
      );
    const { id, spec, logPath } = record;
    const layers = await images.layerDirectories(image);
    await remakeBundle({
      ...this.#options,
      ...this.#sharedProcesses(spec),
      layout,
      id,
      spec,
      sandbox,
      image,
      layers,
      logPath,
      openFiles: this.#openFiles,
    });
  }

  #sharedProcesses({ sandbox, processesOf }: ContainerSpec): { processesOf?: SharedProcesses } {
    if (processesOf === undefined) return {};
    const record = this.#entries.get(processesOf)?.record;
    if (record?.sandbox !== sandbox || record.state !== 'running' || record.pid === undefined)
      throw new EngineError('conflict', `processesOf: no container ${processesOf} runs in sandbox ${sandbox}`);
    return { processesOf: { pid: record.pid, startTime: record.pidStartTime } };
  }

  /** Takes away what the last run left beside the files that it wrote. */
  async #prepareAgain(entry: Entry, paths: ContainerPaths): Promise<void> {
    const { layout, cgroups } = this.#options;
    await killStarting(layout, cgroups, entry.record);
    await resumeLog(entry.record);
    for (const name of ['ctl', 'winsz', 'attach']) await rm(join(paths.bundle, name), { force: true });
    entry.exited = Promise.withResolvers<ContainerExit>();
  }

  /** Not exclusive: an end must be seen while this waits. */
  async stop(id: string, options: { graceSeconds?: number; signal?: AbortSignal } = {}): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    await entry.turns.settled();
    if (entry.record.state !== 'running') return;
    const graceSeconds = options.graceSeconds ?? 10;
    if (graceSeconds > 0) {
      entry.handle?.signal(signalNumber(entry.record.stopSignal));
      await this.#goOn(entry);
      const grace = AbortSignal.timeout(timerOf(graceSeconds * 1000));
      const either = options.signal === undefined ? grace : AbortSignal.any([grace, options.signal]);
      if (await settledBefore(entry.exited.promise, either)) return;
      options.signal?.throwIfAborted();
    }
    entry.handle?.signal(9);
    await this.#goOn(entry);
    await entry.exited.promise;
  }

  async kill(id: string, signal: string | number): Promise<void> {
    const entry = this.#entry(id);
    const number = signalNumber(signal);
    if (entry.record.state !== 'running' || entry.handle?.signal(number) !== true) {
      throw new EngineError('conflict', `container ${id} does not run`);
    }
    // As Docker does: what means to end it must reach it; any other signal waits until it goes on.
    const ends = number === 9 || number === signalNumber(entry.record.stopSignal);
    if (ends || entry.record.spec.stopSignal === undefined) await this.#goOn(entry);
  }

  /**
   * Changes what is kept of a container, one thing at a time with the rest of its life.
   * @param change  gives the new record; where it throws, the old one stays
   */
  async edit(
    id: string,
    change: (record: ContainerRecord, paths: ContainerPaths) => Promise<ContainerRecord>,
  ): Promise<void> {
    this.#assertOpen();
    const entry = this.#entry(id);
    await entry.turns.take(async () => {
      if (!this.#entries.has(id)) throw new EngineError('not-found', `no container ${id}`);
      const { record } = entry;
      const paths = containerPaths(this.#options.layout, id);
      const changed = await change({ ...record }, paths);
      const key = `${changed.sandbox} ${changed.name}`;
      if (changed.name !== record.name) {
        if (this.#names.has(key))
          throw new EngineError('conflict', `there is a container "${changed.name}" in sandbox ${changed.sandbox}`);
        this.#names.add(key);
        this.#names.delete(`${record.sandbox} ${record.name}`);
      }
      writeRecord(paths.record, changed);
      entry.record = changed;
    });
  }

  async remove(id: string, options: { force?: boolean; logs?: boolean } = {}): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    await entry.turns.settled();
    if (entry.record.state === 'running') {
      if (options.force !== true)
        throw new EngineError('conflict', `container ${id} runs: stop it first, or remove it with force`);
      await this.stop(id, { graceSeconds: 0 });
    }
    await entry.turns.take(async () => {
      if (!this.#entries.has(id)) return;
      const { layout, emit } = this.#options;
      const { record } = entry;
      // The record goes first: what is left after a crash is half-made, and removed on open.
      await rm(containerPaths(layout, id).record, { force: true });
      await removeBundle(layout, id);
      if (options.logs === true) await removeSegments(record.logPath);
      this.#entries.delete(id);
      this.#names.delete(`${record.sandbox} ${record.name}`);
      emit({ at: Date.now(), type: 'container-removed', id, sandbox: record.sandbox });
    });
  }

  async wait(id: string, signal?: AbortSignal): Promise<ContainerExit> {
    const { exited } = this.#entry(id);
    signal?.throwIfAborted();
    if (signal === undefined) return await exited.promise;
    await settledBefore(exited.promise, signal);
    signal.throwIfAborted();
    return await exited.promise;
  }

  /** For exec: the process that runs, as the runtime was told, and how to look up another user. */
  async process(
    id: string,
    user: string | undefined,
  ): Promise<{ base: OciProcess; user?: ReturnType<typeof lookUpUser> }> {
    const { record } = this.#entry(id);
    if (record.state !== 'running') throw new EngineError('conflict', `container ${id} does not run`);
    if (record.paused === true)
      throw new EngineError('conflict', `Container ${record.name} is paused, unpause the container before exec`);
    const paths = containerPaths(this.#options.layout, id);
    const config = JSON.parse(await readFile(join(paths.bundle, 'config.json'), 'utf8')) as { process: OciProcess };
    return { base: config.process, ...(user === undefined ? {} : { user: lookUpUser(paths, user) }) };
  }

  async attachInput(id: string): Promise<Writable> {
    const { record } = this.#entry(id);
    if (record.state !== 'running' || record.pid === undefined)
      throw new EngineError('conflict', `container ${id} does not run`);
    if (record.spec.stdin !== true)
      throw new EngineError('conflict', `container ${id} was made without standard input`);
    const paths = containerPaths(this.#options.layout, id);
    const monitor = await pidOf(paths.conmonPid);
    if (monitor === undefined) throw new EngineError('conflict', `container ${id} has lost its monitor`);
    return openInput({ monitor, container: record.pid, tty: record.spec.tty === true, bundle: paths.bundle });
  }

  async resize(id: string, size: TerminalSize): Promise<void> {
    const { record } = this.#entry(id);
    if (record.state !== 'running') throw new EngineError('conflict', `container ${id} does not run`);
    if (record.spec.tty !== true) throw new EngineError('conflict', `container ${id} has no terminal`);
    const monitor = await pidOf(containerPaths(this.#options.layout, id).conmonPid);
    if (monitor !== undefined) resizeConsole(monitor, size);
  }

  /** Resolves when nothing more is written to its log. */
  ended(id: string): Promise<unknown> {
    return this.#entry(id).exited.promise;
  }

  /** Resolves when what is under way has ended. Nothing new begins. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#adopted.close();
    await Promise.allSettled(this.#creating);
    this.#exits?.close();
    await Promise.all([...this.#entries.values()].map(({ turns }) => turns.settled()));
    for (const { handle, monitor } of this.#entries.values()) {
      monitor?.forget();
      handle?.close();
    }
    await Promise.all([...this.#entries.values()].map(({ rotation }) => rotation?.close()));
  }

  #assertOpen(): void {
    if (this.#closed) throw new EngineError('unavailable', 'the engine is closed');
  }

  #add(record: ContainerRecord): Entry {
    const exited = Promise.withResolvers<ContainerExit>();
    if (record.exit !== undefined) exited.resolve(record.exit);
    const entry: Entry = { record, handle: undefined, rotation: undefined, exited, turns: new Turns() };
    this.#entries.set(record.id, entry);
    this.#names.add(`${record.sandbox} ${record.name}`);
    return entry;
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new EngineError('not-found', `no container ${id}`);
    return entry;
  }

  /** A frozen container cannot obey. Not exclusive, as stopping is not. */
  async #goOn(entry: Entry): Promise<void> {
    const { record } = entry;
    if (record.paused !== true) return;
    const { cgroups, layout, emit } = this.#options;
    await thaw(cgroups, cgroups.path(record.sandbox, record.id));
    // It may have ended by now, and its record be another.
    if (entry.record !== record) return;
    delete record.paused;
    writeRecord(containerPaths(layout, record.id).record, record);
    emit({ at: Date.now(), type: 'container-unpaused', id: record.id, sandbox: record.sandbox });
  }

  /** The kernel knows best: an engine that was killed may have frozen it and not said so. */
  async #readPause(record: ContainerRecord): Promise<void> {
    const { cgroups, layout } = this.#options;
    const paused = await isFrozen(cgroups, cgroups.path(record.sandbox, record.id));
    if (paused === (record.paused === true)) return;
    if (paused) record.paused = true;
    else delete record.paused;
    writeRecord(containerPaths(layout, record.id).record, record);
  }

  /** conmon has written down how a container ended. */
  #exitFile(id: string): void {
    // It writes aside first, under a name of its own.
    if (!/^[0-9a-f]{64}$/.test(id)) return;
    const entry = this.#entries.get(id);
    if (entry === undefined) {
      void rm(join(this.#options.layout.exits, id), { force: true });
      return;
    }
    void entry.turns
      .take(async () => {
        if (entry.record.state !== 'running') return;
        const exit = await this.#readExit(entry);
        if (exit !== undefined) await this.#finish(entry, exit);
      })
      .catch((error: unknown) =>
        this.#options.log('error', 'cannot record the end of a container', { container: id, error: String(error) }),
      );
  }

  async #readExit({ record, handle }: Entry): Promise<ContainerExit | undefined> {
    const { layout, cgroups } = this.#options;
    return await readEnd({
      file: join(layout.exits, record.id),
      persist: containerPaths(layout, record.id).persist,
      oomKills: await cgroups.oomKills(cgroups.path(record.sandbox, record.id)),
      signal: handle?.terminatingSignal(),
    });
  }

  /** conmon is gone: it has written down the end, or it was killed, or the disk was full. */
  async #unwatched(entry: Entry, monitor: Monitor | undefined): Promise<void> {
    this.#exitFile(entry.record.id);
    await entry.turns.settled();
    const { pid, pidStartTime } = entry.record;
    // Another monitor: it runs again by now.
    const runs = (): boolean => !this.#closed && entry.monitor === monitor && entry.record.state === 'running';
    // Nothing tells of the end of a process that is not our child: the one state in which it is asked for.
    while (runs() && pid !== undefined && processStartTime(pid) === pidStartTime)
      await delay(1000, undefined, { ref: false });
    if (runs()) this.#lost(entry);
  }

  /** Its process is gone and nobody wrote down how: conmon was killed too. */
  #lost(entry: Entry): void {
    void entry.turns
      .take(async () => {
        if (entry.record.state !== 'running') return;
        // A kernel that is new enough tells of a signal even now.
        const signal = entry.handle?.terminatingSignal() ?? 0;
        const message = 'its monitor was killed, or could not write, so its exit status is unknown';
        const exit = signal > 0 ? { code: 128 + signal, signal } : { code: 255, message };
        await this.#finish(entry, { ...exit, oomKilled: false, at: Date.now() });
      })
      .catch((error: unknown) =>
        this.#options.log('error', 'cannot record the end of a container', {
          container: entry.record.id,
          error: String(error),
        }),
      );
  }

  async #finish(entry: Entry, end: ContainerExit): Promise<void> {
    const { layout, cgroups, emit, log } = this.#options;
    const { record } = entry;
    const paths = containerPaths(layout, record.id);
    const lastWords = record.spec.lastWords === undefined ? undefined : readLastWords(paths);
    const exit = lastWords === undefined ? end : { ...end, lastWords };
    entry.handle?.close();
    entry.handle = undefined;
    await endLog(this.#options, record, entry.rotation);
    entry.rotation = undefined;
    entry.monitor?.forget();
    delete entry.monitor;
    const { pid: _pid, pidStartTime: _start, paused: _paused, ...rest } = record;
    entry.record = { ...rest, state: 'exited', exit };
    try {
      writeRecord(paths.record, entry.record);
      await rm(join(layout.exits, record.id), { force: true });
    } catch (error) {
      // A full disk must not keep those waiting who asked for the end. For the next engine it lies in memory, as if conmon had written it.
      if (!hasCode(error, 'ENOSPC', 'EDQUOT')) throw error;
      writeFileSync(join(layout.exits, record.id), String(exit.code));
      log('error', 'the end of a container is not on disk: it is full', { container: record.id });
    }
    if (exit.oomKilled) emit({ at: exit.at, type: 'container-oom', id: record.id, sandbox: record.sandbox });
    emit({ at: exit.at, type: 'container-exited', id: record.id, sandbox: record.sandbox, exit });
    entry.exited.resolve(exit);
    try {
      await cgroups.remove(cgroups.path(record.sandbox, record.id));
      await rm(paths.runtime, { recursive: true, force: true });
    } catch (error) {
      log('warn', 'cannot remove what the runtime left of a container', { container: record.id, error: String(error) });
    }
  }
}

/** Our own limit: nothing that we start may have more. */
function hardOpenFiles(): number {
  const hard = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return Math.min(Number(hard ?? 1024), 1_048_576);
}
