/**
 * Cloud Foundry's log-cache API over HTTP, as its gateway speaks it (`cf logs --recent` and `cf logs` poll it, `cf tail`, `cf query`
 * and `cf log-meta` of its plugin), and two additions of ours:
 *
 *   GET /api/v1/read/{source_id}?start_time&end_time&limit&descending&envelope_types&name_filter
 *   GET /api/v1/meta
 *   GET /api/v1/info
 *   GET /api/v1/query?query&time                    PromQL, see `metrics/promql`
 *   GET /api/v1/query_range?query&start&end&step
 *   GET /api/v1/follow/{source_id}?start_time   newline-delimited JSON, an envelope a line, without an end: first what is
 *       kept from `start_time` on (nanoseconds; absent: nothing), then what comes, with no gap and nothing twice. Empty
 *       lines keep the connection open.
 *   GET /metrics                                    what is measured, for Prometheus: needs a token that reads everything
 *
 * All but `info` need a bearer token. A source that the token may not read is not found, as in log-cache. Errors are the
 * gateway's: `{"error", "message", "code", "details"}` with gRPC's codes; those of queries are Prometheus'.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Metrics } from '../metrics/metrics.ts';
import { prometheus } from '../metrics/prometheus.ts';
import { QueryError } from '../metrics/promql/errors.ts';
import { EARLIEST } from '../time.ts';
import { follow } from './follow.ts';
import { GatewayError, notFound } from './gateway-error.ts';
import type { Logs } from './logs.ts';
import { plain, present } from './present.ts';
import { readEnvelopes, timeOf } from './read.ts';

export interface LogCacheOptions {
  logs: Logs;
  metrics: Pick<Metrics, 'envelopes' | 'sources' | 'families'>;
  /**
   * May the bearer of this token read the source's log? Rejects (or gives `undefined`) when the token is not valid. A
   * source of `*` asks whether it may read every log.
   */
  authorize(token: string, sourceId: string): Promise<boolean | undefined>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

type Allowed = (sourceId: string) => Promise<boolean>;

/** Of the log cache whose API this is: clients choose their paths by it. */
const VERSION = '3.0.0';

/** Handles every request of the log-cache host. */
export function createLogCache(options: LogCacheOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const started = Date.now();
  return (request, response) => {
    answer(options, started, request, response).catch((error: unknown) => {
      if (!(error instanceof GatewayError || error instanceof QueryError)) {
        options.log('error', 'A log request failed', { error: String(error) });
      }
      if (response.headersSent) {
        response.destroy();
        return;
      }
      if (error instanceof QueryError) {
        return send(response, error.status, { status: 'error', errorType: error.type, error: error.message });
      }
      const { status, grpc, message } =
        error instanceof GatewayError ? error : new GatewayError(500, 13, 'The log could not be read');
      send(response, status, { error: message, message, code: grpc, details: [] });
    });
  };
}

async function answer(
  options: LogCacheOptions,
  started: number,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://log-cache');
  if (request.method !== 'GET' && request.method !== 'HEAD') throw new GatewayError(501, 12, 'Method Not Allowed');
  if (url.pathname === '/metrics') return exportMetrics(options, await authorized(options, request), response);
  // Clients that take this for a log cache before its version 2 leave `/api` out.
  const [, verb = '', encoded, ...more] = /^(?:\/api)?\/v1(\/.*)$/.exec(url.pathname)?.[1]?.split('/') ?? [];
  if (more.length > 0) throw notFound();
  if (verb === 'info' && encoded === undefined) {
    const uptime = String(Math.floor((Date.now() - started) / 1000));
    return send(response, 200, { version: VERSION, vm_uptime: uptime });
  }
  const allowed = await authorized(options, request);
  if (verb === 'meta' && encoded === undefined) return send(response, 200, { meta: await meta(options, allowed) });
  if ((verb === 'query' || verb === 'query_range') && encoded === undefined) {
    const { answerQuery } = await import('../metrics/promql/query.ts');
    return send(response, 200, await answerQuery({ verb, query: url.searchParams, allowed, metrics: options.metrics }));
  }
  const sourceId = decode(encoded);
  if ((verb !== 'read' && verb !== 'follow') || sourceId === undefined || !(await allowed(sourceId))) throw notFound();
  if (verb === 'follow') {
    return follow(options.logs, { sourceId, startTime: timeOf(url.searchParams, 'start_time') }, response);
  }
  const envelopes = await readEnvelopes(options, sourceId, url.searchParams);
  send(response, 200, { envelopes: { batch: envelopes.map(present) } });
}

/** Which sources the bearer of the request's token may read. */
async function authorized(options: LogCacheOptions, request: IncomingMessage): Promise<Allowed> {
  const token = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw new GatewayError(401, 16, 'A bearer token is needed: log in first');
  return async (sourceId) => {
    const verdict = await options.authorize(token, sourceId).catch(() => undefined);
    if (verdict === undefined) throw new GatewayError(401, 16, 'The token is not valid: log in again');
    return verdict;
  };
}

async function exportMetrics(options: LogCacheOptions, allowed: Allowed, response: ServerResponse): Promise<void> {
  if (!(await allowed('*'))) throw new GatewayError(403, 7, 'Only who reads everything may read the metrics');
  const bytes = Buffer.from(prometheus.write(options.metrics.families()));
  response.writeHead(200, { 'content-type': prometheus.contentType, 'content-length': bytes.length });
  response.end(bytes);
}

function decode(encoded: string | undefined): string | undefined {
  try {
    return encoded === undefined || encoded === '' ? undefined : decodeURIComponent(encoded);
  } catch {
    // A broken escape names no source.
    return undefined;
  }
}

async function meta({ logs, metrics }: LogCacheOptions, allowed: Allowed): Promise<Record<string, unknown>> {
  const everything = await allowed('*');
  const entries = new Map<string, { count: number; expired: number; oldest: string; newest: string }>();
  for (const { sourceId, count, expired, oldest = EARLIEST, newest = EARLIEST } of logs.summaries()) {
    entries.set(sourceId, { count, expired, oldest, newest });
  }
  for (const sourceId of metrics.sources()) {
    const envelopes = metrics.envelopes(sourceId);
    const times = envelopes.map(({ timestamp }) => timestamp);
    const entry = entries.get(sourceId);
    const known = entry !== undefined && entry.count > 0 ? [entry.oldest, entry.newest] : [];
    const all = [...times.slice(0, 1), ...times.slice(-1), ...known].sort();
    entries.set(sourceId, {
      count: (entry?.count ?? 0) + envelopes.length,
      expired: entry?.expired ?? 0,
      oldest: all[0] ?? EARLIEST,
      newest: all.at(-1) ?? EARLIEST,
    });
  }
  const result: Record<string, unknown> = {};
  for (const [sourceId, { count, expired, oldest, newest }] of entries) {
    if (!everything && !(await allowed(sourceId))) continue;
    const times = { oldestTimestamp: plain(oldest), newestTimestamp: plain(newest) };
    result[sourceId] = { count: String(count), expired: String(expired), ...times };
  }
  return result;
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length });
  response.end(bytes);
}
