/**
 * How each route has answered within the last minute: its rate, its errors, and how long it took. Requests are counted in windows of ten
 * seconds, by buckets that grow by a fifth, so that a percentile is right to a tenth of itself, whatever it is.
 */
import { BoundedMap } from '#lib/bounded-map.ts';

export interface RouteUse {
  /** Within how many seconds: less than a minute while the platform has just started. */
  seconds: number;
  requests: number;
  /** Answered with 500 or above, or not at all. */
  errors: number;
  /** Milliseconds, of what was answered; undefined where nothing was. */
  p50?: number;
  p95?: number;
  p99?: number;
}

const WINDOW = 10_000;
const WINDOWS = 6;
/** Of routes that are gone as much is kept as makes no harm. */
const MOST_ROUTES = 20_000;
const GROWTH = 1.2;
/** The last one begins at about five minutes. */
const BUCKETS = 72;

interface Window {
  /** Which one since the epoch. */
  number: number;
  requests: number;
  errors: number;
  durations: Uint32Array;
}

export class RouteWindows {
  readonly #routes = new BoundedMap<string, Window[]>(MOST_ROUTES);
  readonly #now: () => number;
  readonly #since: number;

  constructor(now: () => number) {
    this.#now = now;
    this.#since = now();
  }

  /** @param milliseconds  undefined: a connection that went on as something else (WebSocket), which took as long as it was open */
  add(route: string, answer: { status: number; milliseconds: number | undefined }): void {
    const window = this.#current(route);
    window.requests++;
    if (answer.status >= 500 || answer.status <= 0) window.errors++;
    if (answer.milliseconds === undefined) return;
    const bucket = bucketOf(answer.milliseconds);
    window.durations[bucket] = (window.durations[bucket] ?? 0) + 1;
  }

  of(route: string): RouteUse {
    const now = this.#now();
    const oldest = Math.floor(now / WINDOW) - WINDOWS + 1;
    const windows = (this.#routes.get(route) ?? []).filter(({ number }) => number >= oldest);
    const begun = Math.max(this.#since, oldest * WINDOW);
    const durations = new Uint32Array(BUCKETS);
    const use: RouteUse = { seconds: Math.max(1, (now - begun) / 1000), requests: 0, errors: 0 };
    for (const window of windows) {
      use.requests += window.requests;
      use.errors += window.errors;
      for (const [bucket, count] of window.durations.entries()) durations[bucket] = (durations[bucket] ?? 0) + count;
    }
    const total = durations.reduce((sum, count) => sum + count, 0);
    if (total === 0) return use;
    const at = (share: number): number => percentile(durations, Math.ceil(total * share));
    return { ...use, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  }

  #current(route: string): Window {
    const number = Math.floor(this.#now() / WINDOW);
    const windows = this.#routes.get(route) ?? [];
    const last = windows.at(-1);
    if (last?.number === number) return last;
    const fresh = { number, requests: 0, errors: 0, durations: new Uint32Array(BUCKETS) };
    this.#routes.set(route, [...windows, fresh].slice(-WINDOWS));
    return fresh;
  }
}

/** The first one is for less than a millisecond, which the router does not measure. */
function bucketOf(milliseconds: number): number {
  if (milliseconds < 1) return 0;
  return Math.min(BUCKETS - 1, 1 + Math.floor(Math.log(milliseconds) / Math.log(GROWTH)));
}

/** The middle of the bucket in which the one of this rank lies. */
function percentile(durations: Uint32Array, rank: number): number {
  let seen = 0;
  for (const [bucket, count] of durations.entries()) {
    seen += count;
    if (seen >= rank) return bucket === 0 ? 0 : GROWTH ** (bucket - 0.5);
  }
  return 0;
}
