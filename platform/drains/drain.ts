/** One app's log to one target: what waits, what was sent, and how often it is tried. */
import { setTimeout as delay } from 'node:timers/promises';
import type { LogEnvelope } from '../logs/logs.ts';
import type { DrainStatus, Format, Sender } from './drains.ts';

/** As many as Cloud Foundry's agents hold for a drain, and no more bytes than that. */
const MOST_WAITING = 10_000;
const MOST_BYTES = 8 * 1024 * 1024;
const FIRST_WAIT = 100;
const LAST_WAIT = 15_000;
/** Why a drain is not reached is said when it begins, and then not more often. */
const SAY_EVERY = 60_000;

export interface DrainOptions {
  app: string;
  /** For people: without what is secret. */
  target: string;
  format: Format;
  /** Made for each connection, as credentials may have changed. */
  sender(): Promise<Sender>;
  /** Into the app's log. */
  say(message: string): void;
}

export class Drain {
  readonly #options: DrainOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #waiting: LogEnvelope[] = [];
  #bytes = 0;
  #wake = Promise.withResolvers<void>();
  #sent = 0;
  #dropped = 0;
  #unsaid = 0;
  #error: string | undefined;
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: DrainOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  push(envelopes: LogEnvelope[]): void {
    for (const envelope of envelopes) {
      if (this.#waiting.length >= MOST_WAITING || this.#bytes >= MOST_BYTES) {
        const { missing = 1 } = envelope;
        this.#dropped += missing;
        this.#unsaid += missing;
        continue;
      }
      this.#waiting.push(envelope);
      this.#bytes += envelope.payload.length;
    }
    this.#wake.resolve();
  }

  status(): DrainStatus {
    const { app, target } = this.#options;
    const waiting = this.#waiting.length;
    return { app, target, sent: this.#sent, dropped: this.#dropped, waiting, error: this.#error };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake.resolve();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let sender: Sender | undefined;
    for (let wait = FIRST_WAIT; !signal.aborted; ) {
      if (this.#waiting.length === 0) {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
        continue;
      }
      let batch: LogEnvelope[] = [];
      try {
        sender ??= await this.#options.sender();
        batch = this.#waiting.splice(0, sender.batch);
        await sender.send(batch.map(this.#options.format));
        this.#sent += batch.length;
        for (const { payload } of batch) this.#bytes -= payload.length;
        this.#error = undefined;
        wait = FIRST_WAIT;
        this.#sayDropped();
      } catch (error) {
        sender?.close();
        sender = undefined;
        this.#waiting.unshift(...batch);
        if (signal.aborted) break;
        this.#sayError(error, wait);
        await delay(wait, undefined, { signal }).catch(() => undefined);
        wait = Math.min(LAST_WAIT, wait * 2);
      }
    }
    sender?.close();
  }

  #sayDropped(): void {
    if (this.#unsaid === 0) return;
    const lost = this.#unsaid;
    this.#unsaid = 0;
    this.#options.say(`${lost} messages lost in user provided syslog drain`);
  }

  #sayError(error: unknown, wait: number): void {
    this.#error = error instanceof Error ? error.message : String(error);
    if (Date.now() - this.#saidAt < SAY_EVERY) return;
    this.#saidAt = Date.now();
    this.#options.say(`failed to write to ${this.#options.target}, retrying in ${wait / 1000}s, err: ${this.#error}`);
  }
}
