/**
 * Cloud Foundry's log-cache API over HTTP, as its gateway speaks it (`cf logs --recent` and `cf logs` poll it), and one
 * addition of ours:
 *
 *   GET /api/v1/read/{source_id}?start_time&end_time&limit&descending&envelope_types
 *   GET /api/v1/meta
 *   GET /api/v1/info
 *   GET /api/v1/follow/{source_id}?start_time   newline-delimited JSON, an envelope a line, without an end: first what is
 *       kept from `start_time` on (nanoseconds; absent: nothing), then what comes, with no gap and nothing twice. Empty
 *       lines keep the connection open.
 *
 * All but `info` need a bearer token. A source that the token may not read is not found, as in log-cache. Errors are the
 * gateway's: `{"error", "message", "code", "details"}` with gRPC's codes.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { LogEnvelope, Logs } from './logs.ts';
import { EARLIEST, fromMilliseconds, parseQueryTime } from './time.ts';

export interface LogCacheOptions {
  logs: Logs;
  /**
   * May the bearer of this token read the source's log? Rejects (or gives `undefined`) when the token is not valid. A
   * source of `*` asks whether it may read every log.
   */
  authorize(token: string, sourceId: string): Promise<boolean | undefined>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

/** Of the log cache whose API this is: clients choose their paths by it. */
const VERSION = '3.0.0';
const MOST = 1000;
const DEFAULT_LIMIT = 100;
const KEEP_ALIVE = 20_000;
/** What a slow reader of `follow` may leave unread; beyond it lines are dropped, counted, and told. */
const MOST_UNREAD = 4 * 1024 * 1024;

class GatewayError extends Error {
  readonly status: number;
  readonly grpc: number;
  constructor(status: number, grpc: number, message: string) {
    super(message);
    this.status = status;
    this.grpc = grpc;
  }
}

const notFound = (): GatewayError => new GatewayError(404, 5, 'Not Found');
const invalid = (message: string): GatewayError => new GatewayError(400, 3, message);

/** Handles every request of the log-cache host. */
export function createLogCache(options: LogCacheOptions): (request: IncomingMessage, response: ServerResponse) => void {
  const started = Date.now();
  return (request, response) => {
    answer(options, started, request, response).catch((error: unknown) => {
      if (!(error instanceof GatewayError)) options.log('error', 'A log request failed', { error: String(error) });
      if (response.headersSent) {
        response.destroy();
        return;
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
  // Clients that take this for a log cache before its version 2 leave `/api` out.
  const [, verb = '', encoded, ...more] = /^(?:\/api)?\/v1(\/.*)$/.exec(url.pathname)?.[1]?.split('/') ?? [];
  if (more.length > 0) throw notFound();
  if (request.method !== 'GET' && request.method !== 'HEAD') throw new GatewayError(501, 12, 'Method Not Allowed');
  if (verb === 'info' && encoded === undefined) {
    const uptime = String(Math.floor((Date.now() - started) / 1000));
    return send(response, 200, { version: VERSION, vm_uptime: uptime });
  }
  const token = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (token === undefined) throw new GatewayError(401, 16, 'A bearer token is needed: log in first');
  const allowed = async (sourceId: string): Promise<boolean> => {
    const verdict = await options.authorize(token, sourceId).catch(() => undefined);
    if (verdict === undefined) throw new GatewayError(401, 16, 'The token is not valid: log in again');
    return verdict;
  };
  if (verb === 'meta' && encoded === undefined) return send(response, 200, { meta: await meta(options.logs, allowed) });
  const sourceId = decode(encoded);
  if ((verb !== 'read' && verb !== 'follow') || sourceId === undefined || !(await allowed(sourceId))) throw notFound();
  if (verb === 'follow') return follow(options.logs, sourceId, url.searchParams, response);
  send(response, 200, { envelopes: { batch: await read(options.logs, sourceId, url.searchParams) } });
}

function decode(encoded: string | undefined): string | undefined {
  try {
    return encoded === undefined || encoded === '' ? undefined : decodeURIComponent(encoded);
  } catch {
    // A broken escape names no source.
    return undefined;
  }
}

async function meta(logs: Logs, allowed: (sourceId: string) => Promise<boolean>): Promise<Record<string, unknown>> {
  const everything = await allowed('*');
  const entries: [string, unknown][] = [];
  for (const { sourceId, count, expired, oldest = EARLIEST, newest = EARLIEST } of logs.summaries()) {
    if (!everything && !(await allowed(sourceId))) continue;
    const times = { oldestTimestamp: plain(oldest), newestTimestamp: plain(newest) };
    entries.push([sourceId, { count: String(count), expired: String(expired), ...times }]);
  }
  return Object.fromEntries(entries);
}

async function read(logs: Logs, sourceId: string, query: URLSearchParams): Promise<unknown[]> {
  const limitText = query.get('limit') ?? String(DEFAULT_LIMIT);
  if (!/^\d{1,9}$/.test(limitText) || Number(limitText) > MOST) {
    throw invalid(`limit is "${limitText}", expected 0 to ${MOST}`);
  }
  const startTime = timeOf(query, 'start_time');
  const endTime = timeOf(query, 'end_time');
  if (startTime !== undefined && endTime !== undefined && startTime > endTime) {
    throw invalid('start_time is after end_time');
  }
  const descending = query.get('descending') ?? 'false';
  if (!/^(true|false|1|0)$/.test(descending)) throw invalid(`descending is "${descending}", expected true or false`);
  const types = query.getAll('envelope_types').map((type) => type.toUpperCase());
  for (const type of types) {
    if (!['LOG', 'COUNTER', 'GAUGE', 'TIMER', 'EVENT', 'ANY'].includes(type)) {
      throw invalid(`envelope_types has "${type}", expected LOG, COUNTER, GAUGE, TIMER, EVENT or ANY`);
    }
  }
  // There are only logs here.
  if (types.length > 0 && !types.includes('LOG') && !types.includes('ANY')) return [];
  const envelopes = await logs.read({
    sourceId,
    limit: Number(limitText) || DEFAULT_LIMIT,
    descending: descending === 'true' || descending === '1',
    ...(startTime !== undefined && { startTime }),
    ...(endTime !== undefined && { endTime }),
  });
  return envelopes.map(present);
}

function timeOf(query: URLSearchParams, name: string): string | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  const time = parseQueryTime(text);
  if (time === undefined) throw invalid(`${name} is "${text}", expected nanoseconds since 1970`);
  return time;
}

async function follow(logs: Logs, sourceId: string, query: URLSearchParams, response: ServerResponse): Promise<void> {
  const startTime = timeOf(query, 'start_time');
  let waiting: LogEnvelope[] | undefined = [];
  let last = EARLIEST;
  let dropped = 0;
  const write = (envelopes: LogEnvelope[]): void => {
    const fresh = envelopes.filter(({ timestamp }) => timestamp > last);
    if (fresh.length === 0 || response.destroyed) return;
    last = fresh.at(-1)?.timestamp ?? last;
    if (response.writableLength > MOST_UNREAD) {
      dropped += fresh.length;
      return;
    }
    if (dropped > 0) {
      response.write(line(dropNotice(sourceId, dropped)));
      dropped = 0;
    }
    response.write(fresh.map((envelope) => line(present(envelope))).join(''));
  };
  const unsubscribe = logs.subscribe(sourceId, (envelopes) => {
    if (waiting === undefined) write(envelopes);
    else waiting.push(...envelopes);
  });
  const keepAlive = setInterval(() => response.write('\n'), KEEP_ALIVE);
  response.once('close', () => {
    unsubscribe();
    clearInterval(keepAlive);
  });
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' });
  response.flushHeaders();
  if (startTime !== undefined) write(await logs.read({ sourceId, startTime, limit: MOST }));
  const meanwhile = waiting;
  waiting = undefined;
  write(meanwhile);
}

function dropNotice(sourceId: string, dropped: number): unknown {
  return present({
    timestamp: fromMilliseconds(Date.now()),
    sourceId,
    instanceId: '0',
    sourceType: 'LGR',
    type: 'ERR',
    payload: Buffer.from(`${dropped} lines were dropped here: they came faster than they were read`),
  });
}

/** Numbers have no leading zeros in JSON's strings either. */
function plain(time: string): string {
  return time.replace(/^0+(?=\d)/, '');
}

function present(envelope: LogEnvelope): unknown {
  return {
    timestamp: plain(envelope.timestamp),
    source_id: envelope.sourceId,
    instance_id: envelope.instanceId,
    deprecated_tags: {},
    tags: { source_type: envelope.sourceType, instance_id: envelope.instanceId },
    log: { payload: envelope.payload.toString('base64'), type: envelope.type },
  };
}

function line(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length });
  response.end(bytes);
}
