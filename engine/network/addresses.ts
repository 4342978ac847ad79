/** Ranges of addresses, and a pool that hands them out. */
import { EngineError } from '../engine.ts';
import { type Family, bitsOf, formatAddress, parseAddress } from './address-text.ts';

export interface Cidr {
  family: Family;
  /** The network address as a number. */
  base: bigint;
  prefix: number;
  /** How many addresses it holds. */
  size: bigint;
}

const examples: Readonly<Record<Family, string>> = { 4: '10.86.0.0/24', 6: 'fd00:86::/64' };

/** @param family  the only one that will do */
export function parseCidr(text: string, family?: Family): Cidr {
  const wanted = family ?? (text.includes(':') ? 6 : 4);
  const [address = '', length = ''] = text.split('/');
  const prefix = /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (!(prefix >= 0 && prefix <= bitsOf[wanted]) || text.includes(':') !== (wanted === 6)) {
    throw new EngineError(
      'invalid',
      `"${text}" is not an IPv${wanted} range: use an address and a length such as ${examples[wanted]}`,
    );
  }
  const size = 1n << BigInt(bitsOf[wanted] - prefix);
  const { value: base } = parseAddress(address);
  if (base % size !== 0n) {
    throw new EngineError(
      'invalid',
      `"${text}" is not an IPv${wanted} range: ${address} is not the first address of a /${prefix}`,
    );
  }
  return { family: wanted, base, prefix, size };
}

/** The address at a place of the range, counted from 0. */
export function addressAt({ family, base }: Cidr, place: bigint): string {
  return formatAddress({ family, value: base + place });
}

/** The bridge's address: the first one that can be used. */
export function gatewayOf(cidr: Cidr): string {
  return addressAt(cidr, 1n);
}

export function contains(cidr: Cidr, address: string): boolean {
  const { family, value } = parseAddress(address);
  return family === cidr.family && value >= cidr.base && value < cidr.base + cidr.size;
}

/** Whether two ranges share an address: then one holds the other. */
export function overlap(one: Cidr, other: Cidr): boolean {
  return contains(one, addressAt(other, 0n)) || contains(other, addressAt(one, 0n));
}

/** The address at the same place of another range; undefined where it is not of the first. */
export function counterpart(address: string, from: Cidr, to: Cidr): string | undefined {
  return contains(from, address) ? addressAt(to, parseAddress(address).value - from.base) : undefined;
}

export function formatCidr(cidr: Cidr): string {
  return `${addressAt(cidr, 0n)}/${cidr.prefix}`;
}

/**
 * Addresses for sandboxes: all but the network's, the gateway's and, of IPv4, the last. The search goes on from the last one handed out,
 * so that the address that was freed longest ago is used first, and a client that holds a stale address meets nobody for long.
 */
export class AddressPool {
  readonly #cidr: Cidr;
  readonly #used = new Set<bigint>();
  /** One after the last that may be given. */
  readonly #end: bigint;
  readonly #first: bigint;
  readonly #count: bigint;
  #cursor: bigint;

  /** @param options.range  the part that `take` draws from */
  constructor(cidr: Cidr, options: { cursor?: number; used?: Iterable<string>; range?: Cidr; least?: bigint } = {}) {
    const { least = 8n, range } = options;
    if (cidr.size < least)
      throw new EngineError('invalid', `a pod range of ${cidr.size} addresses is too small: use a /29 or more`);
    this.#cidr = cidr;
    this.#cursor = BigInt(options.cursor ?? 0);
    this.#end = cidr.family === 4 ? cidr.size - 1n : cidr.size;
    const begin = range === undefined ? 2n : range.base - cidr.base;
    const rangeEnd = range === undefined ? this.#end : begin + range.size;
    this.#first = begin < 1n ? 1n : begin;
    this.#count = (rangeEnd < this.#end ? rangeEnd : this.#end) - this.#first;
    for (const address of options.used ?? []) this.#used.add(this.#place(address));
  }

  /** Position to be persisted, for `cursor`. */
  get cursor(): number {
    return Number(this.#cursor);
  }

  take(): string {
    for (let step = 0n; step < this.#count; step += 1n) {
      const place = (this.#cursor + step) % this.#count;
      const offset = this.#first + place;
      if (this.#used.has(offset)) continue;
      this.#used.add(offset);
      this.#cursor = (place + 1n) % this.#count;
      return addressAt(this.#cidr, offset);
    }
    throw new EngineError(
      'exhausted',
      `no address is left of ${this.#count} in ${formatCidr(this.#cidr)}: remove what has one, or use a larger range`,
    );
  }

  /** One that was asked for. False where somebody has it, or where nobody may. */
  claim(address: string): boolean {
    const offset = this.#place(address);
    if (offset < 1n || offset >= this.#end || this.#used.has(offset)) return false;
    this.#used.add(offset);
    return true;
  }

  free(address: string): void {
    this.#used.delete(this.#place(address));
  }

  #place(address: string): bigint {
    return parseAddress(address).value - this.#cidr.base;
  }
}
