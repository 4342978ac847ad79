/**
 * Connections that go on without HTTP (Engine API, "Stream format"): after `Upgrade: tcp` the connection itself, else the
 * bodies of request and answer. Without a terminal the output comes in frames: stream, three zero bytes, length, bytes.
 */
import { once } from 'node:events';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { Call } from './call.ts';
import { DockerError } from './errors.ts';

export interface Stream {
  input: Readable;
  output: Writable;
  /** Aborted when the client has gone. */
  gone: AbortSignal;
  /** Nothing more is sent. */
  end(): void;
}

export const RAW_STREAM = 'application/vnd.docker.raw-stream';
export const FRAMED_STREAM = 'application/vnd.docker.multiplexed-stream';

export function openStream(call: Call, tty: boolean): Stream {
  const type = tty || call.minor < 42 ? RAW_STREAM : FRAMED_STREAM;
  const gone = new AbortController();
  const { socket, request, response } = call;
  if (socket === undefined) {
    response.writeHead(200, { 'content-type': type });
    response.flushHeaders();
    response.on('close', () => gone.abort());
    return { input: request, output: response, gone: gone.signal, end: () => response.end() };
  }
  call.isStreaming = true;
  request.resume();
  socket.on('close', () => gone.abort());
  socket.on('error', () => gone.abort());
  socket.write(`HTTP/1.1 101 UPGRADED\r\nContent-Type: ${type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`);
  return { input: socket, output: socket, gone: gone.signal, end: () => socket.end() };
}

type WebSockets = Pick<typeof import('ws'), 'createWebSocketStream' | 'WebSocketServer'>;

/** @throws DockerError 400 where the client asks for no WebSocket */
export function openWebSocket(call: Call, { createWebSocketStream, WebSocketServer }: WebSockets): Stream {
  const { socket, request } = call;
  if (socket === undefined || request.headers.upgrade?.toLowerCase() !== 'websocket')
    throw new DockerError(400, 'this endpoint speaks WebSocket: ask for the upgrade');
  call.isStreaming = true;
  const gone = new AbortController();
  socket.on('close', () => gone.abort());
  // It answers a handshake that is wrong by itself, and calls nobody.
  let stream: Duplex | undefined;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 1024 * 1024 });
  sockets.handleUpgrade(request, socket, Buffer.alloc(0), (webSocket) => {
    stream = createWebSocketStream(webSocket);
  });
  if (stream === undefined) throw new DockerError(400, 'the WebSocket handshake is wrong');
  const duplex = stream;
  duplex.on('error', () => gone.abort()).on('close', () => gone.abort());
  return { input: duplex, output: duplex, gone: gone.signal, end: () => duplex.end() };
}

export function framed(stream: 'stdout' | 'stderr', bytes: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream === 'stdout' ? 1 : 2;
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}

/** Waits while the client is slower than the container. */
export async function send({ output, gone }: Stream, bytes: Buffer): Promise<void> {
  if (gone.aborted || output.write(bytes)) return;
  await once(output, 'drain', { signal: gone });
}
