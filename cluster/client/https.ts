/** The transport over the network: HTTPS with kept-alive connections, WebSockets by `ws`, loaded when the first is opened. */
import {
  Agent as HttpAgent,
  type ClientRequest,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { WebSocket } from 'ws';
import { errorFromAnswer } from './api-errors.ts';
import { readAll } from './json-lines.ts';
import { transportSocket } from './transport-socket.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

export interface HttpsTransportOptions {
  /** `https://host:port`, or `http://…` for a local proxy. A path is put before every request's. */
  url: string;
  /** PEM; absent: the system's own. */
  ca?: string;
  /** PEM, with `key`: who the client is. */
  certificate?: string;
  key?: string;
  /** Bearer token; a function is asked for each request. */
  token?: string | (() => Promise<string>);
  /** The name in the server's certificate when it is not the one in the URL. */
  serverName?: string;
}

/** A network that is back is not waited for as long as TCP would: it asks ever more seldom. */
const connectWithin = 10_000;
/** Longer than a server takes for anything but a watch or a stream. */
const answerWithin = 90_000;
/** A server sends a bookmark every minute to those who asked: a watch that is silent for longer has lost its peer. */
const watchSilence = 150_000;

function flatten(message: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return headers;
}

function dialed(request: ClientRequest, socket: Socket): void {
  if (!socket.connecting) return;
  const timer = setTimeout(() => {
    request.destroy(new Error(`no connection to the server within ${connectWithin / 1000} s`));
  }, connectWithin);
  for (const event of ['connect', 'close']) socket.once(event, () => clearTimeout(timer));
}

function isWatch({ path }: TransportRequest): boolean {
  return /[?&]watch=true(&|$)/.test(path);
}

export function httpsTransport(options: HttpsTransportOptions): Transport {
  const url = new URL(options.url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new TypeError(`API server URL ${JSON.stringify(options.url)}: use https://host:port`);
  }
  const secure = url.protocol === 'https:';
  const base = url.pathname.replace(/\/$/, '');
  const { ca, certificate: cert, key } = options;
  const tls = {
    // One for all connections: each would read the certificates anew, and keep them.
    ...(secure &&
      (ca || cert) && { secureContext: createSecureContext({ ...(ca && { ca }), ...(cert && { cert, key }) }) }),
    ...(options.serverName && { servername: options.serverName }),
  };
  const agentOptions = { keepAlive: true, keepAliveMsecs: 15_000, maxSockets: 256, scheduling: 'lifo' as const };
  const agent = secure ? new HttpsAgent({ ...agentOptions, ...tls }) : new HttpAgent(agentOptions);
  // Each watch has a connection for as long as it lasts: however many there are, other requests are not kept waiting.
  const watches = secure ? new HttpsAgent(tls) : new HttpAgent();
  const sockets = new Set<WebSocket>();

  async function authorization(): Promise<Record<string, string>> {
    if (!options.token) return {};
    return { authorization: `Bearer ${typeof options.token === 'function' ? await options.token() : options.token}` };
  }

  function send(request: TransportRequest, headers: Record<string, string>): Promise<TransportResponse> {
    return new Promise((resolve, reject) => {
      const settings: RequestOptions = {
        agent: isWatch(request) ? watches : agent,
        host: url.hostname.replace(/^\[|\]$/g, ''),
        port: url.port || (secure ? 443 : 80),
        method: request.method,
        path: base + request.path,
        headers,
        ...(request.signal && { signal: request.signal }),
      };
      const outgoing: ClientRequest = secure ? httpsRequest(settings) : httpRequest(settings);
      const silent = setTimeout(() => {
        outgoing.destroy(new Error(`the server did not answer within ${answerWithin / 1000} s`));
      }, answerWithin);
      outgoing.once('socket', (socket) => dialed(outgoing, socket));
      outgoing.once('close', () => clearTimeout(silent));
      outgoing.on('response', (incoming) => {
        clearTimeout(silent);
        if (isWatch(request)) {
          const lost = (): void =>
            void incoming.destroy(new Error(`the server was silent for ${watchSilence / 1000} s`));
          incoming.setTimeout(watchSilence, lost);
        }
        resolve({ status: incoming.statusCode ?? 0, headers: flatten(incoming), body: incoming });
      });
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        // The server closed an idle connection as we took it. A read may simply be sent again.
        if (request.method === 'GET' && outgoing.reusedSocket && error.code === 'ECONNRESET') {
          send(request, headers).then(resolve, reject);
        } else {
          reject(error);
        }
      });
      outgoing.end(request.body);
    });
  }

  return {
    async request(request) {
      return send(request, { ...request.headers, ...(await authorization()) });
    },
    async openSocket(path, protocols, { signal } = {}) {
      const [{ WebSocket: Socket }, headers] = await Promise.all([import('ws'), authorization()]);
      signal?.throwIfAborted();
      const target = `${secure ? 'wss' : 'ws'}://${url.host}${base}${path}`;
      const socket = new Socket(target, protocols, {
        ...tls,
        headers,
        perMessageDeflate: false,
        handshakeTimeout: answerWithin,
      });
      const abort = (): void => socket.terminate();
      signal?.addEventListener('abort', abort);
      sockets.add(socket);
      socket.on('close', () => {
        signal?.removeEventListener('abort', abort);
        sockets.delete(socket);
      });
      // Messages may follow the handshake at once: listen before it is done.
      const wrapped = transportSocket(socket);
      await new Promise<void>((resolve, reject) => {
        socket.on('open', resolve);
        socket.on('error', reject);
        socket.on('unexpected-response', (_request, response: IncomingMessage) => {
          readAll(response)
            .then((body) => reject(errorFromAnswer(response.statusCode ?? 0, body, `GET ${path}`)), reject)
            .finally(() => socket.terminate());
        });
      });
      return wrapped;
    },
    close() {
      agent.destroy();
      watches.destroy();
      for (const socket of sockets) socket.terminate();
    },
  };
}
