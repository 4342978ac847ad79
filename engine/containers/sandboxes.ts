/**
 * Sandboxes, and a pool of ready ones: namespaces, address and link are made ahead, so that taking one costs three small files.
 * Records lie beside the bound namespaces on tmpfs, so a reboot takes both.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { EngineError, type PublishedPort, type Sandbox, type SandboxSpec } from '../engine.ts';
import { namedWhenFull } from '../disk-full.ts';
import { AddressPool, parseCidr } from '../network/addresses.ts';
import type { Network } from '../network/open.ts';
import { hostResolver, renderResolver } from '../network/resolver.ts';
import type { EngineOptions } from '../options.ts';
import { mounts, unmountBelow } from '../sys/mounts.ts';
import type { Cgroups } from './cgroups.ts';
import { IdRanges } from './id-ranges.ts';
import { type Layout, type SandboxPaths, sandboxPaths } from './layout.ts';
import { makeNamespaces } from './namespaces.ts';
import { choosePorts, publishedRules } from './published-ports.ts';
import { readRecord, writeRecord } from './records.ts';
import { type AllowedRisks, refuseSandboxRisks } from './risks.ts';

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
  #publishing: Promise<unknown> = Promise.resolve();
  #refill: Promise<void> | undefined;
  #refillTimer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: SandboxesOptions, records: SandboxRecord[], cursor: number) {
    this.#options = options;
    const used = records.map(({ ip }) => ip).filter((ip) => ip !== '');
    this.#addresses = new AddressPool(parseCidr(options.podCidr), { cursor, used });
    this.#ranges = new IdRanges(
      options.idRange,
      records.map(({ idRange }) => idRange.first).filter((first) => first > 0),
    );
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
      if (record !== undefined && isWhole(record, paths, bound)) records.push(record);
      else await removeFiles(layout, id);
    }
    const kept = new Set(records.map(({ id }) => id));
    for (const id of await readdir(layout.sandboxesData)) {
      if (!kept.has(id)) await rm(sandboxPaths(layout, id).data, { recursive: true, force: true });
    }
    await network.sweep(kept);
    for (const { ip, egress } of records) await network.setEgress(ip, egress);
    await network.publish(publishedRules(records));
    const cursor = await readRecord(layout.addressesFile, isCursor);
    return new Sandboxes(options, records, cursor?.cursor ?? 0);
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
    validateSpec(spec);
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
      await this.#options.network.setEgress(sandbox.ip, sandbox.egress);
      await this.#writeEtc(sandbox, spec);
      if (spec.limits !== undefined) await this.#options.cgroups.limitSandbox(sandbox.id, spec.limits);
      this.#record(sandbox, false);
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

  /** Its containers must be gone. Idempotent. */
  async remove(id: string): Promise<void> {
    const sandbox = this.#used.get(id);
    if (sandbox === undefined) return;
    if ((sandbox.published ?? []).length > 0) await this.publish(id, []);
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
    const { layout, network } = this.#options;
    const id = randomBytes(32).toString('hex');
    const paths = sandboxPaths(layout, id);
    const ownIds = spec.userNamespace !== 'host';
    const ownNetwork = spec.network !== 'host';
    const ip = ownNetwork ? this.#addresses.take() : '';
    let first: number | undefined;
    try {
      first = ownIds ? this.#ranges.take() : 0;
      if (ownNetwork) writeRecord(layout.addressesFile, { cursor: this.#addresses.cursor });
      makeSearchable(paths.run, first);
      const idRange = { first, length: ownIds ? IdRanges.length : 2 ** 32 - 1 };
      if (ownNetwork) {
        makeNamespaces(paths, ownIds ? idRange : undefined);
        await network.attach({ sandbox: id, namespacePath: paths.networkNamespace, ip });
      }
      return {
        id,
        name: '',
        hostname: '',
        labels: {},
        ip,
        createdAt: Date.now(),
        egress: 'cluster',
        idRange,
        networkNamespacePath: ownNetwork ? paths.networkNamespace : '/proc/self/ns/net',
        ...(ownNetwork ? {} : { network: 'host' as const }),
        ...(ownIds ? { userNamespacePath: paths.userNamespace } : {}),
      };
    } catch (error) {
      await network.detach(id);
      await removeFiles(layout, id);
      this.#free(ip, first);
      throw error;
    }
  }

  async #unmake(sandbox: Sandbox): Promise<void> {
    const { layout, network, cgroups } = this.#options;
    await network.detach(sandbox.id);
    await network.setEgress(sandbox.ip, 'cluster');
    await cgroups.remove(cgroups.path(sandbox.id));
    await removeFiles(layout, sandbox.id);
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

  async #writeEtc(sandbox: Sandbox, spec: SandboxSpec): Promise<void> {
    const paths = sandboxPaths(this.#options.layout, sandbox.id);
    const host = spec.dns?.servers === undefined ? await hostResolver() : undefined;
    if (host !== undefined && host.servers.length === 0) {
      this.#options.log(
        'warn',
        'the host has no name server that sandboxes can reach: name one in the sandbox, or in /etc/resolv.conf',
        {
          sandbox: sandbox.name,
        },
      );
    }
    const resolver = renderResolver({
      servers: spec.dns?.servers ?? host?.servers ?? [],
      searches: spec.dns?.searches ?? host?.searches ?? [],
      options: spec.dns?.options ?? host?.options ?? [],
    });
    const hosts = [
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      `${sandbox.ip || '127.0.1.1'}\t${sandbox.hostname}`,
      ...(spec.hostAliases ?? []).map(({ ip, names }) => `${ip}\t${names.join(' ')}`),
    ];
    const contents: [string, string][] = [
      [paths.hosts, `${hosts.join('\n')}\n`],
      [paths.resolver, resolver],
      [paths.hostname, `${sandbox.hostname}\n`],
    ];
    for (const [path, text] of contents) writeFileSync(path, text, { mode: 0o644 });
  }
}

/** Whether what it is made of is still there. */
function isWhole({ userNamespacePath, network }: Sandbox, paths: SandboxPaths, bound: ReadonlySet<string>): boolean {
  return (
    (userNamespacePath === undefined || bound.has(paths.userNamespace)) &&
    (network === 'host' || bound.has(paths.networkNamespace))
  );
}

/** A directory that the container's root, who is nobody here, may pass through, and nobody else. */
export function makeSearchable(directory: string, firstId: number): void {
  mkdirSync(directory, { recursive: true });
  chownSync(directory, 0, firstId);
  chmodSync(directory, 0o710);
}

async function removeFiles(layout: Layout, id: string): Promise<void> {
  const paths = sandboxPaths(layout, id);
  unmountBelow(paths.run);
  await rm(paths.run, { recursive: true, force: true });
  await rm(paths.data, { recursive: true, force: true });
}

const dnsName = /^[a-z0-9A-Z]([a-zA-Z0-9._-]{0,252})$/;
const word = /^[!-~]{1,253}$/;

function validateSpec(spec: SandboxSpec): void {
  if (spec.name === '' || spec.name.length > 1024)
    throw new EngineError('invalid', 'name: a sandbox needs a name of 1 to 1024 characters');
  if (!dnsName.test(spec.hostname) || spec.hostname.length > 64) {
    throw new EngineError(
      'invalid',
      `hostname: ${JSON.stringify(spec.hostname)} is not a host name of at most 64 characters`,
    );
  }
  const words = [
    ...(spec.dns?.servers ?? []),
    ...(spec.dns?.searches ?? []),
    ...(spec.dns?.options ?? []),
    ...(spec.hostAliases ?? []).flatMap(({ ip, names }) => [ip, ...names]),
  ];
  for (const one of words) {
    if (!word.test(one))
      throw new EngineError('invalid', `dns or hostAliases: ${JSON.stringify(one)} is not a name or an address`);
  }
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
