/** Values for a time, so many and of so many bytes at most: what was asked for longest ago goes first. */
export class Cache<Value> {
  readonly #limits: { entries: number; bytes: number };
  readonly #now: () => number;
  /** In the order of their last use. */
  readonly #entries = new Map<string, { value: Value; until: number; bytes: number }>();
  #bytes = 0;

  constructor({ now = Date.now, ...limits }: { entries: number; bytes: number; now?: () => number }) {
    this.#limits = limits;
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    if (entry.until <= this.#now()) {
      this.#bytes -= entry.bytes;
      return undefined;
    }
    this.#entries.set(key, entry);
    return entry.value;
  }

  set(key: string, value: Value, { seconds, bytes }: { seconds: number; bytes: number }): void {
    this.#remove(key);
    this.#entries.set(key, { value, until: this.#now() + seconds * 1000, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#limits.entries && this.#bytes <= this.#limits.bytes) return;
      this.#remove(oldest);
    }
  }

  #remove(key: string): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}
