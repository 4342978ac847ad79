/** Host id ranges for sandboxes, one each, so that the root of one pod owns nothing of another's. */
import { EngineError } from '../engine.ts';

export class IdRanges {
  static readonly length = 65_536;
  readonly #first: number;
  readonly #count: number;
  readonly #used: Set<number>;
  #cursor = 0;

  constructor(range: { first: number; length: number }, used: Iterable<number> = []) {
    if (range.first % IdRanges.length !== 0 || range.first <= 0 || range.length < IdRanges.length) {
      throw new EngineError(
        'invalid',
        `idRange: ${range.first}+${range.length} must begin at a multiple of ${IdRanges.length} above 0 and hold at least one such range`,
      );
    }
    this.#first = range.first;
    this.#count = Math.floor(range.length / IdRanges.length);
    this.#used = new Set(used);
  }

  /** The first id of a free range; the one that was freed longest ago. */
  take(): number {
    for (let step = 0; step < this.#count; step += 1) {
      const slot = (this.#cursor + step) % this.#count;
      const first = this.#first + slot * IdRanges.length;
      if (this.#used.has(first)) continue;
      this.#used.add(first);
      this.#cursor = slot + 1;
      return first;
    }
    throw new EngineError(
      'exhausted',
      `all ${this.#count} id ranges are in use: remove sandboxes or give the engine a longer idRange`,
    );
  }

  free(first: number): void {
    this.#used.delete(first);
  }
}
