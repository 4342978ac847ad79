/**
 * The envelopes of one app: a ring bounded by lines and bytes, and whoever listens.
 *
 * Lines that come within a few milliseconds from different streams are put in the order of their times before they are
 * numbered. From then on times only grow: a line that is told late gets the next free time, so whoever reads on from the
 * last time that it saw misses nothing.
 */
import type { LogEnvelope } from './logs.ts';
import { EARLIEST, next } from './time.ts';

export const MOST_LINES = 1000;
/** A noisy app evicts its own lines only. */
export const MOST_BYTES = 1024 * 1024;
const SETTLE = 15;
const LOADING_PATIENCE = 3000;
/** While a backlog is read nothing is put in order yet; no more than this is kept waiting. */
const MOST_PENDING = 20_000;

export class Source {
  /** Envelopes that left the ring. */
  expired = 0;
  readonly #ring: LogEnvelope[] = [];
  #bytes = 0;
  #pending: LogEnvelope[] = [];
  #last = EARLIEST;
  #timer: NodeJS.Timeout | undefined;
  #loading = 0;
  #loaded: PromiseWithResolvers<void> | undefined;
  readonly #listeners = new Set<(envelopes: LogEnvelope[]) => void>();

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
    const envelopes = this.#pending.sort((a, b) =>
      a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0,
    );
    this.#pending = [];
    for (const envelope of envelopes) {
      if (envelope.timestamp <= this.#last) envelope.timestamp = next(this.#last);
      this.#last = envelope.timestamp;
      this.#ring.push(envelope);
      this.#bytes += envelope.payload.length;
    }
    let surplus = 0;
    while (this.#ring.length - surplus > MOST_LINES || this.#bytes > MOST_BYTES) {
      this.#bytes -= this.#ring[surplus]?.payload.length ?? 0;
      surplus++;
    }
    this.#ring.splice(0, surplus);
    this.expired += surplus;
    for (const listener of this.#listeners) listener(envelopes);
  }

  /** Oldest first, `start` inclusive, `end` exclusive. */
  range(start: string, end: string | undefined): LogEnvelope[] {
    this.#settleUnlessLoading();
    const from = this.#position(start);
    const to = end === undefined ? this.#ring.length : this.#position(end);
    return this.#ring.slice(from, Math.max(from, to));
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
    this.#ring.length = 0;
    this.#pending = [];
    this.#bytes = 0;
  }
}
