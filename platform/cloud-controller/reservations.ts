/**
 * Unique names over a store that knows none: a `Reservation` named by the hash of what is unique is created before its
 * holder, and released after it. A process that dies between the two leaves a reservation without a holder; after a minute
 * anybody may take it over.
 */
import { createHash } from 'node:crypto';
import { orUndefined } from '#cluster/client/api-errors.ts';
import { ApiError, type Client } from '#cluster/client/client.ts';
import type { Stored } from '#cluster/kinds/kind.ts';
import { type Reservation, reservations } from '../resources/types.ts';

export interface Holder {
  resource: string;
  namespace?: string;
  name: string;
}

const ORPHAN_MILLISECONDS = 60_000;

export function reservationName(kind: string, parts: string[]): string {
  const key = JSON.stringify([kind, ...parts]);
  return `${kind}-${createHash('sha256').update(key).digest('hex').slice(0, 40)}`;
}

export class Reservations {
  readonly #client: Client;
  readonly #exists: (holder: Holder) => boolean;
  readonly #now: () => number;

  constructor(options: { client: Client; exists: (holder: Holder) => boolean; now?: () => number }) {
    this.#client = options.client;
    this.#exists = options.exists;
    this.#now = options.now ?? Date.now;
  }

  /** True when the holder has it now (or had it already); false when another one has. */
  async take(kind: string, parts: string[], holder: Holder): Promise<boolean> {
    const name = reservationName(kind, parts);
    const spec = { holder, key: [kind, ...parts].join('/') };
    for (let attempt = 0; attempt < 5; attempt++) {
      try {
        await this.#client.create(reservations, { metadata: { name }, spec });
        return true;
      } catch (error) {
        if (!(error instanceof ApiError) || error.reason !== 'AlreadyExists') throw error;
      }
      const current = await this.#read(name);
      if (!current) continue; // released meanwhile
      if (same(current.spec.holder, holder)) return true;
      if (!this.#isOrphan(current)) return false;
      try {
        await this.#client.update(reservations, { ...current, spec });
        return true;
      } catch (error) {
        if (!(error instanceof ApiError) || (error.reason !== 'Conflict' && error.code !== 404)) throw error;
      }
    }
    return false;
  }

  /** Gives it back; another holder's stays. */
  async release(kind: string, parts: string[], holder: Holder): Promise<void> {
    const current = await this.#read(reservationName(kind, parts));
    if (current && same(current.spec.holder, holder)) await this.#remove(current);
  }

  /** Removes those whose holder does not exist; run now and then. */
  async sweep(all: Stored<Reservation>[]): Promise<void> {
    for (const reservation of all) if (this.#isOrphan(reservation)) await this.#remove(reservation);
  }

  #isOrphan(reservation: Stored<Reservation>): boolean {
    const age = this.#now() - Date.parse(reservation.metadata.creationTimestamp);
    return age > ORPHAN_MILLISECONDS && !this.#exists(reservation.spec.holder);
  }

  async #read(name: string): Promise<Stored<Reservation> | undefined> {
    return await orUndefined(this.#client.get(reservations, name));
  }

  async #remove(reservation: Stored<Reservation>): Promise<void> {
    try {
      const { name, uid, resourceVersion } = reservation.metadata;
      await this.#client.delete(reservations, name, { preconditions: { uid, resourceVersion } });
    } catch (error) {
      if (!(error instanceof ApiError) || (error.code !== 404 && error.code !== 409)) throw error;
    }
  }
}

function same(left: Holder, right: Holder): boolean {
  return left.resource === right.resource && left.name === right.name;
}
