/**
 * Networks that users made: their records, their ranges, and who has which address of them.
 *
 * A record is written before the kernel knows of the network and removed after the kernel forgot it, so after a crash in between
 * the network is there, whole, or it is not. Addresses are not recorded here: each sandbox's record names its own.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ASIDE_PREFIX, writeFileAtomic } from '#lib/atomic-file.ts';
import { hostIpv6Routes, hostRoutes } from '#lib/routes.ts';
import { Turns } from '#lib/turns.ts';
import { EngineError } from '../engine.ts';
import type { Attachment, Network, NetworkSpec, NetworkWish } from '../networks.ts';
import { type Cidr, overlap, parseCidr } from './addresses.ts';
import { hostHasIpv6 } from './ipv6-host.ts';
import { Leases, checkSubnet, describeRange } from './ranges.ts';
import { freeSubnets } from './subnets.ts';

/** What the kernel has of a network; see `open.ts`. */
export interface NetworkKernel {
  /** False where another route leads to the range already. */
  claimSubnet(subnet: string): boolean;
  releaseSubnet(subnet: string): void;
  addNetwork(network: Network): Promise<void>;
  removeNetwork(network: Network): Promise<void>;
}

export interface UserNetworksOptions {
  directory: string;
  instance: string;
  /** Where ranges are taken from that nobody asked for: a /24 each, and of IPv6 a /64. */
  pool: string;
  ipv6Pool: Cidr;
  /** Ranges of pods and services. */
  taken: string[];
  kernel: NetworkKernel;
}

interface Entry {
  network: Network;
  ipv4: Leases;
  ipv6?: Leases;
  users: number;
}

interface Subnets {
  ipv4: Cidr;
  ipv6?: Cidr;
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
const OVERLAP = 'invalid pool request: Pool overlaps with other one on this address space';

/** Of every network of an instance; also where no engine runs. */
export function readNetworkRecords(directory: string): Network[] {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return readdirSync(directory)
    .filter((name) => /^[0-9a-f]{64}\.json$/.test(name))
    .map((name) => JSON.parse(readFileSync(join(directory, name), 'utf8')) as Network)
    .sort((left, right) => left.createdAt - right.createdAt || (left.id < right.id ? -1 : 1));
}

export class UserNetworks {
  readonly #options: UserNetworksOptions;
  readonly #entries = new Map<string, Entry>();
  /** Creating and removing, one after the other: each decides on all ranges. */
  readonly #turns = new Turns();

  constructor(options: UserNetworksOptions) {
    this.#options = options;
    const networks = readNetworkRecords(options.directory);
    for (const name of readdirSync(options.directory))
      if (name.startsWith(ASIDE_PREFIX)) rmSync(join(options.directory, name), { force: true });
    for (const network of networks) this.#add(network);
  }

  list(): Network[] {
    return [...this.#entries.values()].map(({ network }) => network);
  }

  get(id: string): Network | undefined {
    return this.#entries.get(id)?.network;
  }

  async create(spec: NetworkSpec): Promise<Network> {
    return await this.#turns.take(() => this.#create(spec));
  }

  async remove(id: string): Promise<void> {
    await this.#turns.take(async () => {
      const entry = this.#entries.get(id);
      if (entry === undefined) return;
      const { network, users } = entry;
      if (users > 0) {
        throw new EngineError(
          'conflict',
          `error while removing network: network ${network.name} id ${id} has active endpoints`,
        );
      }
      // Nobody gets in any more while the kernel forgets it.
      this.#entries.delete(id);
      try {
        await this.#options.kernel.removeNetwork(network);
        rmSync(this.#file(id), { force: true });
      } catch (error) {
        this.#entries.set(id, entry);
        throw error;
      }
    });
  }

  /** Addresses for somebody; `ip` is a wish that must be kept, `preferredIp` one that may. */
  lease(
    id: string,
    { ip, preferredIp, ip6, preferredIp6 }: Omit<NetworkWish, 'network'>,
  ): Pick<Attachment, 'ip' | 'ip6'> {
    const entry = this.#require(id);
    const { name } = entry.network;
    const leased: Pick<Attachment, 'ip' | 'ip6'> = { ip: entry.ipv4.lease({ ip, preferredIp }, name) };
    try {
      if (entry.ipv6 !== undefined) leased.ip6 = entry.ipv6.lease({ ip: ip6, preferredIp: preferredIp6 }, name);
      else if (ip6 !== undefined)
        throw new EngineError(
          'invalid',
          `invalid config for network ${name}: invalid endpoint settings:\nit has no IPv6, where ${ip6} could be`,
        );
    } catch (error) {
      entry.ipv4.free(leased.ip);
      throw error;
    }
    entry.users += 1;
    return leased;
  }

  /** What a sandbox of an earlier engine has. */
  adopt({ network, ip, ip6 }: Attachment): void {
    const entry = this.#entries.get(network);
    if (entry === undefined) return;
    entry.ipv4.adopt(ip);
    if (ip6 !== undefined) entry.ipv6?.adopt(ip6);
    entry.users += 1;
  }

  free({ network, ip, ip6 }: Attachment): void {
    const entry = this.#entries.get(network);
    if (entry === undefined) return;
    entry.ipv4.free(ip);
    if (ip6 !== undefined) entry.ipv6?.free(ip6);
    entry.users -= 1;
  }

  #require(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new EngineError('not-found', `network ${id} not found`);
    return entry;
  }

  async #create(spec: NetworkSpec): Promise<Network> {
    if (!NAME.test(spec.name)) {
      throw new EngineError(
        'invalid',
        `invalid network name ${JSON.stringify(spec.name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
      );
    }
    if (this.list().some(({ name }) => name === spec.name))
      throw new EngineError('conflict', `network with name ${spec.name} already exists`);
    const { directory, pool, kernel } = this.#options;
    for (const subnets of this.#candidates(spec)) {
      const network = describe(spec, subnets);
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      await writeFileAtomic(this.#file(network.id), JSON.stringify(network));
      try {
        if (!this.#claim(network)) {
          rmSync(this.#file(network.id), { force: true });
          continue;
        }
        await kernel.addNetwork(network);
      } catch (error) {
        await kernel.removeNetwork(network);
        rmSync(this.#file(network.id), { force: true });
        throw error;
      }
      this.#add(network);
      return network;
    }
    if (spec.subnet !== undefined) throw new EngineError('conflict', OVERLAP);
    throw new EngineError(
      'exhausted',
      `all predefined address pools have been fully subnetted: no free /24 is left in ${pool}; remove networks or give one with --subnet`,
    );
  }

  /** Free as far as can be seen; each with the next one of the other family. */
  *#candidates(spec: NetworkSpec): Generator<Subnets> {
    const { pool, ipv6Pool } = this.#options;
    const ipv4 = this.#free(spec.subnet === undefined ? parseCidr(pool, 4) : checkSubnet(spec.subnet, 4), spec);
    if (spec.ipv6 === undefined) {
      for (const one of ipv4) yield { ipv4: one };
      return;
    }
    const ipv6 = this.#free(spec.ipv6.subnet === undefined ? ipv6Pool : checkSubnet(spec.ipv6.subnet, 6), spec.ipv6);
    if (!hostHasIpv6()) {
      throw new EngineError(
        'unavailable',
        `cannot create network ${spec.name} with IPv6: it is turned off on this host; turn it on with sysctl -w net.ipv6.conf.all.disable_ipv6=0, or boot without ipv6.disable=1`,
      );
    }
    for (const one of ipv4) {
      const other = ipv6.next();
      if (other.done === true) throw new EngineError('conflict', OVERLAP);
      yield { ipv4: one, ipv6: other.value };
    }
  }

  /** The one range that was asked for, or those of a pool. */
  *#free(range: Cidr, { subnet }: { subnet?: string }): Generator<Cidr> {
    const own = this.list().flatMap((network) => [
      network.subnet,
      ...(network.ipv6 === undefined ? [] : [network.ipv6.subnet]),
    ]);
    const others = [...own, ...this.#options.taken, ...hostRoutes(), ...hostIpv6Routes()].map((text) =>
      parseCidr(text),
    );
    for (const one of subnet === undefined ? freeSubnets(range, this.#options.instance) : [range])
      if (!others.some((other) => overlap(one, other))) yield one;
  }

  /** Both ranges, or none. */
  #claim({ subnet, ipv6 }: Network): boolean {
    const { kernel } = this.#options;
    if (!kernel.claimSubnet(subnet)) return false;
    if (ipv6 === undefined || kernel.claimSubnet(ipv6.subnet)) return true;
    kernel.releaseSubnet(subnet);
    return false;
  }

  #add(network: Network): void {
    const { ipv6 } = network;
    this.#entries.set(network.id, {
      network,
      ipv4: new Leases(network),
      ...(ipv6 === undefined ? {} : { ipv6: new Leases(ipv6) }),
      users: 0,
    });
  }

  #file(id: string): string {
    return join(this.#options.directory, `${id}.json`);
  }
}

function describe(spec: NetworkSpec, { ipv4, ipv6 }: Subnets): Network {
  return {
    id: randomBytes(32).toString('hex'),
    name: spec.name,
    driver: 'bridge',
    ...describeRange(spec, ipv4),
    ...(ipv6 === undefined ? {} : { ipv6: describeRange(spec.ipv6 ?? {}, ipv6) }),
    internal: spec.internal === true,
    isolated: spec.isolated === true,
    labels: { ...spec.labels },
    options: { ...spec.options },
    createdAt: Date.now(),
  };
}
