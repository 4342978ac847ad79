/**
 * The envelopes of one app: a ring bounded by bytes, and whoever listens.
 *
 * Lines that come within a few milliseconds from different streams are put in the order of their times before they are
 * numbered. From then on times only grow: a line that is told late gets the next free time, so whoever reads on from the
 * last time that it saw misses nothing.
 */
import type { LogEnvelope } from './logs.ts';
import { OlderWindow } from './older.ts';
import { byTime, EARLIEST, next } from '../time.ts';

/** A noisy app evicts its own lines: at 16,000 lines a second the last six seconds are here, so that clients that poll miss none. */
const MOST_BYTES = 32 * 1024 * 1024;
/** Of all sources together. */
const MOST_BYTES_OF_ALL = 64 * 1024 * 1024;
/** What an envelope takes besides its payload. */
const OVERHEAD = 200;
const SETTLE = 15;
const LOADING_PATIENCE = 3000;
/** While a backlog is read nothing is put in order yet; no more than this is kept waiting. */
const MOST_PENDING = 20_000;

/** What all sources have in memory. */
export class LogMemory {
  readonly #sources = new Set<Source>();
  bytes = 0;

  add(source: Source): void {
    this.#sources.add(source);
  }

  remove(source: Source): void {
    this.#sources.delete(source);
  }

  /** Of too much, the source that has most gives half of its own. */
  hold(): void {
    while (this.bytes > MOST_BYTES_OF_ALL) {
      let largest: Source | undefined;
      for (const source of this.#sources) if (source.bytes > (largest?.bytes ?? 0)) largest = source;
      if (largest === undefined) return;
      largest.shrink(largest.bytes / 2);
    }
  }
}

export class Source {
  /** Envelopes that left the ring. */
  expired = 0;
  /** Of the ring. */
  bytes = 0;
  /** Lines that are not in the ring, for who goes through them. */
  readonly older = new OlderWindow();
  /** The nodes have lines that were never read here. */
  hasOlder = false;
  readonly #memory: LogMemory;
  readonly #ring: LogEnvelope[] = [];
  #pending: LogEnvelope[] = [];
  #last = EARLIEST;
  #timer: NodeJS.Timeout | undefined;
  #loading = 0;
  #loaded: PromiseWithResolvers<void> | undefined;
  readonly #listeners = new Set<(envelopes: LogEnvelope[]) => void>();

  constructor(memory: LogMemory) {
    this.#memory = memory;
    memory.add(this);
  }

  push(envelope: LogEnvelope): void {
    this.#pending.push(envelope);
    if (this.#loading > 0) {
      if (this.#pending.length > MOST_PENDING) this.#settle();
    } else {
      this.#timer ??= setTimeout(() => this.#settleUnlessLoading(), SETTLE);
    }
  }

  /** A backlog is being read: what comes meanwhile waits, so that it is put in order with it. Call what it returns at the end. */
  load(): () => void {
    this.#loading++;
    this.#loaded ??= Promise.withResolvers();
    let done = false;
    const finish = (): void => {
      if (done) return;
      done = true;
      clearTimeout(late);
      this.#loading--;
      if (this.#loading > 0) return;
      this.#settle();
      this.#loaded?.resolve();
      this.#loaded = undefined;
    };
    // A node that does not answer holds up nobody else's lines.
    const late = setTimeout(finish, LOADING_PATIENCE);
    late.unref();
    return finish;
  }

  /** Resolves when no backlog is being read. */
  async loaded(): Promise<void> {
    await this.#loaded?.promise;
    this.#settleUnlessLoading();
  }

  #settle(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pending.length === 0) return;
    const envelopes = this.#pending.sort(byTime);
    this.#pending = [];
    let added = 0;
    for (const envelope of envelopes) {
      if (envelope.timestamp <= this.#last) envelope.timestamp = next(this.#last);
      this.#last = envelope.timestamp;
      this.#ring.push(envelope);
      added += envelope.payload.length + OVERHEAD;
    }
    this.bytes += added;
    this.#memory.bytes += added;
    if (this.bytes > MOST_BYTES) this.shrink(MOST_BYTES);
    this.#memory.hold();
    for (const listener of this.#listeners) listener(envelopes);
  }

  /** Drops the oldest until no more bytes than these are left. */
  shrink(bytes: number): void {
    let surplus = 0;
    let freed = 0;
    while (surplus < this.#ring.length && this.bytes - freed > bytes) {
      freed += (this.#ring[surplus]?.payload.length ?? 0) + OVERHEAD;
      surplus++;
    }
    this.#ring.splice(0, surplus);
    this.expired += surplus;
    this.bytes -= freed;
    this.#memory.bytes -= freed;
  }

  /** `start` inclusive, `end` exclusive; the first so many of them, in this order. */
  range(start: string, end: string | undefined, options: { limit: number; descending: boolean }): LogEnvelope[] {
    this.#settleUnlessLoading();
    const from = this.#position(start);
    const to = Math.max(from, end === undefined ? this.#ring.length : this.#position(end));
    if (!options.descending) return this.#ring.slice(from, Math.min(to, from + options.limit));
    return this.#ring.slice(Math.max(from, to - options.limit), to).reverse();
  }

  #settleUnlessLoading(): void {
    if (this.#loading === 0) this.#settle();
    else this.#timer = undefined;
  }

  /** Of the first envelope that is not before `time`. */
  #position(time: string): number {
    let low = 0;
    let high = this.#ring.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#ring[middle]?.timestamp ?? '') < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get oldest(): string | undefined {
    return this.#ring[0]?.timestamp;
  }

  get newest(): string | undefined {
    return this.#ring.at(-1)?.timestamp;
  }

  get count(): number {
    return this.#ring.length;
  }

  subscribe(listener: (envelopes: LogEnvelope[]) => void): () => void {
    this.#settleUnlessLoading();
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.shrink(0);
    this.older.clear();
    this.#pending = [];
    this.#memory.remove(this);
  }
}
