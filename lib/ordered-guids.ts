import { randomBytes } from 'node:crypto';

/**
 * Guids whose order as text is the order in which they were made (RFC 9562, version 7), also within a millisecond and when
 * the clock goes back: a reader that has seen one misses none by asking for those after it.
 */
export class OrderedGuids {
  #milliseconds = 0;
  #count = 0;

  /** `last` was made before: all that come are after it. */
  constructor(last?: string) {
    const hex = (last ?? '').replaceAll('-', '');
    if (!/^[0-9a-f]{12}7[0-9a-f]{19}$/.test(hex)) return;
    this.#milliseconds = Number.parseInt(hex.slice(0, 12), 16);
    this.#count = Number.parseInt(hex.slice(13, 16), 16) + 1;
  }

  next(now: number = Date.now()): string {
    if (now > this.#milliseconds) {
      this.#milliseconds = now;
      this.#count = 0;
    } else if (this.#count > 0xfff) {
      this.#milliseconds += 1;
      this.#count = 0;
    }
    const time = this.#milliseconds.toString(16).padStart(12, '0');
    const count = this.#count.toString(16).padStart(3, '0');
    this.#count += 1;
    const rest = randomBytes(8).toString('hex');
    return `${time.slice(0, 8)}-${time.slice(8)}-7${count}-a${rest.slice(1, 4)}-${rest.slice(4)}`;
  }
}
