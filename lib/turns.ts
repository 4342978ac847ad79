/** Work that must not overlap: one after the other, in the order in which it was given. What fails does not stop what comes next. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** As `work` resolves or rejects, when everything given before it has ended. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return await result;
  }

  /** When everything given so far has ended, however. */
  async settled(): Promise<void> {
    await this.#last;
  }
}

/** The same for each of many things; of those that are at rest nothing is kept. */
export class TurnsByKey {
  readonly #lasts = new Map<string, Promise<unknown>>();

  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const result = (this.#lasts.get(key) ?? Promise.resolve()).then(work);
    const settled = result.catch(() => {});
    this.#lasts.set(key, settled);
    try {
      return await result;
    } finally {
      if (this.#lasts.get(key) === settled) this.#lasts.delete(key);
    }
  }

  /** When everything given so far has ended, of one key or of all. */
  async settled(key?: string): Promise<void> {
    await (key === undefined ? Promise.all(this.#lasts.values()) : this.#lasts.get(key));
  }
}
