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
import { hostRoutes, overlaps } from '#lib/routes.ts';
import { EngineError } from '../engine.ts';
import type { Network, NetworkSpec } from '../networks.ts';
import { AddressPool, type Cidr, contains, formatCidr, formatIpv4, parseCidr } from './addresses.ts';
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
  /** Where ranges are taken from that nobody asked for: a /24 each. */
  pool: string;
  /** Ranges of pods and services. */
  taken: string[];
  kernel: NetworkKernel;
}

interface Entry {
  network: Network;
  addresses: AddressPool;
  users: number;
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
  #work: Promise<unknown> = Promise.resolve();

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
    return await this.#exclusive(() => this.#create(spec));
  }

  async remove(id: string): Promise<void> {
    await this.#exclusive(async () => {
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

  /** An address for somebody; `ip` is a wish that must be kept, `preferredIp` one that may. */
  lease(id: string, wish: { ip?: string; preferredIp?: string }): string {
    const entry = this.#require(id);
    const { network, addresses } = entry;
    let ip: string;
    if (wish.ip !== undefined) {
      if (!contains(parseCidr(network.subnet), wish.ip)) {
        throw new EngineError(
          'invalid',
          `invalid config for network ${network.name}: invalid endpoint settings:\nno configured subnet contains IP address ${wish.ip}`,
        );
      }
      if (!addresses.claim(wish.ip)) throw new EngineError('conflict', 'Address already in use');
      ip = wish.ip;
    } else if (wish.preferredIp !== undefined && this.#prefers(entry, wish.preferredIp)) ip = wish.preferredIp;
    else ip = addresses.take();
    entry.users += 1;
    return ip;
  }

  /** What a sandbox of an earlier engine has. */
  adopt(id: string, ip: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    entry.addresses.claim(ip);
    entry.users += 1;
    return true;
  }

  free(id: string, ip: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    entry.addresses.free(ip);
    entry.users -= 1;
  }

  #prefers({ network, addresses }: Entry, ip: string): boolean {
    return contains(parseCidr(network.subnet), ip) && addresses.claim(ip);
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
    const { directory, instance, pool, kernel } = this.#options;
    const wanted = spec.subnet === undefined ? undefined : checkSubnet(spec.subnet);
    const candidates = wanted === undefined ? freeSubnets(parseCidr(pool), instance) : [wanted];
    for (const subnet of candidates) {
      if (this.#overlaps(formatCidr(subnet))) continue;
      const network = describe(spec, subnet);
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      await writeFileAtomic(this.#file(network.id), JSON.stringify(network));
      try {
        if (!kernel.claimSubnet(network.subnet)) {
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
    if (wanted !== undefined) throw new EngineError('conflict', OVERLAP);
    throw new EngineError(
      'exhausted',
      `all predefined address pools have been fully subnetted: no free /24 is left in ${pool}; remove networks or give one with --subnet`,
    );
  }

  #overlaps(subnet: string): boolean {
    const own = this.list().map((network) => network.subnet);
    return [...own, ...this.#options.taken, ...hostRoutes()].some((other) => overlaps(subnet, other));
  }

  #add(network: Network): void {
    const subnet = parseCidr(network.subnet);
    const range = network.range === undefined ? { ...subnet, base: subnet.base + 1 } : parseCidr(network.range);
    const used = [network.gateway, ...network.reserved];
    this.#entries.set(network.id, {
      network,
      addresses: new AddressPool(subnet, { used, range, least: 4 }),
      users: 0,
    });
  }

  #file(id: string): string {
    return join(this.#options.directory, `${id}.json`);
  }

  async #exclusive<T>(body: () => Promise<T>): Promise<T> {
    const result = this.#work.then(body, body);
    this.#work = result.catch(() => {});
    return await result;
  }
}

function checkSubnet(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr.size < 4 || cidr.prefix < 8)
    throw new EngineError('invalid', `invalid network config: invalid subnet ${text}: use a /8 to a /30`);
  const first = Math.floor(cidr.base / 2 ** 24);
  if (first === 0 || first === 127 || first >= 224)
    throw new EngineError('invalid', `invalid network config: invalid subnet ${text}: nobody can be addressed there`);
  return cidr;
}

function describe(spec: NetworkSpec, subnet: Cidr): Network {
  const text = formatCidr(subnet);
  const inside = (what: string, address: string): string => {
    if (contains(subnet, address)) return address;
    throw new EngineError('invalid', `invalid network config: ${what} ${address} is not in the subnet ${text}`);
  };
  if (spec.range !== undefined) {
    const range = parseCidr(spec.range);
    inside('the first address of ip-range', formatIpv4(range.base));
    inside('the last address of ip-range', formatIpv4(range.base + range.size - 1));
  }
  return {
    id: randomBytes(32).toString('hex'),
    name: spec.name,
    driver: 'bridge',
    subnet: text,
    gateway: inside('the gateway', spec.gateway ?? formatIpv4(subnet.base + 1)),
    ...(spec.range === undefined ? {} : { range: spec.range }),
    reserved: (spec.reserved ?? []).map((address) => inside('the auxiliary address', address)),
    internal: spec.internal === true,
    isolated: spec.isolated === true,
    labels: { ...spec.labels },
    options: { ...spec.options },
    createdAt: Date.now(),
    chosen: spec.subnet !== undefined,
  };
}
