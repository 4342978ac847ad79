/** When a container is started again: at once after a long life, later and later where it keeps failing. */

const FIRST_MILLISECONDS = 100;
const LONGEST_MILLISECONDS = 60_000;
/** Who lived so long starts with a clean slate. */
const SETTLED_MILLISECONDS = 10_000;

interface Entry {
  count: number;
  delay: number;
  timer: NodeJS.Timeout | undefined;
  isStarting: boolean;
}

export class Restarts {
  readonly #entries = new Map<string, Entry>();
  readonly #start: (id: string) => Promise<void>;
  #closed = false;

  constructor(start: (id: string) => Promise<void>) {
    this.#start = start;
  }

  isWaiting(id: string): boolean {
    const entry = this.#entries.get(id);
    return entry !== undefined && (entry.timer !== undefined || entry.isStarting);
  }

  count(id: string): number {
    return this.#entries.get(id)?.count ?? 0;
  }

  schedule(id: string, livedMilliseconds: number): void {
    if (this.#closed) return;
    const entry = this.#entries.get(id) ?? { count: 0, delay: 0, timer: undefined, isStarting: false };
    if (entry.timer !== undefined) return;
    entry.delay =
      entry.delay === 0 || livedMilliseconds > SETTLED_MILLISECONDS
        ? FIRST_MILLISECONDS
        : Math.min(LONGEST_MILLISECONDS, entry.delay * 2);
    entry.timer = setTimeout(() => {
      entry.timer = undefined;
      entry.count += 1;
      entry.isStarting = true;
      void this.#start(id).finally(() => {
        entry.isStarting = false;
      });
    }, entry.delay);
    this.#entries.set(id, entry);
  }

  cancel(id: string): void {
    const entry = this.#entries.get(id);
    clearTimeout(entry?.timer);
    if (entry !== undefined) entry.timer = undefined;
  }

  forget(id: string): void {
    this.cancel(id);
    this.#entries.delete(id);
  }

  close(): void {
    this.#closed = true;
    for (const id of this.#entries.keys()) this.cancel(id);
  }
}
