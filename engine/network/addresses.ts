/** IPv4 arithmetic and the addresses of one node's share of the pod range. */
import { EngineError } from '../engine.ts';

export interface Cidr {
  /** The network address as an unsigned number. */
  base: number;
  prefix: number;
  /** How many addresses it holds. */
  size: number;
}

export function parseIpv4(text: string): number {
  const parts = text.split('.');
  const valid = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
  if (!valid) throw new EngineError('invalid', `"${text}" is not an IPv4 address: use four numbers such as 10.86.0.1`);
  return parts.reduce((value, part) => value * 256 + Number(part), 0);
}

export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
}

/** The four bytes in network order. */
export function ipv4Bytes(address: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(parseIpv4(address));
  return bytes;
}

export function parseCidr(text: string): Cidr {
  const [address = '', length = ''] = text.split('/');
  const prefix = /^\d{1,2}$/.test(length) ? Number(length) : Number.NaN;
  if (!(prefix >= 0 && prefix <= 32)) {
    throw new EngineError(
      'invalid',
      `"${text}" is not an IPv4 range: use an address and a length such as 10.86.0.0/24`,
    );
  }
  const size = 2 ** (32 - prefix);
  const base = parseIpv4(address);
  if (base % size !== 0) {
    throw new EngineError(
      'invalid',
      `"${text}" is not an IPv4 range: ${address} is not the first address of a /${prefix}`,
    );
  }
  return { base, prefix, size };
}

/** The bridge's address: the first one that can be used. */
export function gatewayOf(cidr: Cidr): string {
  return formatIpv4(cidr.base + 1);
}

export function contains(cidr: Cidr, address: string): boolean {
  const offset = parseIpv4(address) - cidr.base;
  return offset >= 0 && offset < cidr.size;
}

export function formatCidr({ base, prefix }: Cidr): string {
  return `${formatIpv4(base)}/${prefix}`;
}

/**
 * Addresses for sandboxes: all but the network's, the gateway's and the last. The search goes on from the last one handed out,
 * so that the address that was freed longest ago is used first, and a client that holds a stale address meets nobody for long.
 */
export class AddressPool {
  readonly #cidr: Cidr;
  readonly #used = new Set<number>();
  readonly #first: number;
  readonly #count: number;
  #cursor: number;

  /** @param options.range  the part that `take` draws from */
  constructor(cidr: Cidr, options: { cursor?: number; used?: Iterable<string>; range?: Cidr; least?: number } = {}) {
    const { least = 8, range } = options;
    if (cidr.size < least)
      throw new EngineError('invalid', `a pod range of ${cidr.size} addresses is too small: use a /29 or more`);
    this.#cidr = cidr;
    this.#cursor = options.cursor ?? 0;
    this.#first = range === undefined ? 2 : Math.max(1, range.base - cidr.base);
    const end = range === undefined ? cidr.size - 1 : Math.min(cidr.size - 1, range.base - cidr.base + range.size);
    this.#count = end - this.#first;
    for (const address of options.used ?? []) this.#used.add(parseIpv4(address) - cidr.base);
  }

  /** Position to be persisted, for `cursor`. */
  get cursor(): number {
    return this.#cursor;
  }

  take(): string {
    for (let step = 0; step < this.#count; step += 1) {
      const place = (this.#cursor + step) % this.#count;
      const offset = this.#first + place;
      if (this.#used.has(offset)) continue;
      this.#used.add(offset);
      this.#cursor = (place + 1) % this.#count;
      return formatIpv4(this.#cidr.base + offset);
    }
    throw new EngineError(
      'exhausted',
      `no address is left of ${this.#count} in ${formatCidr(this.#cidr)}: remove what has one, or use a larger range`,
    );
  }

  /** One that was asked for. False where somebody has it, or where nobody may. */
  claim(address: string): boolean {
    const offset = parseIpv4(address) - this.#cidr.base;
    if (offset < 1 || offset >= this.#cidr.size - 1 || this.#used.has(offset)) return false;
    this.#used.add(offset);
    return true;
  }

  free(address: string): void {
    this.#used.delete(parseIpv4(address) - this.#cidr.base);
  }
}
