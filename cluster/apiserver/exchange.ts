/** One request and its response, whether they came over HTTPS or from inside the process. */
import { gzip } from 'node:zlib';
import type { Status } from '../kinds/types/meta.ts';
import { badRequest, StatusError } from './errors.ts';

export interface User {
  name: string;
  groups: string[];
}

export const ANONYMOUS: User = { name: 'system:anonymous', groups: ['system:unauthenticated'] };
export const BODY_LIMIT = 3 * 1024 * 1024;
/** Lists above this many bytes are compressed when the client can read it. */
const GZIP_THRESHOLD = 128 * 1024;

/** Where a response goes. `write` tells whether more may follow at once; else `onDrain` is called when it may. */
export interface Responder {
  head(status: number, headers: Record<string, string>): void;
  write(chunk: Uint8Array): boolean;
  end(chunk?: Uint8Array): void;
  /** Breaks the connection: the client sees an error, not an end. */
  destroy(): void;
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
  responder: Responder;
  /** Shown to the client as `Warning` headers. */
  warnings: string[];
}

export function header(exchange: Exchange, name: string): string {
  const value = exchange.headers[name];
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}

export function sendJson(exchange: Exchange, status: number, value: unknown): void {
  send(exchange, status, Buffer.from(`${JSON.stringify(value)}\n`));
}

export function send(exchange: Exchange, status: number, body: Buffer, contentType = 'application/json'): void {
  const headers: Record<string, string> = {
    'content-type': contentType,
    'cache-control': 'no-cache, private',
    ...warningHeaders(exchange),
  };
  if (body.length > GZIP_THRESHOLD && /\bgzip\b/.test(header(exchange, 'accept-encoding'))) {
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

export function sendError(exchange: Exchange, error: StatusError): void {
  sendJson(exchange, error.code, error.status());
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
  const values = exchange.warnings.slice(0, 16).map((text) => {
    const safe = text.replace(/[^\x20-\x7e]/g, '').slice(0, 512);
    return `299 - "${safe.replace(/[\\"]/g, '\\$&')}"`;
  });
  return { warning: values.join(', ') };
}

/** The body as a JSON object. Throws 400 that says where it is malformed. */
export async function readJson(exchange: Exchange): Promise<Record<string, unknown>> {
  const body = await exchange.body();
  const type = header(exchange, 'content-type').split(';')[0]?.trim() ?? '';
  if (type === PROTOBUF) return parseProtobuf(body);
  if (type.includes('protobuf') || type.includes('cbor')) throw unknownFormat(type);
  return objectIn(type.includes('yaml') ? await parseYaml(body) : parseJson(body));
}

const PROTOBUF = 'application/vnd.kubernetes.protobuf';

function unknownFormat(type: string): StatusError {
  return new StatusError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, ${PROTOBUF}; got ${type}`,
  );
}

async function parseProtobuf(body: Buffer): Promise<Record<string, unknown>> {
  const { decodeProtobuf, ProtobufError } = await import('../kinds/protobuf.ts');
  try {
    return decodeProtobuf(body);
  } catch (cause) {
    if (cause instanceof ProtobufError) throw badRequest(`the request body cannot be read: ${cause.message}`);
    throw cause;
  }
}

/** The body in whatever encoding it is in, or nothing when there is none. */
export async function readOptional(exchange: Exchange): Promise<Record<string, unknown>> {
  const body = await exchange.body();
  if (body.length === 0) return {};
  return header(exchange, 'content-type').startsWith(PROTOBUF) ? parseProtobuf(body) : objectIn(await parseYaml(body));
}

export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch (cause) {
    throw badRequest(`the request body is not valid JSON: ${(cause as Error).message}`);
  }
}

/** YAML, of which JSON is a part: tried first, since it is much faster. */
export async function parseYaml(body: Buffer): Promise<unknown> {
  try {
    return JSON.parse(body.toString());
  } catch {
    const { parse } = await import('yaml');
    try {
      return parse(body.toString(), { maxAliasCount: 50 });
    } catch (cause) {
      throw badRequest(`the request body is not valid YAML: ${(cause as Error).message}`);
    }
  }
}

export function objectIn(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw badRequest('the request body must be an object');
}
