/** `GET /api/v1/read/{source_id}`: logs and measurements of a source in the order of their times. */
import type { RE2JS } from '@bufbuild/re2';
import type { MetricEnvelope } from '../metrics/envelopes.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { byTime, EARLIEST, parseQueryTime } from '../time.ts';
import { invalid } from './gateway-error.ts';
import type { Logs } from './logs.ts';
import type { Envelope } from './present.ts';

const MOST = 1000;
const DEFAULT_LIMIT = 100;
const TYPES = ['LOG', 'COUNTER', 'GAUGE', 'TIMER', 'EVENT'];

interface ReadQuery {
  start: string | undefined;
  end: string | undefined;
  limit: number;
  descending: boolean;
  types: ReadonlySet<string>;
  /** Of names of metrics; logs have none. */
  name: RE2JS | undefined;
}

export interface ReadSources {
  logs: Pick<Logs, 'read'>;
  metrics: Pick<Metrics, 'envelopes'>;
}

export async function readEnvelopes(
  sources: ReadSources,
  sourceId: string,
  query: URLSearchParams,
): Promise<Envelope[]> {
  const { start, end, limit, descending, types, name } = await parse(query);
  const lines =
    types.has('LOG') && name === undefined
      ? await sources.logs.read({
          sourceId,
          limit,
          descending,
          ...(start !== undefined && { startTime: start }),
          ...(end !== undefined && { endTime: end }),
        })
      : [];
  const measured = sources.metrics
    .envelopes(sourceId)
    .filter(
      ({ timestamp, message }) =>
        types.has(message.type) && timestamp >= (start ?? EARLIEST) && (end === undefined || timestamp < end),
    )
    .map((envelope) => named(envelope, name))
    .filter((envelope) => envelope !== undefined);
  if (measured.length === 0) return lines;
  const all: Envelope[] = [...lines, ...measured];
  all.sort(byTime);
  return (descending ? all.reverse() : all).slice(0, limit);
}

/** Of a gauge the metrics that match; nothing where none does. */
function named(envelope: MetricEnvelope, name: RE2JS | undefined): MetricEnvelope | undefined {
  if (name === undefined) return envelope;
  const { message } = envelope;
  if (message.type !== 'GAUGE') return name.test(message.name) ? envelope : undefined;
  const metrics = Object.fromEntries(Object.entries(message.metrics).filter(([key]) => name.test(key)));
  return Object.keys(metrics).length === 0 ? undefined : { ...envelope, message: { ...message, metrics } };
}

async function parse(query: URLSearchParams): Promise<ReadQuery> {
  const limitText = query.get('limit') ?? String(DEFAULT_LIMIT);
  if (!/^\d{1,9}$/.test(limitText) || Number(limitText) > MOST) {
    throw invalid(`limit is "${limitText}", expected 0 to ${MOST}`);
  }
  const start = timeOf(query, 'start_time');
  const end = timeOf(query, 'end_time');
  if (start !== undefined && end !== undefined && start > end) throw invalid('start_time is after end_time');
  const descending = query.get('descending') ?? 'false';
  if (!/^(true|false|1|0)$/.test(descending)) throw invalid(`descending is "${descending}", expected true or false`);
  const types = query.getAll('envelope_types').map((type) => type.toUpperCase());
  for (const type of types) {
    if (type !== 'ANY' && !TYPES.includes(type)) {
      throw invalid(`envelope_types has "${type}", expected LOG, COUNTER, GAUGE, TIMER, EVENT or ANY`);
    }
  }
  const some = types.filter((type) => type !== 'ANY');
  return {
    start,
    end,
    limit: Number(limitText) || DEFAULT_LIMIT,
    descending: descending === 'true' || descending === '1',
    types: new Set(some.length === 0 ? TYPES : some),
    name: await nameFilter(query.get('name_filter') ?? ''),
  };
}

async function nameFilter(pattern: string): Promise<RE2JS | undefined> {
  if (pattern === '') return undefined;
  const { RE2JS } = await import('@bufbuild/re2');
  try {
    return new RE2JS(pattern);
  } catch (error) {
    throw invalid(`Name filter must be a valid regular expression: ${(error as Error).message}`);
  }
}

export function timeOf(query: URLSearchParams, name: string): string | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  const time = parseQueryTime(text);
  if (time === undefined) throw invalid(`${name} is "${text}", expected nanoseconds since 1970`);
  return time;
}
