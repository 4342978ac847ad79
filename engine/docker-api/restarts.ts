/**
 * When a container is started again: at once after a long life, later and later where it keeps failing. How often it was is a small
 * file, so that `on-failure:3` means three also where the engine was started anew in between.
 */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

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
  readonly #directory: string;
  readonly #start: (id: string) => Promise<void>;
  #closed = false;

  /** @param directory  of the counts; files of containers that are not there any more are for `keepOnly` */
  constructor(directory: string, start: (id: string) => Promise<void>) {
    this.#directory = directory;
    this.#start = start;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Takes over the counts of these containers, and forgets those of others. */
  keepOnly(ids: ReadonlySet<string>): void {
    for (const id of readdirSync(this.#directory)) {
      // Cut short by a power failure, it is none.
      const count = Number(readFileSync(join(this.#directory, id), 'utf8'));
      if (!ids.has(id) || !Number.isSafeInteger(count)) rmSync(join(this.#directory, id), { force: true });
      else this.#entries.set(id, { count, delay: 0, timer: undefined, isStarting: false });
    }
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
      writeFileSync(join(this.#directory, id), String(entry.count), { mode: 0o600 });
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
    if (this.#entries.delete(id)) rmSync(join(this.#directory, id), { force: true });
  }

  close(): void {
    this.#closed = true;
    for (const id of this.#entries.keys()) this.cancel(id);
  }
}
