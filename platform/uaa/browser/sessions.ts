/**
 * Who is logged in with a browser, and the one-time codes that they were shown for a client without one. Both are kept in
 * memory: a restart logs browsers out, and their users log in again. Bounded, the oldest goes first.
 */
import { randomBytes } from 'node:crypto';

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

export class Sessions {
  readonly #now: () => number;
  readonly #sessions = new Map<string, Entry>();
  readonly #passcodes = new Map<string, Entry>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** The value of its cookie. */
  open(userId: string): string {
    const id = randomBytes(32).toString('base64url');
    this.#keep(this.#sessions, id, { userId, until: this.#now() + SESSION_MILLISECONDS });
    return id;
  }

  userOf(id: string | undefined): string | undefined {
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
    this.#keep(this.#passcodes, code, { userId, until: this.#now() + PASSCODE_MILLISECONDS });
    return code;
  }

  /** Whose it is; it is used up. */
  redeem(passcode: string): string | undefined {
    const code = passcode.trim().toUpperCase();
    const userId = this.#live(this.#passcodes, code);
    this.#passcodes.delete(code);
    return userId;
  }

  #live(entries: Map<string, Entry>, key: string): string | undefined {
    const entry = entries.get(key);
    if (!entry) return undefined;
    if (entry.until > this.#now()) return entry.userId;
    entries.delete(key);
    return undefined;
  }

  #keep(entries: Map<string, Entry>, key: string, entry: Entry): void {
    entries.set(key, entry);
    if (entries.size <= MOST) return;
    const oldest = entries.keys().next();
    if (!oldest.done) entries.delete(oldest.value);
  }
}
