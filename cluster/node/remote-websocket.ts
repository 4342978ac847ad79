/**
 * `v5.channel.k8s.io` or `v4.channel.k8s.io`: binary messages whose first byte is the channel (0 stdin, 1 stdout, 2 stderr,
 * 3 error, 4 resize; with v5, 255 and a channel closes that channel). The error channel carries one Status at the end:
 * https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/4006-transition-spdy-to-websockets
 *
 * Older clients name `channel.k8s.io`, or no protocol: there the error channel has a text, where something failed. The
 * `base64` forms are for browsers: text messages whose first character is the channel's digit, the rest in base64.
 */
import { Readable } from 'node:stream';
import type { WebSocket, WebSocketServer } from 'ws';
import type { TerminalSize } from '#engine/engine.ts';
import type { Status } from '../kinds/types/meta.ts';
import { EndpointError } from './endpoint-target.ts';
import { parseSize, type RemoteStreams, type Upgrade } from './remote-streams.ts';

interface Dialect {
  base64: boolean;
  /** What the error channel carries. */
  lastWord: 'status' | 'failure';
}

const dialects = new Map<string, Dialect>([
  ['v5.channel.k8s.io', { base64: false, lastWord: 'status' }],
  ['v4.channel.k8s.io', { base64: false, lastWord: 'status' }],
  ['v4.base64.channel.k8s.io', { base64: true, lastWord: 'status' }],
  ['channel.k8s.io', { base64: false, lastWord: 'failure' }],
  ['base64.channel.k8s.io', { base64: true, lastWord: 'failure' }],
]);
const nameless: Dialect = { base64: false, lastWord: 'failure' };
const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
const largestMessage = 16 * 1024 * 1024;

let server: WebSocketServer | undefined;

export async function acceptWebSocket({ request, socket, head }: Upgrade): Promise<RemoteStreams> {
  const offered = request.headers['sec-websocket-protocol'];
  const names = offered?.split(',').map((name) => name.trim());
  const dialect = names === undefined ? nameless : dialects.get(firstKnown(names) ?? '');
  if (dialect === undefined) {
    throw new EndpointError(
      400,
      `none of the protocols "${String(offered)}" is known: offer ${[...dialects.keys()].join(' or ')}`,
    );
  }
  if (!server) {
    const { WebSocketServer: Server } = await import('ws');
    server = new Server({
      noServer: true,
      maxPayload: largestMessage,
      perMessageDeflate: false,
      handleProtocols: (set) => firstKnown([...set]) ?? false,
    });
  }
  const { promise, resolve } = Promise.withResolvers<WebSocket>();
  server.handleUpgrade(request, socket, head, resolve);
  return new WebSocketStreams(await promise, dialect);
}

function firstKnown(names: readonly string[]): string | undefined {
  return [...dialects.keys()].find((known) => names.includes(known));
}

class WebSocketStreams implements RemoteStreams {
  readonly stdin: Readable;
  readonly gone: AbortSignal;
  readonly #socket: WebSocket;
  readonly #dialect: Dialect;
  readonly #resized = new Set<(size: TerminalSize) => void>();

  constructor(socket: WebSocket, dialect: Dialect) {
    this.#socket = socket;
    this.#dialect = dialect;
    const abort = new AbortController();
    this.gone = abort.signal;
    // What comes before there is somebody to read it stays in the socket.
    socket.pause();
    this.stdin = new Readable({ read: () => socket.resume() });
    socket.on('error', () => socket.terminate());
    socket.on('message', (data: Buffer) => this.#receive(dialect.base64 ? fromBase64(data) : data));
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
    const sent = (error?: Error): void => (error ? reject(error) : resolve());
    if (this.#dialect.base64) socket.send(`${channels[channel]}${Buffer.from(bytes).toString('base64')}`, sent);
    else socket.send(Buffer.concat([Buffer.from([channels[channel]]), bytes]), { binary: true }, sent);
    await promise;
  }

  async finish(status: Status): Promise<void> {
    if (this.#socket.isPaused) this.#socket.resume();
    try {
      if (this.#dialect.lastWord === 'status') await this.send('error', Buffer.from(JSON.stringify(status)));
      else if (status.status !== 'Success') await this.send('error', Buffer.from(status.message ?? ''));
    } catch {
      // The client went away: nobody is left to be told.
    }
    this.#socket.close(1000);
  }
}

/** A digit and base64, as a byte and bytes. */
function fromBase64(text: Buffer): Buffer {
  const channel = (text[0] ?? 0) - 0x30;
  return Buffer.concat([Buffer.from([channel]), Buffer.from(text.toString('latin1', 1), 'base64')]);
}
