/**
 * Lines that are not in memory any more, or never were: read from the nodes' files when somebody asks for them.
 *
 * They get the same times as in memory, where lines of one time are told apart by the next free nanoseconds, as long as an app's
 * instances do not write within the same microsecond. What no instance wrote (of staging, router and API) is in memory only.
 */
import type { Client } from '#cluster/client/client.ts';
import { byTime, EARLIEST, next, toRfc3339 } from '../time.ts';
import { Cursor, LONGEST_GROUP, readLines, withoutCutGroup } from './lines.ts';
import type { LogEnvelope } from './logs.ts';

/** A container whose log a node keeps. */
export interface LogFile {
  pod: { name: string; namespace: string };
  container: string;
  previous: boolean;
  origin: Pick<LogEnvelope, 'sourceId' | 'instanceId' | 'sourceType'>;
}

export interface OlderQuery {
  files: LogFile[];
  /** Inclusive and exclusive, 19 digits. */
  start: string;
  end: string;
  limit: number;
  descending: boolean;
}

/** Lines of one time have been moved on by as much at most: a million nanoseconds. */
const MOVED = 1_000_000n;
const PATIENCE = 10_000;
/** The node's times are of milliseconds: so much of what is too late is read too. */
const LATE_LINES = 1000;

/** In the order asked for. A node that does not answer is left out, and told to `onError`. */
export async function readOlder(
  client: Client,
  query: OlderQuery,
  onError: (file: LogFile, error: unknown) => void,
): Promise<LogEnvelope[]> {
  const read = await Promise.all(
    query.files.map((file) =>
      readFile(client, file, query).catch((error: unknown) => {
        onError(file, error);
        return [];
      }),
    ),
  );
  const envelopes = read.flat().sort(byTime);
  let last = EARLIEST;
  for (const envelope of envelopes) {
    if (envelope.timestamp <= last) envelope.timestamp = next(last);
    last = envelope.timestamp;
  }
  const wanted = envelopes.filter(({ timestamp }) => timestamp >= query.start && timestamp < query.end);
  return query.descending ? wanted.slice(-query.limit).reverse() : wanted.slice(0, query.limit);
}

async function readFile(client: Client, file: LogFile, query: OlderQuery): Promise<LogEnvelope[]> {
  const stop = new AbortController();
  const tailLines = query.limit + LATE_LINES + LONGEST_GROUP;
  const since = BigInt(query.start) - MOVED;
  const body = await client.podLog(file.pod, {
    container: file.container,
    collect: true,
    ...(file.previous && { previous: true }),
    ...(since > 0n && { sinceTime: toRfc3339(String(since)) }),
    untilTime: toRfc3339(query.end),
    ...(query.descending && { tailLines }),
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE)]),
  });
  const envelopes: LogEnvelope[] = [];
  let enough = 0;
  try {
    await readLines(body, new Cursor(), (timestamp, stream, payload) => {
      if (stream === 'node') return;
      envelopes.push({ ...file.origin, timestamp, type: stream === 'stderr' ? 'ERR' : 'OUT', payload });
      if (timestamp >= query.start) enough += 1;
      if (!query.descending && enough > query.limit) stop.abort();
    });
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  return query.descending ? withoutCutGroup(envelopes, tailLines) : envelopes;
}

/** A client that goes through older lines asks for the next ones at once: so many are read at a time. */
const WINDOW_LINES = 20_000;
const WINDOW_MILLISECONDS = 15_000;

/** Older lines of one source, in growing order: each reading of a node's files serves many requests, one after the other. */
export class OlderWindow {
  #lines: LogEnvelope[] = [];
  /** What the lines cover: all that is known from here on, before there. */
  #from = '';
  #to = '';
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<unknown> = Promise.resolve();

  /** @param read  the lines from a time on, up to a number of them; all that there are where they are fewer */
  async range(
    { start, end, limit }: Pick<OlderQuery, 'start' | 'end' | 'limit'>,
    read: (start: string, limit: number) => Promise<LogEnvelope[]>,
  ): Promise<LogEnvelope[]> {
    // One at a time: the next one may find what it wants.
    const turn = this.#reading.then(async () => {
      if (this.#covers(start, end)) return;
      const lines = await read(start, WINDOW_LINES);
      this.#lines = lines;
      this.#from = start;
      this.#to = lines.length < WINDOW_LINES ? end : next(lines.at(-1)?.timestamp ?? start);
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.clear(), WINDOW_MILLISECONDS).unref();
    });
    this.#reading = turn.catch(() => undefined);
    await turn;
    const from = this.#position(start);
    return from < 0 ? [] : this.#lines.slice(from, from + limit).filter(({ timestamp }) => timestamp < end);
  }

  /** At its end it has nothing to give, though there may be something by now. */
  #covers(start: string, end: string): boolean {
    if (start < this.#from || start >= this.#to) return false;
    return this.#to >= end || this.#position(start) >= 0;
  }

  #position(start: string): number {
    return this.#lines.findIndex(({ timestamp }) => timestamp >= start);
  }

  /** Is everything known up to this time? */
  reaches(time: string): boolean {
    return this.#to >= time;
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#lines = [];
    this.#from = '';
    this.#to = '';
  }
}
