/** A request over HTTPS as an exchange. */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBounded } from '#lib/read-bounded.ts';
import { StatusError } from './errors.ts';
import { BODY_LIMIT, type Exchange, type Responder, type User } from './exchange.ts';

export function httpExchange(
  request: IncomingMessage,
  response: ServerResponse,
  { user, impersonator }: { user: User; impersonator?: User | undefined },
): Exchange {
  const { path, query } = splitTarget(request.url ?? '/');
  const auditId = String(request.headers['audit-id'] || randomUUID());
  let body: Promise<Buffer> | undefined;
  return {
    method: request.method ?? 'GET',
    path,
    query,
    headers: request.headers,
    user,
    impersonator,
    sourceAddress: request.socket.remoteAddress,
    body: () => (body ??= readBody(request)),
    stream: () => request,
    responder: httpResponder(response, { 'audit-id': auditId }),
    warnings: [],
    auditId,
  };
}

export function splitTarget(target: string): { path: string; query: URLSearchParams } {
  const at = target.indexOf('?');
  if (at < 0) return { path: target, query: new URLSearchParams() };
  return { path: target.slice(0, at), query: new URLSearchParams(target.slice(at + 1)) };
}

export function tooLarge(): StatusError {
  return new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${BODY_LIMIT}`);
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  try {
    return await readLimited(request);
  } catch (error) {
    if (error instanceof StatusError && error.code === 413) await discardRest(request);
    throw error;
  }
}

/** A client that is still sending reads no answer, and loses it when the connection ends under what it sends. */
async function discardRest(request: IncomingMessage): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, DISCARD_WITHIN);
  let left = DISCARD_LIMIT;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) resolve();
  });
  for (const event of ['end', 'close', 'error']) request.once(event, () => resolve());
  request.resume();
  await promise;
  clearTimeout(timer);
}

async function readLimited(request: IncomingMessage): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > BODY_LIMIT) throw tooLarge();
  try {
    const chunks: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
    return await readBounded(chunks, BODY_LIMIT, tooLarge);
  } catch (cause) {
    if (cause instanceof StatusError) throw cause;
    throw new StatusError(400, 'BadRequest', 'the request ended before its body was complete', undefined, { cause });
  }
}

/** Bytes and milliseconds of what is read past a body's limit. */
const DISCARD_LIMIT = 32 * 1024 * 1024;
const DISCARD_WITHIN = 5000;

/** @param own  of every answer */
function httpResponder(response: ServerResponse, own: Record<string, string>): Responder {
  let always = own;
  return {
    always: (headers) => {
      always = { ...own, ...headers };
    },
    head: (status, headers) => {
      // An error that left a part of the body unread: the connection cannot be used again.
      if (status === 413) response.shouldKeepAlive = false;
      response.writeHead(status, { ...headers, ...always });
      // A watch's head must not wait for its first event.
      if (headers['content-length'] === undefined) response.flushHeaders();
    },
    write: (chunk) => response.write(chunk),
    end: (chunk) => {
      response.end(chunk);
    },
    destroy: () => {
      response.destroy();
    },
    readWithin: (milliseconds) => {
      response.setTimeout(milliseconds, () => response.destroy());
    },
    onDrain: (listener) => {
      response.on('drain', listener);
    },
    onClose: (listener) => {
      response.once('close', listener);
    },
    get started() {
      return response.headersSent;
    },
  };
}
