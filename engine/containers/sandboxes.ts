/**
 * Sandboxes, and a pool of ready ones: namespaces, address and link are made ahead, so that taking one costs three small files.
 * Records lie beside the bound namespaces on tmpfs, so a reboot takes both. Of a durable one what was asked for is kept in the data
 * directory, with its addresses and id range; a boot leaves it lost, until it is recovered.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { Turns } from '#lib/turns.ts';
import { EngineError, type PublishedPort, type Sandbox, type SandboxSpec } from '../engine.ts';
import type { NetworkWish } from '../networks.ts';
import { namedWhenFull } from '../disk-full.ts';
import { AddressPool, contains, parseCidr } from '../network/addresses.ts';
import type { Network } from '../network/open.ts';
import type { UserNetworks } from '../network/user-networks.ts';
import type { CniNetwork } from '../network/cni/network.ts';
import { plug, refuseNetworks } from './plug.ts';
import type { EngineOptions } from '../options.ts';
import { mounts } from '../sys/mounts.ts';
import { Attachments, BRIDGE, attachmentsOf, checkMac, checkNames, macOf } from './attachments.ts';
import type { Cgroups } from './cgroups.ts';
import { DurableSandboxes } from './durable-sandboxes.ts';
import { HeldPorts } from './held-ports.ts';
import { IdRanges } from './id-ranges.ts';
import { Lull } from './lull.ts';
import { type Layout, sandboxPaths } from './layout.ts';
import { makeNamespaces } from './namespaces.ts';
import { choosePorts, publishedRules } from './published-ports.ts';
import { readRecord, removeAsides, writeRecord } from './records.ts';
import { type AllowedRisks, refuseSandboxRisks } from './risks.ts';
import { writeEtc } from './sandbox-etc.ts';
import { makeSearchable, removeSandboxFiles, validateSandbox } from './sandbox-files.ts';
import { type SandboxRecord, hasLink, isCursor, isSandboxRecord, isWhole } from './sandbox-records.ts';

type Log = NonNullable<EngineOptions['log']>;

export interface SandboxesOptions {
  layout: Layout;
  network: Network;
  networks: UserNetworks;
  /** Makes links where plugins do, and knows of those that they made. */
  cni: CniNetwork;
  cgroups: Cgroups;
  podCidr: string;
  /** Of IPv6, where pods have that. */
  podCidr6?: string;
  idRange: { first: number; length: number };
  poolTarget: number;
  log: Log;
  risks?: AllowedRisks;
}

export class Sandboxes {
  readonly #options: SandboxesOptions;
  readonly #addresses: AddressPool;
  readonly #attachments: Attachments;
  readonly #ranges: IdRanges;
  readonly #used = new Map<string, Sandbox>();
  readonly #ready: Sandbox[] = [];
  readonly #names = new Set<string>();
  readonly #held = new HeldPorts((id) => this.#publicAddress(id));
  readonly #durable: DurableSandboxes;
  /** Of those that are being recovered. */
  readonly #recoveries = new Map<string, Promise<Sandbox>>();
  /** Ports and networks, one after the other: each call decides on all there is. */
  readonly #turns = new Turns();
  #refill: Promise<void> | undefined;
  /** What is taken is replaced when nothing starts, so that making it competes with no start. */
  readonly #lull = new Lull(() => this.fillPool());
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
    const own = all.flatMap(attachmentsOf);
    const used = own.filter(({ network, ip }) => network === BRIDGE && ip !== '').map(({ ip }) => ip);
    this.#addresses = new AddressPool(parseCidr(options.podCidr), { cursor, used });
    this.#attachments = new Attachments({
      pods: this.#addresses,
      podCidr: options.podCidr,
      ...(options.podCidr6 === undefined ? {} : { podCidr6: options.podCidr6 }),
      networks: options.networks,
    });
    this.#attachments.adopt(own);
    this.#ranges = new IdRanges(
      options.idRange,
      all.map(({ idRange }) => idRange.first).filter((first) => first > 0),
    );
    for (const sandbox of lost) {
      this.#used.set(sandbox.id, { ...this.#known(sandbox), lost: true });
      this.#names.add(sandbox.name);
    }
    for (const { pooled, ...record } of records) {
      const sandbox = this.#known(record);
      if (pooled) this.#ready.push(sandbox);
      else {
        this.#used.set(sandbox.id, sandbox);
        this.#names.add(sandbox.name);
      }
    }
  }

  /** As it is with this engine's ranges: addresses of IPv6 that are of no pod range any more are nobody's. */
  #known(sandbox: Sandbox): Sandbox {
    const { podCidr6, cni } = this.#options;
    if (cni.has(sandbox.id)) return sandbox;
    const isOurs = (ip6: string | undefined): boolean =>
      ip6 === undefined || (podCidr6 !== undefined && contains(parseCidr(podCidr6), ip6));
    const networks = attachmentsOf(sandbox).map(({ ip6, ...one }) =>
      ip6 === undefined || (one.network === BRIDGE && !isOurs(ip6)) ? one : { ...one, ip6 },
    );
    return sandbox.networks === undefined && isOurs(sandbox.ip6) ? sandbox : this.#with(sandbox, { networks });
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
      // One of the pool has a link of the other kind where the engine before had.
      const isOther = record?.pooled === true && (record.ip !== '') === options.cni.isActive;
      if (record !== undefined && !isOther && isWhole(record, paths, bound)) {
        await removeAsides(paths.run);
        records.push(record);
      } else await removeSandboxFiles(layout, id);
    }
    const kept = new Set(records.map(({ id }) => id));
    for (const id of await readdir(layout.sandboxesData)) {
      if (!kept.has(id)) await rm(sandboxPaths(layout, id).data, { recursive: true, force: true });
    }
    await network.sweep(kept);
    // One of the pool has none, whatever was on its way when the engine died.
    await options.cni.collect(new Set(records.filter(({ pooled }) => !pooled).map(({ id }) => id)));
    for (const { ip, egress } of records) await network.setEgress(ip, egress);
    const cursor = await readRecord(layout.addressesFile, isCursor);
    const durable = await DurableSandboxes.open(layout.sandboxRecords);
    const sandboxes = new Sandboxes(options, records, { durable, cursor: cursor?.cursor ?? 0 });
    await network.publish(sandboxes.#rules(sandboxes.list()));
    for (const { id, name, published = [] } of sandboxes.list())
      await sandboxes.#held.set(id, published).catch((error: unknown) =>
        options.log(
          'warn',
          'a published port was taken by another program while no engine ran: our rule stays before it',
          {
            sandbox: name,
            error: String(error),
          },
        ),
      );
    return sandboxes;
  }

  /** Once the bridge is there: links have what the records say, also where an earlier engine died in between. */
  reconcile(): void {
    for (const sandbox of this.#used.values()) {
      try {
        if (this.#options.cni.has(sandbox.id)) this.#check(sandbox);
        else if (isLinked(sandbox) && sandbox.lost !== true) this.#setAddresses(sandbox);
      } catch (error) {
        this.#options.log('error', 'cannot give a sandbox its addresses', {
          sandbox: sandbox.name,
          error: String(error),
        });
      }
    }
  }

  #check({ id, name }: Sandbox): void {
    this.#options.cni.check(id).catch((error: unknown) => this.#tell({ name }, 'a link is not as it was made', error));
  }

  #tell({ name }: Pick<Sandbox, 'name'>, what: string, error: unknown): void {
    this.#options.log('warn', what, { sandbox: name, error: String(error) });
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
      const ready = made;
      const { cni } = this.#options;
      made = cni.isActive ? await plug(cni, ready, spec) : this.#address(ready, spec);
      const sandbox: Sandbox = {
        ...made,
        name: spec.name,
        hostname: spec.hostname,
        ...(spec.domain === undefined ? {} : { domain: spec.domain }),
        ...(spec.hostsComment === undefined ? {} : { hostsComment: spec.hostsComment }),
        labels: { ...spec.labels },
        ...(spec.dns === undefined ? {} : { dns: spec.dns }),
        ...(spec.hostAliases === undefined ? {} : { hostAliases: spec.hostAliases }),
        createdAt: Date.now(),
        egress: spec.egress ?? 'cluster',
      };
      if (made !== ready && !cni.isActive) await this.#move(sandbox);
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
      if (!this.#closed) this.#lull.want();
    }
  }

  /** What makes a ready one a sandbox of somebody's. */
  async #dress(sandbox: Sandbox, { limits }: SandboxSpec): Promise<void> {
    await this.#options.network.setEgress(sandbox.ip, sandbox.egress);
    await this.#writeEtc(sandbox);
    if (limits !== undefined) await this.#options.cgroups.limitSandbox(sandbox.id, limits);
    this.#record(sandbox);
  }

  /** Calls at the same time for one sandbox are one recovery. */
  async recover(id: string): Promise<Sandbox> {
    const sandbox = this.#require(id);
    if (sandbox.lost !== true) return sandbox;
    const under =
      this.#recoveries.get(id) ??
      this.#turns.take(async () => await this.#recover(this.#require(id))).finally(() => this.#recoveries.delete(id));
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
    // The pod range may be another one now.
    const isKept = (ip: string): boolean => contains(parseCidr(podCidr), ip);
    const attachments = attachmentsOf(sandbox).map((one) =>
      one.network !== BRIDGE || isKept(one.ip)
        ? one
        : { ...one, ...this.#attachments.podAddresses(this.#addresses.take()) },
    );
    const { ip = '', ip6 } = attachments[0] ?? {};
    const { ip6: _before, ...rest } = sandbox;
    let again =
      sandbox.networks === undefined
        ? { ...rest, ip, ...(ip6 === undefined ? {} : { ip6 }) }
        : this.#with(sandbox, { networks: attachments });
    await this.#build(again);
    try {
      const { cni } = this.#options;
      if (cni.isActive) again = await plug(cni, again, record.spec);
      else if (hasLink(again)) this.#setAddresses(again, again.mac);
      await this.#dress(again, record.spec);
    } catch (error) {
      await this.#options.cni.del(again.id);
      await this.#options.network.detach(again.id);
      await removeSandboxFiles(this.#options.layout, again.id);
      throw error;
    }
    this.#used.set(again.id, again);
    return again;
  }

  /** Addresses in the networks that it is for, instead of the one in the pod range that it was made with. */
  #address(ready: Sandbox, { networks, mac }: SandboxSpec): Sandbox {
    if (networks === undefined && mac === undefined) return ready;
    const checked = mac === undefined ? {} : { mac: checkMac(mac) };
    const leased = this.#attachments.lease(networks ?? [{ network: BRIDGE }], ready.ip);
    this.#attachments.free(attachmentsOf(ready).filter((one) => !leased.some(({ ip }) => ip === one.ip)));
    const { mac: _mac, ...rest } = this.#with({ ...ready, ...checked }, { networks: leased });
    return leased.length === 0 ? rest : { ...rest, mac: checked.mac ?? ready.mac ?? macOf(rest.ip) };
  }

  /** The record first: what the kernel has and no record names would stay for ever. */
  async #move(sandbox: Sandbox): Promise<void> {
    this.#record(sandbox);
    if (sandbox.mac === undefined) await this.#options.network.detach(sandbox.id);
    else this.#setAddresses(sandbox, sandbox.mac);
  }

  #with(sandbox: Sandbox, change: Partial<Sandbox>): Sandbox {
    const { ip6: _before, ...changed } = { ...sandbox, ...change };
    const attachments = attachmentsOf(changed);
    const { ip = attachments[0]?.ip ?? '', ip6 } = this.#attachments.publicAddresses(attachments);
    return { ...changed, ip, ...(ip6 === undefined ? {} : { ip6 }) };
  }

  #setAddresses(sandbox: Sandbox, mac?: string): void {
    this.#options.network.setAddresses({
      sandbox: sandbox.id,
      namespacePath: sandbox.networkNamespacePath,
      addresses: this.#attachments.linkAddresses(attachmentsOf(sandbox)),
      ...(mac === undefined ? {} : { mac }),
    });
  }

  /** Its containers must be gone. Idempotent. */
  async remove(id: string): Promise<void> {
    await this.#recoveries.get(id)?.catch(() => {});
    const sandbox = this.#used.get(id);
    if (sandbox === undefined) return;
    if ((sandbox.published ?? []).length > 0) await this.publish(id, []);
    await this.#turns.settled();
    await this.#durable.forget(id);
    await this.#unmake(this.#used.get(id) ?? sandbox);
    this.#used.delete(id);
    this.#names.delete(sandbox.name);
  }

  async connect(id: string, wish: NetworkWish): Promise<Sandbox> {
    if (this.#options.cni.isActive) throw refuseNetworks();
    return await this.#turns.take(async () => {
      const sandbox = this.#require(id);
      const before = attachmentsOf(sandbox);
      if (!hasLink(sandbox)) throw new EngineError('conflict', `sandbox ${id} was made without a network`);
      if (before.some(({ network }) => network === wish.network))
        throw new EngineError('conflict', `sandbox ${id} is in network ${wish.network} already`);
      const leased = this.#attachments.lease([wish]);
      try {
        return await this.#change(sandbox, [...before, ...leased]);
      } catch (error) {
        this.#attachments.free(leased);
        throw error;
      }
    });
  }

  async disconnect(id: string, network: string): Promise<Sandbox> {
    if (this.#options.cni.isActive) throw refuseNetworks();
    return await this.#turns.take(async () => {
      const sandbox = this.#require(id);
      const before = attachmentsOf(sandbox);
      const left = before.filter((one) => one.network !== network);
      if (left.length === before.length) return sandbox;
      const changed = await this.#change(sandbox, left);
      this.#attachments.free(before.filter((one) => one.network === network));
      return changed;
    });
  }

  async setAliases(id: string, network: string, aliases: string[]): Promise<Sandbox> {
    return await this.#turns.take(async () => {
      const sandbox = this.#require(id);
      checkNames(aliases);
      const networks = attachmentsOf(sandbox).map((one) => (one.network === network ? { ...one, aliases } : one));
      const changed = { ...sandbox, networks };
      this.#record(changed);
      this.#used.set(id, changed);
      return changed;
    });
  }

  /** Ports that are published follow it to the address that it can be reached by. */
  async #change(sandbox: Sandbox, networks: Sandbox['networks'] & object): Promise<Sandbox> {
    const changed = this.#with(sandbox, { networks });
    this.#record(changed);
    if (sandbox.lost === true) {
      this.#used.set(changed.id, changed);
      return changed;
    }
    try {
      this.#setAddresses(changed);
      await this.#writeEtc(changed);
      if (changed.ip !== sandbox.ip) {
        await this.#options.network.setEgress(sandbox.ip, 'cluster');
        await this.#options.network.setEgress(changed.ip, changed.egress);
      }
      if ((changed.published ?? []).length > 0)
        await this.#options.network.publish(this.#rules([...this.#others(sandbox.id), changed]));
    } catch (error) {
      this.#record(sandbox);
      this.#setAddresses(sandbox);
      throw error;
    }
    this.#used.set(changed.id, changed);
    return changed;
  }

  async publish(id: string, ports: PublishedPort[]): Promise<PublishedPort[]> {
    return await this.#turns.take(async () => await this.#publish(id, ports));
  }

  #require(id: string): Sandbox {
    const sandbox = this.#used.get(id);
    if (sandbox === undefined) throw new EngineError('not-found', `no sandbox ${id}`);
    return sandbox;
  }

  #others(id: string): Sandbox[] {
    return [...this.#used.values()].filter((other) => other.id !== id);
  }

  #rules(sandboxes: readonly Sandbox[]): ReturnType<typeof publishedRules> {
    return publishedRules(sandboxes, (sandbox) => this.#attachments.publicAddresses(attachmentsOf(sandbox)));
  }

  /** Of IPv6 where it has that. */
  #publicAddress(id: string): string | undefined {
    const sandbox = this.#used.get(id);
    const { ip, ip6 } = sandbox === undefined ? {} : this.#attachments.publicAddresses(attachmentsOf(sandbox));
    return ip6 ?? ip;
  }

  async #publish(id: string, ports: PublishedPort[]): Promise<PublishedPort[]> {
    const sandbox = this.#require(id);
    if (sandbox.lost === true) throw new EngineError('conflict', `sandbox ${id} is lost: recover it first`);
    const others = this.#others(id);
    const published = await choosePorts(
      ports,
      others.flatMap((other) => other.published ?? []),
      sandbox.published ?? [],
    );
    const changed: Sandbox = { ...sandbox, published };
    await this.#held.set(id, published);
    try {
      await this.#options.network.publish(this.#rules([...others, changed]));
    } catch (error) {
      await this.#held.set(id, sandbox.published ?? []);
      throw error;
    }
    this.#record(changed);
    this.#used.set(id, changed);
    return published;
  }

  /** A container is being made or started: what can wait does, until that is disposed of. */
  busy(): Disposable {
    return this.#lull.begin();
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
    this.#lull.close();
    await this.#refill;
    this.#held.close();
  }

  async #fill(): Promise<void> {
    while (!this.#closed && this.#ready.length < this.#options.poolTarget) {
      const sandbox = await this.#make();
      this.#record(sandbox, { pooled: true });
      this.#ready.push(sandbox);
      if (this.#lull.isDisturbed && !this.#closed) return this.#lull.want();
    }
  }

  async #make(spec: Pick<SandboxSpec, 'userNamespace' | 'network'> = {}): Promise<Sandbox> {
    const { layout } = this.#options;
    const id = randomBytes(32).toString('hex');
    const paths = sandboxPaths(layout, id);
    const ownIds = spec.userNamespace !== 'host';
    const ownNetwork = spec.network !== 'host';
    const ip = ownNetwork && !this.#options.cni.isActive ? this.#addresses.take() : '';
    let first: number | undefined;
    try {
      first = ownIds ? this.#ranges.take() : 0;
      if (ownNetwork) writeRecord(layout.addressesFile, { cursor: this.#addresses.cursor });
      const sandbox: Sandbox = {
        id,
        name: '',
        hostname: '',
        labels: {},
        ...(ip === '' ? { ip } : { ...this.#attachments.podAddresses(ip), mac: macOf(ip) }),
        ...(ownNetwork ? {} : { networks: [] }),
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
      if (ip !== '') this.#addresses.free(ip);
      this.#freeIds(first);
      throw error;
    }
  }

  /** Namespaces and link. Leaves nothing where it fails. */
  async #build(sandbox: Sandbox): Promise<void> {
    const { layout, network } = this.#options;
    const { id, ip, idRange } = sandbox;
    const paths = sandboxPaths(layout, id);
    try {
      makeSearchable(paths.run, idRange.first);
      const ownNetwork = sandbox.network !== 'host';
      const range = sandbox.userNamespacePath === undefined ? {} : { range: idRange };
      makeNamespaces({ files: paths, ...range, network: ownNetwork });
      if (!ownNetwork) return;
      if (!hasLink(sandbox) || this.#options.cni.isActive) return;
      const { mac = macOf(ip) } = sandbox;
      await network.attach({ sandbox: id, namespacePath: paths.networkNamespace, ip, mac });
      if (sandbox.ip6 !== undefined) this.#setAddresses(sandbox);
    } catch (error) {
      await network.detach(id);
      await removeSandboxFiles(layout, id);
      throw error;
    }
  }

  async #unmake(sandbox: Sandbox): Promise<void> {
    const { layout, network, cgroups } = this.#options;
    // The record first: what is left after a crash is half-made, and removed on open.
    await rm(sandboxPaths(layout, sandbox.id).record, { force: true });
    await network.setEgress(sandbox.ip, 'cluster');
    await cgroups.remove(cgroups.path(sandbox.id));
    const { cni } = this.#options;
    // While its network is there. What a plugin cannot take back now is taken at the next start.
    const isPlugged = cni.has(sandbox.id);
    await cni.del(sandbox.id).catch((error: unknown) => this.#tell(sandbox, 'a plugin left something behind', error));
    await removeSandboxFiles(layout, sandbox.id);
    await network.detached(sandbox.id);
    if (!isPlugged && sandbox.ip !== '') this.#attachments.free(attachmentsOf(sandbox));
    this.#freeIds(sandbox.idRange.first);
  }

  /** With the host's user namespace there are none. */
  #freeIds(first: number | undefined): void {
    if (first !== undefined && first > 0) this.#ranges.free(first);
  }

  /** Where it is durable, what is to outlive a boot as well. */
  #record({ lost, ...sandbox }: Sandbox, { pooled } = { pooled: false }): void {
    const record: SandboxRecord = { ...sandbox, pooled };
    if (lost !== true) writeRecord(sandboxPaths(this.#options.layout, sandbox.id).record, record);
    const durable = this.#durable.get(sandbox.id);
    if (durable !== undefined) this.#durable.keep(sandbox, durable.spec);
  }

  async #writeEtc(sandbox: Sandbox): Promise<void> {
    const { layout, network, log } = this.#options;
    await writeEtc(sandboxPaths(layout, sandbox.id), sandbox, { resolver: network.resolver, log });
  }
}

/** By this engine, as no plugin's is: that one has an address, or is in none of the networks. */
function isLinked(sandbox: Sandbox): boolean {
  return hasLink(sandbox) && (sandbox.ip !== '' || sandbox.networks?.length === 0);
}
