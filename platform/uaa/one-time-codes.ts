/**
 * One-time codes of the authorization endpoint for the platform's own ssh proxy, as `cf ssh` and `cf ssh-code` ask for them: with
 * an access token instead of a browser. In memory, for five minutes, bounded, the oldest goes first.
 */
import { randomBytes } from 'node:crypto';
import { BoundedMap } from '#lib/bounded-map.ts';
import type { Identity } from './uaa.ts';

const CODE_MILLISECONDS = 5 * 60_000;
const MOST = 10_000;

export class OneTimeCodes {
  readonly #now: () => number;
  readonly #codes = new BoundedMap<string, { identity: Identity; until: number }>(MOST);

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  issue(identity: Identity): string {
    const code = randomBytes(24).toString('hex');
    this.#codes.set(code, { identity, until: this.#now() + CODE_MILLISECONDS });
    return code;
  }

  /** Whose it is; it is used up. */
  redeem(code: string): Identity | undefined {
    const entry = this.#codes.get(code);
    this.#codes.delete(code);
    return entry && entry.until > this.#now() ? entry.identity : undefined;
  }
}
