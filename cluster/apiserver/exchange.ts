/** One request and its response, whether they came over HTTPS or from inside the process. */
import { Readable } from 'node:stream';
import { createGzip, gzip } from 'node:zlib';
import type { Status } from '../kinds/types/meta.ts';
import type { StatusError } from './errors.ts';
import { isTrue } from './route.ts';

export interface User {
  name: string;
  /** Everybody that is known is in `system:authenticated`: see `authenticated`. */
  groups: string[];
  uid?: string;
  /** What the authenticator knows besides, as `authentication.kubernetes.io/pod-name`. */
  extra?: Record<string, string[]>;
}

export function authenticated(user: User): User {
  const { groups } = user;
  if (groups.includes('system:authenticated') || groups.includes('system:unauthenticated')) return user;
  return { ...user, groups: [...groups, 'system:authenticated'] };
}

export const ANONYMOUS: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };
export const BODY_LIMIT = 3 * 1024 * 1024;
/** Lists above this many bytes are compressed when the client can read it. */
const GZIP_THRESHOLD = 128 * 1024;
/** Longer answers go out in pieces of about this size, as the client takes them. */
const PIECE = 256 * 1024;
const WHOLE = 1024 * 1024;
/** In milliseconds: a client that takes nothing of its answer for so long is cut off. */
const READ_WITHIN = 60_000;

/** All warnings together; where they are longer each is cut. */
const WARNINGS_LIMIT = 4096;
const WARNING_LIMIT = 256;

/** Where a response goes. `write` tells whether more may follow at once; else `onDrain` is called when it may. */
export interface Responder {
  /** Headers of every answer, whatever it is. Before `head`. */
  always?(headers: Record<string, string>): void;
  head(status: number, headers: Record<string, string | string[]>): void;
  write(chunk: Uint8Array): boolean;
  end(chunk?: Uint8Array): void;
  /** Breaks the connection: the client sees an error, not an end. */
  destroy(): void;
  /** Breaks it too when the client takes nothing for so long. Undefined inside the process. */
  readWithin?(milliseconds: number): void;
  onDrain(listener: () => void): void;
  /** Called once, when the client went away or the response is complete. */
  onClose(listener: () => void): void;
  readonly started: boolean;
}

export interface Exchange {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Record<string, string | string[] | undefined>;
  user: User;
  body(): Promise<Buffer>;
  /** The body unread, for what hands it on; undefined inside the process. Instead of `body`, not besides it. */
  stream?: () => Readable;
  responder: Responder;
  /** Shown to the client as `Warning` headers. */
  warnings: string[];
  /** Further headers of the answer. */
  answerHeaders?: Record<string, string>;
  /** By which the client and the audit log know it: the client's own where it brings one. Undefined where no answer can say it. */
  auditId?: string;
  /** Where it came from; undefined inside the process. */
  sourceAddress?: string | undefined;
  /** Who acts as `user`. */
  impersonator?: User | undefined;
  /** What admission notes for the audit log. */
  annotations?: Map<string, string>;
}

export function header(exchange: Exchange, name: string): string {
  const value = exchange.headers[name];
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}

export function sendJson(exchange: Exchange, status: number, value: unknown): void {
  send(exchange, status, Buffer.from(`${JSON.stringify(value)}\n`));
}

export function send(exchange: Exchange, status: number, body: Buffer, contentType = 'application/json'): void {
  if (contentType === 'application/json') {
    if (wantsYaml(exchange)) return sendYaml(exchange, status, body);
    if (isTrue(exchange.query.get('pretty') ?? 'false')) body = pretty(body);
  }
  const headers: Record<string, string> = {
    'content-type': contentType,
    'cache-control': 'no-cache, private',
    ...warningHeaders(exchange),
    ...exchange.answerHeaders,
  };
  if (body.length > GZIP_THRESHOLD) exchange.responder.readWithin?.(READ_WITHIN);
  if (body.length > GZIP_THRESHOLD && wantsGzip(exchange)) {
    gzip(body, { level: 1 }, (error, compressed) => {
      if (error !== null) return exchange.responder.destroy();
      headers['content-encoding'] = 'gzip';
      headers['vary'] = 'Accept-Encoding';
      headers['content-length'] = String(compressed.length);
      exchange.responder.head(status, headers);
      exchange.responder.end(compressed);
    });
    return;
  }
  headers['content-length'] = String(body.length);
  exchange.responder.head(status, headers);
  exchange.responder.end(body);
}

/** As `send` of all together, and without it: an answer that is not read keeps nothing but the parts, which others have too. */
export function sendParts(exchange: Exchange, parts: readonly Buffer[]): void {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length <= WHOLE || wantsYaml(exchange) || exchange.query.has('pretty'))
    return send(exchange, 200, Buffer.concat(parts, length));
  const { responder } = exchange;
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'cache-control': 'no-cache, private',
    ...warningHeaders(exchange),
    ...exchange.answerHeaders,
  };
  const pieces = Readable.from(joined(parts), { objectMode: true });
  responder.readWithin?.(READ_WITHIN);
  responder.onClose(() => pieces.destroy());
  let source: Readable = pieces;
  if (wantsGzip(exchange)) {
    headers['content-encoding'] = 'gzip';
    headers['vary'] = 'Accept-Encoding';
    const compressor = createGzip({ level: 1 });
    responder.onClose(() => compressor.destroy());
    source = pieces.pipe(compressor);
  } else headers['content-length'] = String(length);
  responder.head(200, headers);
  source.on('data', (piece: Buffer) => {
    if (!responder.write(piece)) source.pause();
  });
  responder.onDrain(() => source.resume());
  source.on('end', () => responder.end());
  source.on('error', () => responder.destroy());
}

/** Many small writes cost more than the bytes. */
function* joined(parts: readonly Buffer[]): Generator<Buffer> {
  let [begin, length] = [0, 0];
  for (const [at, part] of parts.entries()) {
    length += part.length;
    if (length < PIECE) continue;
    yield Buffer.concat(parts.slice(begin, at + 1), length);
    [begin, length] = [at + 1, 0];
  }
  if (length > 0) yield Buffer.concat(parts.slice(begin), length);
}

function wantsGzip(exchange: Exchange): boolean {
  return /\bgzip\b/.test(header(exchange, 'accept-encoding'));
}

export function sendError(exchange: Exchange, error: StatusError): void {
  const retry = error.details?.retryAfterSeconds;
  if (retry !== undefined) exchange.answerHeaders = { 'retry-after': String(retry) };
  sendJson(exchange, error.code, error.status());
}

/** Asked for first; JSON is never far. */
export function wantsYaml(exchange: Exchange): boolean {
  return /^\s*application\/yaml/.test(header(exchange, 'accept'));
}

function sendYaml(exchange: Exchange, status: number, body: Buffer): void {
  // Loaded when somebody asks: no client of Kubernetes' own does.
  import('#lib/yaml/yaml.ts')
    .then(({ yamlOf }) => yamlOf(body))
    .then(
      (text) => send(exchange, status, text, 'application/yaml'),
      () => exchange.responder.destroy(),
    );
}

function pretty(body: Buffer): Buffer {
  return Buffer.from(`${JSON.stringify(JSON.parse(body.toString()), null, 2)}\n`);
}

export function success(details?: Status['details']): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    ...(details === undefined ? {} : { details }),
  };
}

function warningHeaders(exchange: Exchange): Record<string, string> {
  if (exchange.warnings.length === 0) return {};
  // RFC 7234 section 5.5; what a header cannot carry is left out.
  const texts = [...new Set(exchange.warnings)];
  const total = texts.reduce((sum, { length }) => sum + length, 0);
  const each = total > WARNINGS_LIMIT ? WARNING_LIMIT : total;
  const values = texts.slice(0, WARNINGS_LIMIT / WARNING_LIMIT).map((text) => {
    const safe = text.replace(/[^\x20-\x7e]/g, '').slice(0, each);
    return `299 - "${safe.replace(/[\\"]/g, '\\$&')}"`;
  });
  return { warning: values.join(', ') };
}
