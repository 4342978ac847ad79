/**
 * `v4.channel.k8s.io` over SPDY/3.1, as kubectl before 1.30 and older client libraries speak it: a stream for each of error,
 * stdin, stdout, stderr and resize, told apart by the header `streamtype`; the error stream carries one Status at the end.
 */
import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';
import { Readable } from 'node:stream';
import type { TerminalSize } from '#engine/engine.ts';
import { serveSpdy, type SpdyStream } from '#lib/spdy/connection.ts';
import type { Status } from '../kinds/types/meta.ts';
import { EndpointError } from './endpoint-target.ts';
import { parseSize, type RemoteStreams, type Upgrade } from './remote-streams.ts';

const protocol = 'v4.channel.k8s.io';
/** For the client to open all of its streams. */
const opensWithin = 30_000;
const longestSize = 1024;

export function isSpdy({ headers }: IncomingMessage): boolean {
  return /^spdy\/3\.1$/i.test(headers.upgrade ?? '');
}

/** Answers the handshake. @throws EndpointError where the client offers another protocol */
export function switchToSpdy({ request, socket, head }: Upgrade, wanted: string): void {
  const offered = request.headers['x-stream-protocol-version'];
  const names = (Array.isArray(offered) ? offered.join(',') : (offered ?? '')).split(',').map((name) => name.trim());
  if (!names.includes(wanted))
    throw new EndpointError(
      403,
      `unable to upgrade: unable to negotiate protocol: client supports ${names.join(', ')}, server ${wanted}`,
    );
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${wanted}\r\n\r\n`,
  );
  if (head.length > 0) socket.unshift(head);
}

/** Resolves when the client has opened the streams named. */
export async function acceptSpdy(upgrade: Upgrade, names: readonly string[]): Promise<RemoteStreams> {
  switchToSpdy(upgrade, protocol);
  const streams = new Map<string, SpdyStream>();
  const { promise: complete, resolve, reject } = Promise.withResolvers<void>();
  const over = serveSpdy(upgrade.socket, (stream) => {
    const type = stream.headers.get('streamtype') ?? '';
    if (!names.includes(type) || streams.has(type)) return void stream.destroy();
    streams.set(type, stream);
    if (streams.size === names.length) resolve();
  });
  const timer = setTimeout(() => reject(new Error('the client did not open its streams in time')), opensWithin);
  void over.then(() => reject(new Error('the client went away')));
  try {
    await complete;
  } catch (error) {
    upgrade.socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return new SpdyStreams(streams, over, () => upgrade.socket.destroy());
}

class SpdyStreams implements RemoteStreams {
  readonly stdin: Readable;
  readonly gone: AbortSignal;
  readonly #streams: ReadonlyMap<string, SpdyStream>;
  readonly #close: () => void;

  constructor(streams: ReadonlyMap<string, SpdyStream>, over: Promise<void>, close: () => void) {
    this.#streams = streams;
    this.#close = close;
    this.stdin = streams.get('stdin') ?? Readable.from([]);
    const abort = new AbortController();
    this.gone = abort.signal;
    void over.then(() => abort.abort());
    for (const name of ['error', 'stdout', 'stderr']) streams.get(name)?.resume();
  }

  onResize(listener: (size: TerminalSize) => void): void {
    let held = '';
    this.#streams.get('resize')?.on('data', (chunk: Buffer) => {
      held = (held + chunk.toString()).slice(-longestSize);
      // Sizes follow one another; each is one JSON object.
      for (let end = held.indexOf('}'); end >= 0; end = held.indexOf('}')) {
        const size = parseSize(held.slice(0, end + 1));
        held = held.slice(end + 1);
        if (size) listener(size);
      }
    });
  }

  async send(channel: 'stdout' | 'stderr' | 'error', bytes: Uint8Array): Promise<void> {
    const stream = this.#streams.get(channel);
    if (stream === undefined || bytes.length === 0) return;
    if (stream.destroyed) throw new Error('the client went away');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    await promise;
  }

  async finish(status: Status): Promise<void> {
    try {
      await this.send('error', Buffer.from(JSON.stringify(status)));
      const outputs = ['stdout', 'stderr', 'error'].flatMap((name) => this.#streams.get(name) ?? []);
      for (const stream of outputs) stream.end();
      await Promise.all(outputs.map((stream) => finished(stream, { readable: false })));
    } catch {
      // The client went away: nobody is left to be told.
    }
    this.#close();
  }
}
