/**
 * One at a time for each key, in the order they came. Writes of one object would otherwise lose against each other and be
 * tried again, a round for each; the store's comparison of revisions stays what makes them right.
 */
export class KeyedLock {
  private readonly tails = new Map<string, Promise<void>>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.tails.get(key);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.tails.set(key, promise);
    try {
      await before;
      return await work();
    } finally {
      resolve();
      if (this.tails.get(key) === promise) this.tails.delete(key);
    }
  }
}
