/**
 * Sandboxes, and a pool of ready ones: namespaces, address and link are made ahead, so that taking one costs three small files.
 * Records lie beside the bound namespaces on tmpfs, so a reboot takes both. Of a durable one what was asked for is kept in the data
 * directory, with its address and id range; a boot leaves it lost, until it is recovered.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { EngineError, type PublishedPort, type Sandbox, type SandboxSpec } from '../engine.ts';
import { AddressPool, contains, parseCidr } from '../network/addresses.ts';
import { namedWhenFull } from '../disk-full.ts';
import type { Network } from '../network/open.ts';
import type { EngineOptions } from '../options.ts';
import { mounts } from '../sys/mounts.ts';
import type { Cgroups } from './cgroups.ts';
import { DurableSandboxes } from './durable-sandboxes.ts';
import { IdRanges } from './id-ranges.ts';
import { type Layout, type SandboxPaths, sandboxPaths } from './layout.ts';
import { makeNamespaces } from './namespaces.ts';
import { choosePorts, publishedRules } from './published-ports.ts';
import { readRecord, removeAsides, writeRecord } from './records.ts';
import { type AllowedRisks, refuseSandboxRisks } from './risks.ts';
import { makeSearchable, removeSandboxFiles, validateSandbox, writeEtc } from './sandbox-files.ts';

type Log = NonNullable<EngineOptions['log']>;

/** `pooled` ones have neither name nor hostname yet. */
interface SandboxRecord extends Sandbox {
  pooled: boolean;
}

const restMilliseconds = 250;

export interface SandboxesOptions {
  layout: Layout;
  network: Network;
  cgroups: Cgroups;
  podCidr: string;
  idRange: { first: number; length: number };
  poolTarget: number;
  log: Log;
  risks?: AllowedRisks;
}

export class Sandboxes {
  readonly #options: SandboxesOptions;
  readonly #addresses: AddressPool;
  readonly #ranges: IdRanges;
  readonly #used = new Map<string, Sandbox>();
  readonly #ready: Sandbox[] = [];
  readonly #names = new Set<string>();
  readonly #durable: DurableSandboxes;
  /** Of those that are being recovered. */
  readonly #recoveries = new Map<string, Promise<Sandbox>>();
  #publishing: Promise<unknown> = Promise.resolve();
  #refill: Promise<void> | undefined;
  #refillTimer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(
    options: SandboxesOptions,
    records: SandboxRecord[],
    { durable, cursor }: { durable: DurableSandboxes; cursor: number },
  ) {
    this.#options = options;
    this.#durable = durable;
    const live = new Set(records.map(({ id }) => id));
    const lost = durable.list().flatMap(({ sandbox }) => (live.has(sandbox.id) ? [] : [sandbox]));
    const all = [...records, ...lost];
    const used = all.map(({ ip }) => ip).filter((ip) => ip !== '');
    this.#addresses = new AddressPool(parseCidr(options.podCidr), { cursor, used });
    this.#ranges = new IdRanges(
      options.idRange,
      all.map(({ idRange }) => idRange.first).filter((first) => first > 0),
    );
    for (const sandbox of lost) {
      this.#used.set(sandbox.id, { ...sandbox, lost: true });
      this.#names.add(sandbox.name);
    }
    for (const { pooled, ...sandbox } of records) {
      if (pooled) this.#ready.push(sandbox);
      else {
        this.#used.set(sandbox.id, sandbox);
        this.#names.add(sandbox.name);
      }
    }
  }

  /** Adopts what is whole and removes the rest. */
  static async open(options: SandboxesOptions): Promise<Sandboxes> {
    const { layout, network } = options;
    await mkdir(layout.sandboxesRun, { recursive: true, mode: 0o711 });
    await mkdir(layout.sandboxesData, { recursive: true, mode: 0o700 });
    const bound = new Set(mounts().map(({ target }) => target));
    const records: SandboxRecord[] = [];
    for (const id of await readdir(layout.sandboxesRun)) {
      const paths = sandboxPaths(layout, id);
      const record = await readRecord(paths.record, isSandboxRecord);
      if (record !== undefined && isWhole(record, paths, bound)) {
        await removeAsides(paths.run);
        records.push(record);
      } else await removeSandboxFiles(layout, id);
    }
    const kept = new Set(records.map(({ id }) => id));
    for (const id of await readdir(layout.sandboxesData)) {
      if (!kept.has(id)) await rm(sandboxPaths(layout, id).data, { recursive: true, force: true });
    }
    await network.sweep(kept);
    for (const { ip, egress } of records) await network.setEgress(ip, egress);
    await network.publish(publishedRules(records));
    const cursor = await readRecord(layout.addressesFile, isCursor);
    const durable = await DurableSandboxes.open(layout.sandboxRecords);
    return new Sandboxes(options, records, { durable, cursor: cursor?.cursor ?? 0 });
  }

  get pool(): { ready: number; target: number } {
    return { ready: this.#ready.length, target: this.#options.poolTarget };
  }

  list(): Sandbox[] {
    return [...this.#used.values()];
  }

  get(id: string): Sandbox | undefined {
    return this.#used.get(id);
  }

  /** Pooled ones too. */
  has(id: string): boolean {
    return this.#used.has(id) || this.#ready.some((sandbox) => sandbox.id === id);
  }

  async create(spec: SandboxSpec, signal?: AbortSignal): Promise<Sandbox> {
    signal?.throwIfAborted();
    validateSandbox(spec);
    refuseSandboxRisks(spec, this.#options.risks ?? {});
    if (this.#names.has(spec.name))
      throw new EngineError('conflict', `there is a sandbox with the name "${spec.name}"`);
    this.#names.add(spec.name);
    let made: Sandbox | undefined;
    try {
      made = spec.userNamespace === 'host' ? undefined : this.#ready.shift();
      made ??= await this.#make(spec);
      signal?.throwIfAborted();
      const sandbox: Sandbox = {
        ...made,
        name: spec.name,
        hostname: spec.hostname,
        labels: { ...spec.labels },
        createdAt: Date.now(),
        egress: spec.egress ?? 'cluster',
      };
      await this.#dress(sandbox, spec);
      // The other way about, a boot in between would leave one that was never acknowledged and nobody removes.
      if (spec.durable === true) this.#durable.keep(sandbox, spec);
      this.#used.set(sandbox.id, sandbox);
      return sandbox;
    } catch (error) {
      this.#names.delete(spec.name);
      if (made !== undefined) await this.#unmake(made);
      throw namedWhenFull(error);
    } finally {
      this.#fillSoon();
    }
  }

  /** What makes a ready one a sandbox of somebody's. */
  async #dress(sandbox: Sandbox, spec: SandboxSpec): Promise<void> {
    const { layout, network, cgroups, log } = this.#options;
    await network.setEgress(sandbox.ip, sandbox.egress);
    await writeEtc(layout, sandbox, spec, log);
    if (spec.limits !== undefined) await cgroups.limitSandbox(sandbox.id, spec.limits);
    this.#record(sandbox, false);
  }

  /** Calls at the same time for one sandbox are one recovery. */
  async recover(id: string): Promise<Sandbox> {
    const sandbox = this.#used.get(id);
    if (sandbox === undefined) throw new EngineError('not-found', `no sandbox ${id}`);
    if (sandbox.lost !== true) return sandbox;
    const under = this.#recoveries.get(id) ?? this.#recover(sandbox).finally(() => this.#recoveries.delete(id));
    this.#recoveries.set(id, under);
    return await under;
  }

  async #recover({ lost: _lost, ...sandbox }: Sandbox): Promise<Sandbox> {
    const { podCidr, idRange } = this.#options;
    const record = this.#durable.get(sandbox.id);
    if (record === undefined) throw new EngineError('internal', `sandbox ${sandbox.id} is lost and has no record`);
    refuseSandboxRisks(record.spec, this.#options.risks ?? {});
    const { first } = sandbox.idRange;
    const ownIds = sandbox.userNamespacePath !== undefined;
    if (ownIds && (first < idRange.first || first + IdRanges.length > idRange.first + idRange.length))
      throw new EngineError(
        'conflict',
        `sandbox ${sandbox.id} has the ids from ${first} on, and the engine now has ${idRange.first}+${idRange.length}: open it with the range that it had, or remove the sandbox`,
      );
    const isKept = sandbox.ip === '' || contains(parseCidr(podCidr), sandbox.ip);
    const ip = isKept ? sandbox.ip : this.#addresses.take();
    const again: Sandbox = { ...sandbox, ip };
    await this.#build(again);
    await this.#dress(again, record.spec);
    this.#durable.keep(again, record.spec);
    this.#used.set(again.id, again);
    return again;
  }

  /** Its containers must be gone. Idempotent. */
  async remove(id: string): Promise<void> {
    await this.#recoveries.get(id)?.catch(() => {});
    const sandbox = this.#used.get(id);
    if (sandbox === undefined) return;
    if ((sandbox.published ?? []).length > 0) await this.publish(id, []);
    await this.#durable.forget(id);
    await this.#unmake(sandbox);
    this.#used.delete(id);
    this.#names.delete(sandbox.name);
  }

  /** One at a time: each call decides on every port there is. */
  async publish(id: string, ports: PublishedPort[]): Promise<PublishedPort[]> {
    const publishing = this.#publishing.then(async () => await this.#publish(id, ports));
    this.#publishing = publishing.catch(() => {});
    return await publishing;
  }

  async #publish(id: string, ports: PublishedPort[]): Promise<PublishedPort[]> {
    const sandbox = this.#used.get(id);
    if (sandbox === undefined) throw new EngineError('not-found', `no sandbox ${id}`);
    if (sandbox.lost === true) throw new EngineError('conflict', `sandbox ${id} is lost: recover it first`);
    const others = [...this.#used.values()].filter((other) => other.id !== id);
    const published = await choosePorts(
      ports,
      others.flatMap((other) => other.published ?? []),
      sandbox.published ?? [],
    );
    const changed: Sandbox = { ...sandbox, published };
    await this.#options.network.publish(publishedRules([...others, changed]));
    this.#record(changed, false);
    this.#used.set(id, changed);
    return published;
  }

  /** What was taken is replaced a moment later, so that making it does not compete with the start that it was taken for. */
  #fillSoon(): void {
    if (this.#closed) return;
    if (this.#ready.length === 0) return this.fillPool();
    clearTimeout(this.#refillTimer);
    this.#refillTimer = setTimeout(() => this.fillPool(), restMilliseconds);
    this.#refillTimer.unref();
  }

  /** Fills the pool in the background; calls while it fills are the same fill. */
  fillPool(): void {
    if (this.#closed || this.#refill !== undefined) return;
    this.#refill = this.#fill()
      .catch((error: unknown) => this.#options.log('warn', 'cannot make a sandbox ahead', { error: String(error) }))
      .finally(() => {
        this.#refill = undefined;
      });
  }

  /** Resolves when the pool was filled, or could not be. */
  async poolFilled(): Promise<void> {
    await this.#refill;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#refillTimer);
    await this.#refill;
  }

  async #fill(): Promise<void> {
    while (!this.#closed && this.#ready.length < this.#options.poolTarget) {
      const sandbox = await this.#make();
      this.#record(sandbox, true);
      this.#ready.push(sandbox);
    }
  }

  async #make(spec: Pick<SandboxSpec, 'userNamespace' | 'network'> = {}): Promise<Sandbox> {
    const { layout } = this.#options;
    const id = randomBytes(32).toString('hex');
    const paths = sandboxPaths(layout, id);
    const ownIds = spec.userNamespace !== 'host';
    const ownNetwork = spec.network !== 'host';
    const ip = ownNetwork ? this.#addresses.take() : '';
    let first: number | undefined;
    try {
      first = ownIds ? this.#ranges.take() : 0;
      if (ownNetwork) writeRecord(layout.addressesFile, { cursor: this.#addresses.cursor });
      const sandbox: Sandbox = {
        id,
        name: '',
        hostname: '',
        labels: {},
        ip,
        createdAt: Date.now(),
        egress: 'cluster',
        idRange: { first, length: ownIds ? IdRanges.length : 2 ** 32 - 1 },
        networkNamespacePath: ownNetwork ? paths.networkNamespace : '/proc/self/ns/net',
        ...(ownNetwork ? {} : { network: 'host' as const }),
        ...(ownIds ? { userNamespacePath: paths.userNamespace } : {}),
      };
      await this.#build(sandbox);
      return sandbox;
    } catch (error) {
      this.#free(ip, first);
      throw error;
    }
  }

  /** Namespaces and link. Leaves nothing where it fails. */
  async #build({ id, ip, idRange, ...sandbox }: Sandbox): Promise<void> {
    const { layout, network } = this.#options;
    const paths = sandboxPaths(layout, id);
    try {
      makeSearchable(paths.run, idRange.first);
      if (sandbox.network !== 'host') {
        makeNamespaces(paths, sandbox.userNamespacePath === undefined ? undefined : idRange);
        await network.attach({ sandbox: id, namespacePath: paths.networkNamespace, ip });
      }
    } catch (error) {
      await network.detach(id);
      await removeSandboxFiles(layout, id);
      throw error;
    }
  }

  async #unmake(sandbox: Sandbox): Promise<void> {
    const { layout, network, cgroups } = this.#options;
    await network.detach(sandbox.id);
    await network.setEgress(sandbox.ip, 'cluster');
    await cgroups.remove(cgroups.path(sandbox.id));
    await removeSandboxFiles(layout, sandbox.id);
    this.#free(sandbox.ip, sandbox.idRange.first);
  }

  #free(ip: string, firstId: number | undefined): void {
    if (ip !== '') this.#addresses.free(ip);
    if (firstId !== undefined && firstId > 0) this.#ranges.free(firstId);
  }

  #record(sandbox: Sandbox, pooled: boolean): void {
    const record: SandboxRecord = { ...sandbox, pooled };
    writeRecord(sandboxPaths(this.#options.layout, sandbox.id).record, record);
  }
}

/** Whether what it is made of is still there. */
function isWhole({ userNamespacePath, network }: Sandbox, paths: SandboxPaths, bound: ReadonlySet<string>): boolean {
  return (
    (userNamespacePath === undefined || bound.has(paths.userNamespace)) &&
    (network === 'host' || bound.has(paths.networkNamespace))
  );
}

function isSandboxRecord(value: unknown): value is SandboxRecord {
  return (
    typeof value === 'object' &&
    value !== null &&
    'id' in value &&
    'ip' in value &&
    'idRange' in value &&
    'pooled' in value &&
    typeof value.id === 'string' &&
    typeof value.ip === 'string'
  );
}

function isCursor(value: unknown): value is { cursor: number } {
  return typeof value === 'object' && value !== null && 'cursor' in value && Number.isSafeInteger(value.cursor);
}
