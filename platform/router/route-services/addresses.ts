/** Where the hosts of route services are: looked up when somebody asks for the first time, and again while somebody does. */
import { isIP, type LookupFunction } from 'node:net';
import { AddressRefused, type AddressGuard } from '#lib/guarded-address.ts';

const AGAIN_MILLISECONDS = 30_000;
/** That nobody has asked for since: forgotten. */
const UNASKED_ROUNDS = 4;

interface Known {
  addresses: readonly string[];
  /** Rounds since somebody asked. */
  unasked: number;
  problem?: string;
}

export interface AddressesOptions {
  guard: AddressGuard;
  /** Another address is known of something that was asked for. */
  onChange(): void;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export class Addresses {
  readonly #options: AddressesOptions;
  readonly #known = new Map<string, Known>();
  readonly #looking = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #closed = false;

  constructor(options: AddressesOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#round(), AGAIN_MILLISECONDS);
    this.#timer.unref();
  }

  /** What is known now; `onChange` tells when there is more. */
  of(host: string): readonly string[] {
    let known = this.#known.get(host);
    if (known === undefined) {
      known = { addresses: [], unasked: 0 };
      this.#known.set(host, known);
      this.#begin(host, known);
    }
    known.unasked = 0;
    return known.addresses;
  }

  /** Resolves when what was asked for until now was looked up, with or without success. */
  async settled(): Promise<void> {
    await Promise.all(this.#looking);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #round(): void {
    for (const [host, known] of this.#known) {
      known.unasked++;
      if (known.unasked > UNASKED_ROUNDS) this.#known.delete(host);
      else this.#begin(host, known);
    }
  }

  #begin(host: string, known: Known): void {
    const looked = this.#look(host, known).finally(() => this.#looking.delete(looked));
    this.#looking.add(looked);
  }

  async #look(host: string, known: Known): Promise<void> {
    let addresses: string[];
    try {
      addresses = await this.#addressesOf(host);
      delete known.problem;
    } catch (error) {
      const problem = String(error);
      if (known.problem !== problem) {
        this.#options.log('warn', 'A route service cannot be reached', { host, problem });
        known.problem = problem;
      }
      // Nobody may be led there any more; a name server that says nothing changes nothing.
      if (!(error instanceof AddressRefused)) return;
      addresses = [];
    }
    if (this.#closed || addresses.join() === known.addresses.join()) return;
    known.addresses = addresses;
    this.#options.onChange();
  }

  async #addressesOf(host: string): Promise<string[]> {
    const { guard } = this.#options;
    if (isIP(host) !== 0) {
      guard.check(host);
      return [host];
    }
    const found = await lookUp(guard.lookup, host);
    return [...new Set(found)].sort();
  }
}

function lookUp(lookup: LookupFunction, host: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => {
      if (error) return reject(error);
      resolve(typeof addresses === 'string' ? [addresses] : addresses.map(({ address }) => address));
    });
  });
}
