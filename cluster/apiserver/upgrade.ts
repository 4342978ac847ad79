/**
 * Connections that change their protocol: exec, attach and port-forward, whose bytes are piped to the node's agent after the checks,
 * and those of pods and services through their proxies. Logs and watches over a WebSocket are answered as any request.
 */
import type { IncomingMessage } from 'node:http';
import { connect as connectPlain, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { admitConnect } from './admission/connect.ts';
import { placeOf as remotePlace } from './aggregation/hand-on.ts';
import { observe } from './audit/observe.ts';
import { authenticate, type Identity, PROTOCOL_TOKEN } from './authenticate.ts';
import { authorize } from './authorize.ts';
import type { StatusError } from './errors.ts';
import { noSuchPath } from './errors.ts';
import type { Exchange } from './exchange.ts';
import { type Handler, handle } from './handle.ts';
import { splitTarget } from './http-exchange.ts';
import { type AgentTarget, streamTarget } from './pod-streams.ts';
import { parseResourcePath } from './route.ts';
import { asStatusError } from './update.ts';
import { isMessageStream, webSocketExchange } from './websocket-exchange.ts';
import { isWorkloadProxy, placeOf, unreachable } from './workload-proxy.ts';

/** In milliseconds: until whom a connection leads to must have taken it, and from when silence is looked into. */
const CONNECT_TIMEOUT = 30_000;
const KEEP_ALIVE = 30_000;

/** Of an exchange, what is left of it without an answer. */
type Asked = Pick<Exchange, 'method' | 'path' | 'query' | 'user' | 'annotations' | 'warnings'>;

/** Which agent, and which path on it. Throws what is answered instead. */
export async function resolveStream({ core }: Handler, asked: Asked): Promise<AgentTarget> {
  const request = parseResourcePath(asked.method, asked.path, asked.query);
  if (request?.resource !== 'pods' || request.group !== '' || !/^(exec|attach|portforward)$/.test(request.subresource))
    throw noSuchPath();
  // Reading a pod is not the right to run a command in it: a GET that upgrades counts as a create.
  authorize(core, asked, { ...request, verb: 'create' });
  await admitConnect(core, asked, request);
  return streamTarget(core, request, asked.query);
}

export async function upgrade(handler: Handler, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  client.on('error', () => client.destroy());
  try {
    const identity = await authenticate(request, handler);
    if (isMessageStream(handler.core, request))
      return await handle(handler, await webSocketExchange(request, client, head, identity));
    const asked = noted(handler, request, identity);
    const note = (code: number): void => {
      asked.responder.head(code, {});
      asked.responder.end();
    };
    try {
      const destination =
        aggregated(handler, asked) ?? (await workload(handler, asked)) ?? (await agent(handler, asked));
      await pipe(destination, request, client, head);
      note(101);
    } catch (error) {
      note(asStatusError(error).code);
      throw error;
    }
  } catch (error) {
    refuseUpgrade(client, asStatusError(error));
  }
}

/** Where the client's bytes go. */
interface Destination {
  open(): Socket;
  /** That says that it is open. */
  opened: 'connect' | 'secureConnect';
  authority: string;
  path: string;
  /** Besides those that came. */
  headers?: Record<string, string | string[]>;
  unreachable(cause: Error): StatusError;
}

async function agent(handler: Handler, asked: Asked): Promise<Destination> {
  const { agents } = handler.core;
  const { address, path } = await resolveStream(handler, asked);
  return {
    open: () => connect({ ...agents.tls(address), host: address.host, port: address.port }),
    opened: 'secureConnect',
    authority: `${address.host}:${address.port}`,
    path,
    unreachable: (cause) => agents.unreachable(address, cause),
  };
}

/** Undefined where it is no proxy's path. */
async function workload({ core }: Handler, asked: Asked): Promise<Destination | undefined> {
  const request = parseResourcePath(asked.method, asked.path, asked.query);
  if (request === undefined || !isWorkloadProxy(request)) return undefined;
  authorize(core, asked, request);
  await admitConnect(core, asked, request);
  const { secure, host, port, authority, path } = placeOf(core, request, asked.path);
  return {
    open: () => (secure ? connect({ host, port, rejectUnauthorized: false }) : connectPlain({ host, port })),
    opened: secure ? 'secureConnect' : 'connect',
    authority,
    path: withQuery(path, asked),
    unreachable,
  };
}

/** Undefined where the path is no other API server's. */
function aggregated({ core }: Handler, asked: Asked): Destination | undefined {
  const request = parseResourcePath(asked.method, asked.path, asked.query);
  const api = request && core.aggregation.find(request.group, request.version);
  if (request === undefined || api === undefined) return undefined;
  authorize(core, asked, request);
  const { host, port, authority, path, headers, tls } = remotePlace(core, api, asked);
  return {
    open: () => connect({ ...tls, host, port }),
    opened: 'secureConnect',
    authority,
    path: withQuery(path, asked),
    headers,
    unreachable,
  };
}

function withQuery(path: string, { query }: Asked): string {
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

/** In the audit log a stream is one event, when it began or was refused. */
function noted({ audit }: Handler, request: IncomingMessage, identity: Identity): Exchange {
  const nothing = () => undefined;
  const responder = {
    head: nothing,
    write: () => true,
    end: nothing,
    destroy: nothing,
    onDrain: nothing,
    onClose: nothing,
    started: false,
  };
  const exchange: Exchange = {
    method: request.method ?? 'GET',
    ...splitTarget(request.url ?? '/'),
    headers: request.headers,
    ...identity,
    sourceAddress: request.socket.remoteAddress,
    body: () => Promise.resolve(Buffer.alloc(0)),
    responder,
    warnings: [],
  };
  return audit === undefined ? exchange : observe(audit, exchange);
}

function pipe(destination: Destination, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    // It went away while the checks were made: nothing would tell of it any more.
    if (client.destroyed) return resolve();
    const socket = destination.open();
    let open = false;
    socket.setTimeout(CONNECT_TIMEOUT, () => socket.destroy(new Error(`${destination.authority} does not answer`)));
    socket.on('error', (error) => {
      if (open) client.destroy();
      else reject(destination.unreachable(error));
    });
    client.on('close', () => socket.destroy());
    socket.on(destination.opened, () => {
      open = true;
      socket.setTimeout(0);
      // Of a node that lost its power nothing comes any more, no end either.
      socket.setKeepAlive(true, KEEP_ALIVE);
      socket.write(requestHead(request, destination));
      if (head.length > 0) socket.write(head);
      socket.pipe(client);
      client.pipe(socket);
      resolve();
    });
    socket.on('close', () => {
      if (open) client.destroy();
      // Else the client is told why, and may not be cut off before.
      else reject(destination.unreachable(new Error('the connection was closed before it was open')));
    });
  });
}

/** The handshake as it came, but for what is between the client and us alone. */
function requestHead(request: IncomingMessage, { authority, path, headers = {} }: Destination): string {
  const lines = [`${request.method} ${path} HTTP/1.1`, `Host: ${authority}`];
  for (const [name, values] of Object.entries(headers))
    for (const value of [values].flat()) lines.push(`${name}: ${value}`);
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? '';
    if (/^(host|authorization|(impersonate|x-remote)-.*|cookie)$/i.test(name)) continue;
    lines.push(`${name}: ${withoutToken(name, request.rawHeaders[index + 1] ?? '')}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** A browser shows its token as a protocol: the agent need not see it. */
function withoutToken(header: string, value: string): string {
  if (!/^sec-websocket-protocol$/i.test(header)) return value;
  return value
    .split(',')
    .filter((one) => !one.trim().startsWith(PROTOCOL_TOKEN))
    .join(',');
}

function refuseUpgrade(client: Duplex, error: StatusError): void {
  const body = Buffer.from(JSON.stringify(error.status()));
  client.end(
    `HTTP/1.1 ${error.code} ${error.reason}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body.toString()}`,
  );
}
