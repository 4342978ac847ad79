/** Addresses of Services of one family: which are of the range, and which is given next. */
import { type IpRange, addressOfRange, parseIpRange, rangeSize, rangesOverlap } from '#lib/ip-range.ts';

/** The shortest and the longest prefix of either family. A range of IPv6 is as small as one of IPv4 may be large. */
const prefixes = { 4: { shortest: 8, longest: 30 }, 6: { shortest: 104, longest: 126 } } as const;

export class ServiceRange {
  readonly #range: IpRange;
  readonly text: string;
  #next = 0n;

  /** @param family  the only one that will do */
  constructor(text: string, family: 4 | 6) {
    const range = parseIpRange(text);
    const { shortest, longest } = prefixes[family];
    if (range?.family !== family || range.bits < shortest || range.bits > longest || !text.includes('/')) {
      const example = family === 4 ? '10.96.0.0/16' : 'fd00:96::/112';
      throw new RangeError(
        `serviceCidr "${text}" must be an IPv${family} range of /${shortest} to /${longest}, as "${example}"`,
      );
    }
    this.#range = range;
    this.text = text;
  }

  get family(): 'IPv4' | 'IPv6' {
    return `IPv${this.#range.family}`;
  }

  /** Kept for the API itself. */
  get first(): string {
    return addressOfRange(this.#range, 1n);
  }

  has(address: string): boolean {
    const found = parseIpRange(address);
    return found !== undefined && rangesOverlap(found, this.#range);
  }

  /** In turn, that an address rests a while before it is given again. The first is kept for the API, the last is broadcast. */
  free(taken: ReadonlySet<string>): string | undefined {
    const count = rangeSize(this.#range) - 3n;
    for (let tries = 0n; tries < count; tries++) {
      const address = addressOfRange(this.#range, 2n + (this.#next++ % count));
      if (!taken.has(address)) return address;
    }
    return undefined;
  }
}
