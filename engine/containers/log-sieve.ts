/** What stands between the bytes of a log and its reader: takes out what is too old, and what is above a limit, and counts that. */
import type { LogGap, LogLimit, LogRecord } from '../engine.ts';
import { type LogParser, preciseTime } from './log-format.ts';
import { LogLimiter } from './log-limit.ts';

/** From here on a piece may be left out as a whole: parsing each line of a flood would cost more than the flood. */
const largePiece = 16 * 1024;
/** What is older than this before the time asked for needs no look: the pieces of a long line are not that far apart. */
const longBefore = 1000;
/** The first line that is left out is said at once, and what follows not more often than this. */
const sayEvery = 1000;

export class LogSieve {
  readonly #parser: LogParser;
  readonly #limiter: LogLimiter | undefined;
  readonly #since: number;
  readonly #onGap: ((gap: LogGap) => void) | undefined;
  /** What was left out and is not said yet. */
  #gap: LogGap | undefined;
  #saidAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #time = '';
  #at = 0;

  constructor(
    parser: LogParser,
    {
      limit,
      since = Number.NEGATIVE_INFINITY,
      onGap,
    }: { limit: LogLimit | undefined; since: number | undefined; onGap: ((gap: LogGap) => void) | undefined },
  ) {
    this.#parser = parser;
    this.#limiter = limit && new LogLimiter(limit);
    this.#since = since;
    this.#onGap = onGap;
  }

  /** The records of this piece that pass. Some may be older than what was asked for. */
  *push(chunk: Buffer): Generator<LogRecord> {
    if (this.#limiter === undefined && this.#since === Number.NEGATIVE_INFINITY) return yield* this.#parser.push(chunk);
    if (chunk.length >= largePiece && this.#skips(chunk)) return;
    for (const record of this.#parser.push(chunk)) {
      const at = this.#millisecondsOf(record.time);
      const verdict = at < this.#since || (this.#limiter?.takes(at, record.line.length) ?? true);
      if (verdict === true) yield record;
      else this.#left(verdict, 1, record.time);
    }
  }

  #skips(chunk: Buffer): boolean {
    const span = this.#parser.span(chunk);
    if (span === undefined) return false;
    const last = this.#millisecondsOf(span.last);
    if (last < this.#since - longBefore) {
      this.#parser.skip(chunk);
      return true;
    }
    const first = this.#millisecondsOf(span.first);
    if (this.#limiter === undefined || first < this.#since || this.#limiter.spent(first) === false) return false;
    const reason = this.#limiter.spent(last);
    if (reason === false) return false;
    this.#left(reason, this.#parser.skip(chunk), span.last);
    return true;
  }

  /** Says what was left out and not said. */
  say(): void {
    if (this.#gap === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const gap = this.#gap;
    this.#gap = undefined;
    this.#saidAt = Date.now();
    this.#onGap?.(gap);
  }

  #left(reason: LogGap['reason'], lines: number, time: string): void {
    if (lines === 0) return;
    if (this.#gap !== undefined && this.#gap.reason !== reason) this.say();
    this.#gap = { reason, lines: (this.#gap?.lines ?? 0) + lines, time };
    const wait = this.#saidAt + sayEvery - Date.now();
    if (wait <= 0) this.say();
    // Perhaps nothing comes any more that it could be said before.
    else this.#timer ??= setTimeout(() => this.say(), wait).unref();
  }

  /** Many lines have one time. */
  #millisecondsOf(time: string): number {
    if (time !== this.#time) {
      this.#time = time;
      this.#at = preciseTime(time);
    }
    return this.#at;
  }

  /** Nothing is said any more. */
  close(): void {
    clearTimeout(this.#timer);
  }
}
