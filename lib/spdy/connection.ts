/**
 * The server's end of a SPDY/3.1 connection: the client opens streams, each is a Duplex here.
 *
 * As much as Kubernetes' clients speak, which are all that still do: they neither give nor ask for window updates. Whoever
 * reads a stream slowly therefore holds up the whole connection, rather than filling memory. Streams are never opened from
 * this side.
 */
import { Duplex } from 'node:stream';
import { controlFrame, dataFrame, finFlag, type Frame, frameType, numbers, readFrames } from './frames.ts';
import { type HeaderBlock, HeaderCodec } from './headers.ts';

const refused = 3;
const cancelled = 5;
const largestData = 32 * 1024;
const mostStreams = 1000;

export interface SpdyStream extends Duplex {
  readonly headers: HeaderBlock;
}

/** Called for each new stream, before its client hears that it was accepted. */
export type StreamHandler = (stream: SpdyStream) => void;

class Stream extends Duplex implements SpdyStream {
  readonly id: number;
  readonly headers: HeaderBlock;
  readonly #send: (frame: Buffer) => Promise<void>;
  #wake: (() => void) | undefined;
  /** The client has said that nothing more comes. */
  #over = false;

  constructor(id: number, headers: HeaderBlock, send: (frame: Buffer) => Promise<void>) {
    super({ allowHalfOpen: true });
    this.id = id;
    this.headers = headers;
    this.#send = send;
  }

  /** Resolves when more may come. */
  async accept(data: Buffer): Promise<void> {
    if (this.destroyed || this.#over || data.length === 0 || this.push(data) || this.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }

  /** The client's last word on it; more would be against the protocol, and is dropped. */
  endInput(): void {
    if (this.#over || this.destroyed) return;
    this.#over = true;
    this.push(null);
  }

  override _read(): void {
    this.#wake?.();
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    const send = async (): Promise<void> => {
      for (let at = 0; at < chunk.length; at += largestData)
        await this.#send(dataFrame(this.id, chunk.subarray(at, at + largestData)));
    };
    send().then(() => callback(), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#send(dataFrame(this.id, Buffer.alloc(0), finFlag)).then(() => callback(), callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#wake?.();
    const ended = this.writableFinished && this.readableEnded;
    if (!ended) void this.#send(controlFrame(frameType.rst, numbers(this.id, cancelled))).catch(() => undefined);
    callback(error);
  }
}

/** Resolves when the connection is over, however it ended; its streams are destroyed by then. */
export async function serveSpdy(socket: Duplex, onStream: StreamHandler): Promise<void> {
  const codec = new HeaderCodec();
  const streams = new Map<number, Stream>();
  // One after the other: the deflated headers of frames depend on those before.
  let sending: Promise<void> = Promise.resolve();
  const send = (frame: Buffer | Promise<Buffer>): Promise<void> => {
    sending = sending.then(async () => await write(socket, await frame));
    sending.catch(() => undefined);
    return sending;
  };
  const open = async (payload: Buffer, flags: number): Promise<void> => {
    const id = payload.readUInt32BE(0) & 0x7fff_ffff;
    const headers = await codec.read(payload.subarray(10));
    if (streams.size >= mostStreams || streams.has(id))
      return await send(controlFrame(frameType.rst, numbers(id, refused)));
    const stream = new Stream(id, headers, send);
    stream.on('error', () => undefined); // Whoever uses it listens too; a reset is no reason to die.
    stream.once('close', () => streams.delete(id));
    streams.set(id, stream);
    onStream(stream);
    if (stream.destroyed) return;
    await send(
      codec.write(new Map()).then((block) => controlFrame(frameType.synReply, Buffer.concat([numbers(id), block]))),
    );
    if ((flags & finFlag) !== 0) stream.endInput();
  };
  const control = async ({ type, flags, payload }: Extract<Frame, { kind: 'control' }>): Promise<void> => {
    switch (type) {
      case frameType.synStream:
        return await open(payload, flags);
      case frameType.rst:
        return void streams.get(payload.readUInt32BE(0) & 0x7fff_ffff)?.destroy();
      case frameType.ping:
        // Those with odd numbers are the client's own.
        if (payload.readUInt32BE(0) % 2 === 1) await send(controlFrame(frameType.ping, payload));
        return;
      case frameType.headers:
        // What it says is of no interest, but the next block builds on it.
        return void (await codec.read(payload.subarray(4)));
    }
  };
  try {
    for await (const frame of readFrames(socket)) {
      if (frame.kind === 'control') await control(frame);
      else {
        const stream = streams.get(frame.stream);
        await stream?.accept(frame.data);
        if ((frame.flags & finFlag) !== 0) stream?.endInput();
      }
    }
  } catch {
    // The peer went away, or speaks something else: nobody is left to be told.
  } finally {
    for (const stream of streams.values()) stream.destroy();
    socket.destroy();
    codec.close();
  }
}

async function write(socket: Duplex, frame: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (socket.destroyed) throw new Error('the connection is closed');
  socket.write(frame, (error) => (error ? reject(error) : resolve()));
  await promise;
}
