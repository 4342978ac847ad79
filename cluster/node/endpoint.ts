/** The kubelet's HTTPS endpoint, for the API server alone: the paths are listed in `agent.ts`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { AgentOptions } from './agent.ts';
import { serveAttach, serveExec } from './endpoint-exec.ts';
import { serveForward } from './endpoint-forward.ts';
import { serveLogs } from './endpoint-logs.ts';
import { EndpointError } from './endpoint-target.ts';
import type { NodeContext } from './context.ts';
import { messageOf } from './errors.ts';
import type { PodWorkers } from './pods.ts';
import { StatsSummary } from './stats.ts';

const trustedClient = 'system:apiserver';

export interface EndpointOptions {
  context: NodeContext;
  workers: PodWorkers;
  port: number;
  tls: AgentOptions['tls'];
}

export interface Endpoint {
  port: number;
  close(): Promise<void>;
}

export async function startEndpoint({ context, workers, port, tls }: EndpointOptions): Promise<Endpoint> {
  const stats = new StatsSummary(context, workers);
  const upgraded = new Set<Duplex>();
  const server = createServer({
    cert: tls.certificate,
    key: tls.key,
    ca: tls.clientCa,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { path, query } = parse(request);
    if (path[0] === 'healthz') return void response.end('ok');
    requireApiServer(request);
    if (request.method !== 'GET') throw new EndpointError(405, `method ${request.method} is not allowed: use GET`);
    if (path[0] === 'containerLogs' && path.length === 4)
      return await serveLogs(context, workers, { path, query, response });
    if (path.join('/') === 'stats/summary') {
      response.setHeader('content-type', 'application/json');
      return void response.end(JSON.stringify(await stats.read()));
    }
    if (path[0] === 'exec' || path[0] === 'attach') {
      throw new EndpointError(400, `${path[0]} needs a WebSocket upgrade with v5.channel.k8s.io or v4.channel.k8s.io`);
    }
    if (path[0] === 'portForward') throw new EndpointError(400, 'portForward needs an upgrade to SPDY or WebSocket');
    throw new EndpointError(404, `no such path "/${path.join('/')}"`);
  };

  server.on('request', (request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (response.headersSent) return void response.destroy();
      response.statusCode = error instanceof EndpointError ? error.status : 500;
      response.setHeader('content-type', 'text/plain; charset=utf-8');
      response.end(`${messageOf(error)}\n`);
    });
  });

  const upgrade = async (request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> => {
    requireApiServer(request);
    const { path, query } = parse(request);
    if (path[0] === 'exec' && path.length === 4)
      await serveExec(context, workers, { path, query, request, socket, head });
    else if (path[0] === 'attach' && path.length === 4) {
      await serveAttach(context, workers, { path, query, request, socket, head });
    } else if (path[0] === 'portForward' && path.length === 3) {
      await serveForward(context, workers, { path, query, request, socket, head });
    } else throw new EndpointError(404, `no such path "/${path.join('/')}"`);
  };

  server.on('upgrade', (request, socket, head) => {
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
    socket.on('error', () => {}); // The peer went away; `close` follows.
    upgrade(request, socket, head).catch((error: unknown) => refuse(socket, error));
  });
  server.on('tlsClientError', (error) => context.log('warn', 'a client was refused', { error: messageOf(error) }));

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, () => resolve());
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of upgraded) socket.destroy();
      server.closeAllConnections();
      await closed;
    },
  };
}

function requireApiServer(request: IncomingMessage): void {
  const { CN: name } = (request.socket as TLSSocket).getPeerCertificate().subject ?? {};
  if (name !== trustedClient) {
    throw new EndpointError(403, `client "${String(name)}" may not use this endpoint: only ${trustedClient} may`);
  }
}

function parse(request: IncomingMessage): { path: string[]; query: URLSearchParams } {
  const url = new URL(request.url ?? '/', 'https://node');
  try {
    return { path: url.pathname.split('/').slice(1).map(decodeURIComponent), query: url.searchParams };
  } catch {
    throw new EndpointError(400, `the path "${url.pathname}" is not percent-encoded right`);
  }
}

function refuse(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return;
  const status = error instanceof EndpointError ? error.status : 500;
  const body = `${messageOf(error)}\n`;
  const head = [
    `HTTP/1.1 ${status} ${status < 500 ? 'Refused' : 'Error'}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}
