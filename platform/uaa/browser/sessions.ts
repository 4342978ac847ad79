/**
 * Who is logged in with a browser, and the one-time codes that they were shown for a client without one. Both are kept in
 * memory: a restart logs browsers out, and their users log in again. Bounded, the oldest goes first.
 */
import { randomBytes } from 'node:crypto';
import { BoundedMap } from '#lib/bounded-map.ts';

const SESSION_MILLISECONDS = 30 * 60_000;
const PASSCODE_MILLISECONDS = 5 * 60_000;
const MOST = 10_000;
/** No letters that are taken for others. */
const ALPHABET = 'ABCDEFGHJKMNPQRSTVWXYZ23456789';
const PASSCODE_LENGTH = 12;

interface Entry {
  userId: string;
  until: number;
}

/** Somebody who is logged in with a browser. */
export interface Session extends Entry {
  /** When they said their password; seconds since the epoch. */
  authTime: number;
  /** Scopes by client that they have agreed to. */
  approved: Map<string, Set<string>>;
}

export class Sessions {
  readonly #now: () => number;
  readonly #sessions = new BoundedMap<string, Session>(MOST);
  readonly #passcodes = new BoundedMap<string, Entry>(MOST);

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** The value of its cookie. */
  open(userId: string): string {
    const id = randomBytes(32).toString('base64url');
    const until = this.#now() + SESSION_MILLISECONDS;
    this.#sessions.set(id, { userId, until, authTime: Math.floor(this.#now() / 1000), approved: new Map() });
    return id;
  }

  find(id: string | undefined): Session | undefined {
    return id === undefined ? undefined : this.#live(this.#sessions, id);
  }

  close(id: string | undefined): void {
    if (id !== undefined) this.#sessions.delete(id);
  }

  passcode(userId: string): string {
    // The alphabet's 30 letters leave 16 of 256 values that are drawn again, so that each is as likely.
    let code = '';
    while (code.length < PASSCODE_LENGTH) {
      for (const byte of randomBytes(PASSCODE_LENGTH)) {
        if (byte < 240 && code.length < PASSCODE_LENGTH) code += ALPHABET.charAt(byte % ALPHABET.length);
      }
    }
    this.#passcodes.set(code, { userId, until: this.#now() + PASSCODE_MILLISECONDS });
    return code;
  }

  /** Whose it is; it is used up. */
  redeem(passcode: string): string | undefined {
    const code = passcode.trim().toUpperCase();
    const entry = this.#live(this.#passcodes, code);
    this.#passcodes.delete(code);
    return entry?.userId;
  }

  #live<E extends Entry>(entries: Map<string, E>, key: string): E | undefined {
    const entry = entries.get(key);
    if (!entry) return undefined;
    if (entry.until > this.#now()) return entry;
    entries.delete(key);
    return undefined;
  }
}
