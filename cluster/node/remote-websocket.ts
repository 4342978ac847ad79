/**
 * `v5.channel.k8s.io` or `v4.channel.k8s.io`: binary messages whose first byte is the channel (0 stdin, 1 stdout, 2 stderr,
 * 3 error, 4 resize; with v5, 255 and a channel closes that channel). The error channel carries one Status at the end:
 * https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
 */
import { Readable } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import type { TerminalSize } from '#engine/engine.ts';
import type { Status } from '../kinds/types/meta.ts';
import { EndpointError } from './endpoint-target.ts';
import { parseSize, type RemoteStreams, type Upgrade } from './remote-streams.ts';

const protocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const largestMessage = 16 * 1024 * 1024;

let server: WebSocketServer | undefined;

export async function acceptWebSocket({ request, socket, head }: Upgrade): Promise<RemoteStreams> {
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
  const chosen = protocols.find((name) => offered.includes(name));
  if (!chosen) {
    throw new EndpointError(
      400,
      `none of the protocols "${offered.join(', ')}" is known: offer ${protocols.join(' or ')}`,
    );
  }
  if (!server) {
    const { WebSocketServer: Server } = await import('ws');
    server = new Server({
      noServer: true,
      maxPayload: largestMessage,
      perMessageDeflate: false,
      handleProtocols: (names) => protocols.find((name) => names.has(name)) ?? false,
    });
  }
  const { promise, resolve } = Promise.withResolvers<WebSocket>();
  server.handleUpgrade(request, socket, head, resolve);
  return new WebSocketStreams(await promise);
}

class WebSocketStreams implements RemoteStreams {
  readonly stdin: Readable;
  readonly gone: AbortSignal;
  readonly #socket: WebSocket;
  readonly #resized = new Set<(size: TerminalSize) => void>();

  constructor(socket: WebSocket) {
    this.#socket = socket;
    const abort = new AbortController();
    this.gone = abort.signal;
    // What comes before there is somebody to read it stays in the socket.
    socket.pause();
    this.stdin = new Readable({ read: () => socket.resume() });
    socket.on('error', () => socket.terminate());
    socket.on('message', (data: Buffer) => this.#receive(data));
    socket.once('close', () => {
      abort.abort();
      this.#endInput();
    });
  }

  onResize(listener: (size: TerminalSize) => void): void {
    this.#resized.add(listener);
  }

  #receive(data: Buffer): void {
    switch (data[0]) {
      case channels.stdin:
        if (data.length > 1 && !this.stdin.readableEnded && !this.stdin.destroyed && !this.stdin.push(data.subarray(1)))
          this.#socket.pause();
        return;
      case channels.resize: {
        const size = parseSize(data.toString('utf8', 1));
        if (size) for (const listener of this.#resized) listener(size);
        return;
      }
      case channels.close:
        if (data[1] === channels.stdin) this.#endInput();
    }
  }

  #endInput(): void {
    if (!this.stdin.readableEnded && !this.stdin.destroyed) this.stdin.push(null);
  }

  async send(channel: 'stdout' | 'stderr' | 'error', bytes: Uint8Array): Promise<void> {
    const socket = this.#socket;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (socket.readyState !== socket.OPEN) throw new Error('the client went away');
    const message = Buffer.concat([Buffer.from([channels[channel]]), bytes]);
    socket.send(message, { binary: true }, (error) => (error ? reject(error) : resolve()));
    await promise;
  }

  async finish(status: Status): Promise<void> {
    if (this.#socket.isPaused) this.#socket.resume();
    try {
      await this.send('error', Buffer.from(JSON.stringify(status)));
    } catch {
      // The client went away: nobody is left to be told.
    }
    this.#socket.close(1000);
  }
}
