/**
 * Slows guessing down: after five failures in a row a name is locked for a while, doubling from 5 s to 15 min. Counted by
 * name whether the user exists or not, so that the answer does not tell; held in memory, bounded.
 */
import { BoundedMap } from '#lib/bounded-map.ts';

const FREE_FAILURES = 5;
const FIRST_DELAY = 5_000;
const LONGEST_DELAY = 15 * 60_000;
const FORGET_AFTER = 60 * 60_000;
const MAX_NAMES = 10_000;

export class Lockout {
  readonly #failures = new BoundedMap<string, { count: number; lockedUntil: number; at: number }>(MAX_NAMES);
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Milliseconds until the name may try again; 0 when it may now. */
  remaining(name: string): number {
    const entry = this.#failures.get(name.toLowerCase());
    return entry ? Math.max(0, entry.lockedUntil - this.#now()) : 0;
  }

  failed(name: string): void {
    const key = name.toLowerCase();
    const now = this.#now();
    const old = this.#failures.get(key);
    const count = old && now - old.at < FORGET_AFTER ? old.count + 1 : 1;
    const over = count - FREE_FAILURES;
    const lockedUntil = over < 0 ? 0 : now + Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** over);
    this.#failures.set(key, { count, lockedUntil, at: now });
  }

  succeeded(name: string): void {
    this.#failures.delete(name.toLowerCase());
  }
}
