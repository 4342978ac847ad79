/**
 * How much of a container's log a reader takes, by the times at which lines were written: reading the same lines again, sooner
 * or later, leaves out the same ones but for the first second. A second's worth may come at once; what is above is left out.
 */
import type { LogLimit } from '../engine.ts';

/** While less than this share is there, what comes in large pieces is left out by the piece. */
const SPENT = 0.1;

export class LogLimiter {
  /** Of bytes and of lines. */
  readonly #rates: [number, number];
  /** What might pass at `#at`. */
  #left: [number, number];
  #at = Number.NEGATIVE_INFINITY;

  constructor({ bytesPerSecond = Number.POSITIVE_INFINITY, linesPerSecond = Number.POSITIVE_INFINITY }: LogLimit) {
    this.#rates = [bytesPerSecond, linesPerSecond];
    this.#left = [...this.#rates];
  }

  /** May a line of so many bytes pass, written at this time (milliseconds)? If not, which limit is in its way. */
  takes(at: number, bytes: number): true | 'bytes' | 'lines' {
    const [bytesLeft, linesLeft] = this.#leftAt(at);
    this.#left = [bytesLeft, linesLeft];
    this.#at = Math.max(this.#at, at);
    if (bytesLeft < bytes || this.#rates[0] === 0) return 'bytes';
    if (linesLeft < 1) return 'lines';
    this.#left = [bytesLeft - bytes, linesLeft - 1];
    return true;
  }

  /** Will so little be left at this time that lines need not be looked at one by one? Then which limit is reached. */
  spent(at: number): false | 'bytes' | 'lines' {
    const [bytesLeft, linesLeft] = this.#leftAt(at);
    if (bytesLeft < this.#rates[0] * SPENT || this.#rates[0] === 0) return 'bytes';
    return linesLeft < this.#rates[1] * SPENT && 'lines';
  }

  #leftAt(at: number): [number, number] {
    const seconds = Math.max(0, at - this.#at) / 1000;
    const refilled = (index: 0 | 1): number => {
      const rate = this.#rates[index];
      return rate === Number.POSITIVE_INFINITY ? rate : Math.min(rate, this.#left[index] + seconds * rate);
    };
    return [refilled(0), refilled(1)];
  }
}
