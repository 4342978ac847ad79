/**
 * Lines that are not in memory any more, or never were: read from the nodes' files when somebody asks for them.
 *
 * They get the same times as in memory, where lines of one time are told apart by the next free nanoseconds, as long as an app's
 * instances do not write within the same microsecond. What no instance wrote (of staging, router and API) is in memory only.
 */
import type { Client } from '#cluster/client/client.ts';
import { EARLIEST, next, toRfc3339 } from '../time.ts';
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
  const envelopes = read.flat().sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
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
