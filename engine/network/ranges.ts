/** A network's range of one family: the wish for it, checked; and who has which address of it. */
import { EngineError } from '../engine.ts';
import type { AddressRange, RangeSpec } from '../networks.ts';
import type { Family } from './address-text.ts';
import { AddressPool, type Cidr, addressAt, contains, formatCidr, overlap, parseCidr } from './addresses.ts';

/** Where nobody can be addressed: this network, the loopback, groups; and of IPv6 what means something on one link only. */
const unusable: Readonly<Record<Family, readonly string[]>> = {
  4: ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3'],
  6: ['::/8', 'fe80::/10', 'ff00::/8'],
};
const prefixes = { 4: { shortest: 8, longest: 30 }, 6: { shortest: 16, longest: 126 } } as const;

export function checkSubnet(text: string, family: Family): Cidr {
  const cidr = parseCidr(text, family);
  const { shortest, longest } = prefixes[family];
  if (cidr.prefix < shortest || cidr.prefix > longest)
    throw new EngineError(
      'invalid',
      `invalid network config: invalid subnet ${text}: use a /${shortest} to a /${longest}`,
    );
  if (unusable[family].some((range) => overlap(parseCidr(range), cidr)))
    throw new EngineError('invalid', `invalid network config: invalid subnet ${text}: nobody can be addressed there`);
  return cidr;
}

export function describeRange(spec: RangeSpec, subnet: Cidr): AddressRange {
  const text = formatCidr(subnet);
  const inside = (what: string, address: string): string => {
    if (contains(subnet, address)) return address;
    throw new EngineError('invalid', `invalid network config: ${what} ${address} is not in the subnet ${text}`);
  };
  if (spec.range !== undefined) {
    const range = parseCidr(spec.range, subnet.family);
    inside('the first address of ip-range', addressAt(range, 0n));
    inside('the last address of ip-range', addressAt(range, range.size - 1n));
  }
  return {
    subnet: text,
    gateway: inside('the gateway', spec.gateway ?? addressAt(subnet, 1n)),
    ...(spec.range === undefined ? {} : { range: spec.range }),
    reserved: (spec.reserved ?? []).map((address) => inside('the auxiliary address', address)),
    chosen: spec.subnet !== undefined,
  };
}

export class Leases {
  readonly #subnet: Cidr;
  readonly #pool: AddressPool;

  constructor({ subnet, range, gateway, reserved }: AddressRange) {
    this.#subnet = parseCidr(subnet);
    this.#pool = new AddressPool(this.#subnet, {
      used: [gateway, ...reserved],
      range: range === undefined ? { ...this.#subnet, base: this.#subnet.base + 1n } : parseCidr(range),
      least: 4n,
    });
  }

  /** @param wish.ip must be kept, `preferredIp` may */
  lease({ ip, preferredIp }: { ip?: string; preferredIp?: string }, network: string): string {
    if (ip !== undefined) {
      if (!contains(this.#subnet, ip)) {
        throw new EngineError(
          'invalid',
          `invalid config for network ${network}: invalid endpoint settings:\nno configured subnet contains IP address ${ip}`,
        );
      }
      if (!this.#pool.claim(ip)) throw new EngineError('conflict', 'Address already in use');
      return ip;
    }
    const isGiven = preferredIp !== undefined && contains(this.#subnet, preferredIp) && this.#pool.claim(preferredIp);
    return isGiven ? preferredIp : this.#pool.take();
  }

  /** Of a sandbox of an earlier engine. */
  adopt(ip: string): void {
    this.#pool.claim(ip);
  }

  free(ip: string): void {
    this.#pool.free(ip);
  }
}
