/** The transport for what runs in the server itself: the same handler, no socket. */
import { Readable } from 'node:stream';
import type { Transport, TransportRequest, TransportResponse, TransportSocket } from '../client/transport.ts';
import { openAgentSocket } from './agent-socket.ts';
import { type Exchange, BODY_LIMIT, type Responder, type User } from './exchange.ts';
import { type Handler, handle } from './handle.ts';
import { splitTarget, tooLarge } from './http-exchange.ts';
import { resolveStream } from './upgrade.ts';

export function inProcessTransport(handler: Handler, user: User, closed: AbortSignal): Transport {
  const own = new AbortController();
  const ended = AbortSignal.any([own.signal, closed]);
  return {
    request: (request) => send(handler, user, request, ended),
    openSocket: async (path, protocols, { signal } = {}): Promise<TransportSocket> => {
      const target = await resolveStream(handler, { method: 'GET', ...splitTarget(path), user, warnings: [] });
      return openAgentSocket(
        handler.core.agents,
        target,
        protocols,
        signal === undefined ? ended : AbortSignal.any([signal, ended]),
      );
    },
    close: () => own.abort(),
  };
}

function send(handler: Handler, user: User, request: TransportRequest, ended: AbortSignal): Promise<TransportResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<TransportResponse>();
  const signals = [ended, ...(request.signal === undefined ? [] : [request.signal])];
  for (const signal of signals)
    if (signal.aborted) return Promise.reject(new DOMException('The request was aborted', 'AbortError'));
  const responder = new MemoryResponder(resolve);
  const abort = () => {
    const error = new DOMException('The request was aborted', 'AbortError');
    reject(error);
    responder.body.destroy(error);
  };
  for (const signal of signals) signal.addEventListener('abort', abort);
  responder.onClose(() => {
    for (const signal of signals) signal.removeEventListener('abort', abort);
  });
  responder.broken = reject;
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) headers[name.toLowerCase()] = value;
  // Nothing is gained by compressing what never leaves the process.
  delete headers['accept-encoding'];
  const { path, query } = splitTarget(request.path);
  const exchange: Exchange = {
    method: request.method,
    path,
    query,
    headers,
    user,
    body: () => {
      const body = request.body ?? new Uint8Array();
      if (body.length > BODY_LIMIT) return Promise.reject(tooLarge());
      return Promise.resolve(Buffer.from(body.buffer, body.byteOffset, body.byteLength));
    },
    responder,
    warnings: [],
  };
  void handle(handler, exchange);
  return promise;
}

class MemoryResponder implements Responder {
  readonly body: Readable;
  started = false;
  broken: (error: Error) => void = () => undefined;
  private readonly respond: (response: TransportResponse) => void;
  private readonly drained: (() => void)[] = [];
  private full = false;

  constructor(respond: (response: TransportResponse) => void) {
    this.respond = respond;
    this.body = new Readable({
      highWaterMark: 256 * 1024,
      read: () => {
        if (!this.full) return;
        this.full = false;
        for (const listener of this.drained) listener();
      },
    });
    // Who aborts learns of it by the rejection or by the body's end; nobody else listens.
    this.body.on('error', () => undefined);
  }

  head(status: number, headers: Record<string, string | string[]>): void {
    this.started = true;
    const joined = Object.entries(headers).map(([name, value]) => [name, String(value)]);
    this.respond({ status, headers: Object.fromEntries(joined), body: this.body });
  }

  write(chunk: Uint8Array): boolean {
    if (this.body.destroyed) return true;
    this.full = !this.body.push(chunk);
    return !this.full;
  }

  end(chunk?: Uint8Array): void {
    if (this.body.destroyed) return;
    if (chunk !== undefined && chunk.length > 0) this.body.push(chunk);
    this.body.push(null);
  }

  destroy(): void {
    const error = new Error('the server broke the connection');
    this.broken(error);
    this.body.destroy(error);
  }

  onDrain(listener: () => void): void {
    this.drained.push(listener);
  }

  onClose(listener: () => void): void {
    this.body.once('close', listener);
  }
}
