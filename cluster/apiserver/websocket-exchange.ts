/**
 * Logs and watches as messages of a WebSocket, for browsers and the client libraries that ask so: each event of a watch is one text
 * message, each piece of a log one of bytes (protocol `binary.k8s.io` or none) or of text (`base64.binary.k8s.io`).
 * What is refused is answered over HTTP, before the protocol changes.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import { type Identity, PROTOCOL_TOKEN } from './authenticate.ts';
import type { Core } from './core.ts';
import type { Exchange, Responder } from './exchange.ts';
import { splitTarget } from './http-exchange.ts';
import { parseResourcePath } from './route.ts';

/** Bytes that may wait for a client. */
const HIGH_WATER = 64 * 1024;
const BASE64 = 'base64.binary.k8s.io';
const protocols = [BASE64, 'binary.k8s.io'];

let server: WebSocketServer | undefined;

/** Watches of a server behind this one are that one's to answer. */
export function isMessageStream(core: Core, request: IncomingMessage): boolean {
  if (!/^websocket$/i.test(request.headers.upgrade ?? '')) return false;
  const { path, query } = splitTarget(request.url ?? '/');
  const asked = parseResourcePath(request.method ?? 'GET', path, query);
  if (asked === undefined || core.aggregation.find(asked.group, asked.version) !== undefined) return false;
  return (
    asked.verb === 'watch' ||
    (asked.verb === 'get' && asked.group === '' && asked.resource === 'pods' && asked.subresource === 'log')
  );
}

export async function webSocketExchange(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  { user, impersonator }: Identity,
): Promise<Exchange> {
  // Loaded when somebody asks.
  const { WebSocketServer: Server } = await import('ws');
  server ??= new Server({
    noServer: true,
    maxPayload: 4096,
    perMessageDeflate: false,
    handleProtocols: (offered) => protocols.find((one) => offered.has(one)) ?? false,
  });
  return {
    method: request.method ?? 'GET',
    ...splitTarget(request.url ?? '/'),
    headers: request.headers,
    user,
    impersonator,
    sourceAddress: request.socket.remoteAddress,
    body: () => Promise.resolve(Buffer.alloc(0)),
    responder: new MessageResponder(request, client, head),
    warnings: [],
  };
}

class MessageResponder implements Responder {
  readonly #request: IncomingMessage;
  readonly #client: Duplex;
  readonly #head: Buffer;
  #socket: WebSocket | undefined;
  #asText = false;
  readonly #onDrain: (() => void)[] = [];
  #started = false;

  constructor(request: IncomingMessage, client: Duplex, head: Buffer) {
    this.#request = request;
    this.#client = client;
    this.#head = head;
  }

  get started(): boolean {
    return this.#started;
  }

  head(status: number, headers: Record<string, string | string[]>): void {
    this.#started = true;
    if (status !== 200) {
      const lines = Object.entries({ ...headers, connection: 'close' }).map(
        ([name, value]) => `${name}: ${String(value)}`,
      );
      this.#client.write(`HTTP/1.1 ${status} Refused\r\n${lines.join('\r\n')}\r\n\r\n`);
      return;
    }
    this.#asText = headers['content-type'] === 'application/json';
    // The token that a browser shows so is no protocol of ours.
    const offered = (this.#request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
    const left = offered.filter((one) => one !== '' && !one.startsWith(PROTOCOL_TOKEN));
    if (left.length === 0) delete this.#request.headers['sec-websocket-protocol'];
    else this.#request.headers['sec-websocket-protocol'] = left.join(', ');
    server?.handleUpgrade(this.#request, this.#client, this.#head, (socket) => {
      this.#socket = socket;
      socket.on('error', () => socket.terminate());
    });
    if (this.#socket === undefined) this.#client.destroy();
  }

  write(chunk: Uint8Array): boolean {
    const socket = this.#socket;
    if (socket === undefined) return this.#client.write(chunk);
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const sent = (): void => {
      if (socket.bufferedAmount < HIGH_WATER) for (const listener of this.#onDrain) listener();
    };
    if (socket.protocol === BASE64) socket.send(bytes.toString('base64'), sent);
    else socket.send(bytes, { binary: !this.#asText }, sent);
    return socket.bufferedAmount < HIGH_WATER;
  }

  end(chunk?: Uint8Array): void {
    if (chunk !== undefined && chunk.byteLength > 0) this.write(chunk);
    if (this.#socket === undefined) this.#client.end();
    else this.#socket.close(1000);
  }

  destroy(): void {
    this.#client.destroy();
  }

  onDrain(listener: () => void): void {
    this.#onDrain.push(listener);
  }

  onClose(listener: () => void): void {
    this.#client.once('close', listener);
  }
}
