/** exec, attach and port-forward over the network: after the checks the client's bytes are piped to the node's agent, and back. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { observe } from './audit/observe.ts';
import { authenticate, type Identity, PROTOCOL_TOKEN } from './authenticate.ts';
import { mayAccess, refuse } from './authorize.ts';
import type { StatusError } from './errors.ts';
import { noSuchPath } from './errors.ts';
import type { User } from './exchange.ts';
import type { Handler } from './handle.ts';
import { splitTarget } from './http-exchange.ts';
import { type AgentTarget, streamTarget } from './pod-streams.ts';
import { parseResourcePath } from './route.ts';
import { asStatusError } from './update.ts';

/** Which agent, and which path on it. Throws what is answered instead. */
export function resolveStream(handler: Handler, user: User, method: string, url: string): AgentTarget {
  const { path, query } = splitTarget(url);
  const request = parseResourcePath(method, path, query);
  if (request?.resource !== 'pods' || request.group !== '' || !/^(exec|attach|portforward)$/.test(request.subresource))
    throw noSuchPath();
  // Reading a pod is not the right to run a command in it: a GET that upgrades counts as a create.
  const access = { ...request, verb: 'create' as const };
  if (!mayAccess(handler.core, user, access, query)) throw refuse(handler.core, user, access);
  return streamTarget(handler.core, request, query);
}

export async function upgrade(handler: Handler, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  client.on('error', () => client.destroy());
  try {
    const identity = await authenticate(request, handler);
    const note = noteStream(handler, request, identity);
    try {
      const target = resolveStream(handler, identity.user, request.method ?? 'GET', request.url ?? '/');
      await pipe(handler, target, request, client, head);
      note(101);
    } catch (error) {
      note(asStatusError(error).code);
      throw error;
    }
  } catch (error) {
    refuseUpgrade(client, asStatusError(error));
  }
}

/** In the audit log a stream is one event, when it began or was refused. */
function noteStream(handler: Handler, request: IncomingMessage, identity: Identity): (code: number) => void {
  if (handler.audit === undefined) return () => undefined;
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
  const exchange = observe(handler.audit, {
    method: request.method ?? 'GET',
    ...splitTarget(request.url ?? '/'),
    headers: request.headers,
    ...identity,
    sourceAddress: request.socket.remoteAddress,
    body: () => Promise.resolve(Buffer.alloc(0)),
    responder,
    warnings: [],
  });
  return (code) => {
    exchange.responder.head(code, {});
    exchange.responder.end();
  };
}

function pipe(
  handler: Handler,
  { address, path }: AgentTarget,
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
): Promise<void> {
  const { agents } = handler.core;
  return new Promise((resolve, reject) => {
    const agent = connect({ ...agents.tls(address), host: address.host, port: address.port });
    let open = false;
    agent.on('error', (error) => {
      if (open) client.destroy();
      else reject(agents.unreachable(address, error));
    });
    client.on('close', () => agent.destroy());
    agent.on('secureConnect', () => {
      open = true;
      agent.write(requestHead(request, `${address.host}:${address.port}`, path));
      if (head.length > 0) agent.write(head);
      agent.pipe(client);
      client.pipe(agent);
      resolve();
    });
    agent.on('close', () => client.destroy());
  });
}

/** The handshake as it came, but for what is between the client and us alone. */
function requestHead(request: IncomingMessage, host: string, path: string): string {
  const lines = [`${request.method} ${path} HTTP/1.1`, `Host: ${host}`];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? '';
    if (/^(host|authorization|impersonate-.*|cookie)$/i.test(name)) continue;
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
