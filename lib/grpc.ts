/**
 * gRPC (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md) to one of several servers that know the same: one
 * HTTP/2 connection at a time, made when it is needed, to the next server when one fails. Messages are bytes here.
 */
import http2 from 'node:http2';
import { connect as connectSocket } from 'node:net';
import type { ProtobufWriter } from './protobuf.ts';

/** https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
export const grpcStatus = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  deadlineExceeded: 4,
  permissionDenied: 7,
  unavailable: 14,
} as const;

export class GrpcError extends Error {
  readonly code = 'grpc-failed';
  readonly status: number;
  /** False: no server can have seen the request. */
  readonly sent: boolean;
  constructor(status: number, message: string, options: ErrorOptions & { sent: boolean }) {
    super(message, options);
    this.name = 'GrpcError';
    this.status = status;
    this.sent = options.sent;
  }
}

export interface GrpcTls {
  /** PEM. Without it the authorities that Node trusts. */
  ca?: string;
  cert?: string;
  key?: string;
}

export interface GrpcOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT`, or `unix:PATH`; at least one. */
  endpoints: readonly string[];
  /** Read at each connect, so that renewed files are taken. */
  tls?: () => GrpcTls;
}

export interface Grpc {
  /** One request, one answer. @throws GrpcError */
  call(path: string, request: ProtobufWriter, options: { milliseconds: number }): Promise<Buffer>;
  /** One request, answers until the signal or an error ends it. @throws GrpcError */
  stream(path: string, request: ProtobufWriter, options: { signal: AbortSignal }): AsyncGenerator<Buffer>;
  close(): void;
}

const CONNECT_MILLISECONDS = 3000;
/** Some servers take pings more often than every 5 s for an attack. */
const PING_MILLISECONDS = 10_000;
const PONG_MILLISECONDS = 5000;
const FRAME_HEAD = 5;
const WINDOW = 8 * 1024 * 1024;

interface Connection {
  endpoint: string;
  http: http2.ClientHttp2Session;
  /** Requests may have reached the server. */
  open: boolean;
  /** Why it ended. */
  failure: Error | undefined;
  streams: number;
}

export function openGrpc({ endpoints, tls }: GrpcOptions): Grpc {
  let next = 0;
  let current: Connection | undefined;
  let closed = false;

  function connection(): Connection {
    if (closed) throw new GrpcError(grpcStatus.cancelled, 'the client is closed', { sent: false });
    if (current !== undefined && !current.http.closed && !current.http.destroyed) return current;
    const endpoint = endpoints[next++ % endpoints.length] ?? '';
    try {
      current = connect(endpoint, endpoint.startsWith('https:') ? tls?.() : undefined);
    } catch (cause) {
      throw new GrpcError(grpcStatus.unavailable, `${endpoint}: ${(cause as Error).message}`, { sent: false, cause });
    }
    return current;
  }

  /** The next request goes to another server; what is under way here may end. */
  function leave(used: Connection): void {
    if (current === used) current = undefined;
    if (!used.http.closed) used.http.close();
  }

  function failed(used: Connection, stream: http2.ClientHttp2Stream, error: unknown, timedOut: boolean): GrpcError {
    leave(used);
    const cause = used.failure ?? error;
    const message = timedOut
      ? 'no answer in time'
      : cause instanceof Error
        ? cause.message
        : 'the connection was closed';
    const status = timedOut ? grpcStatus.deadlineExceeded : grpcStatus.unavailable;
    const sent = used.open && stream.rstCode !== http2.constants.NGHTTP2_REFUSED_STREAM;
    return new GrpcError(status, `${used.endpoint}: ${message}`, { sent, cause });
  }

  /** The stream's own error, or what its last headers say. Nothing when all is well. */
  function outcome(used: Connection, { stream, headers, error, timedOut }: Call): GrpcError | undefined {
    const status = headers['grpc-status'];
    if (status === undefined) {
      const http = Number(headers[':status'] ?? 0);
      const said = http === 0 || http === 200 ? error : new Error(`it answered HTTP ${http}: is it a gRPC server?`);
      return failed(used, stream, said, timedOut);
    }
    if (Number(status) === grpcStatus.ok) return undefined;
    // A member that has no leader: others may have one.
    if (Number(status) === grpcStatus.unavailable) leave(used);
    return new GrpcError(Number(status), decode(String(headers['grpc-message'] ?? '')), { sent: true });
  }

  function begin(path: string, more: Record<string, string>): [Connection, Call] {
    const used = connection();
    let stream: http2.ClientHttp2Stream;
    try {
      stream = used.http.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        'user-agent': 'sampan',
        ...more,
      });
    } catch (cause) {
      leave(used);
      throw new GrpcError(grpcStatus.unavailable, `${used.endpoint}: ${(cause as Error).message}`, {
        sent: false,
        cause,
      });
    }
    const ended = new Promise<void>((resolve) => stream.once('close', resolve));
    const call: Call = { stream, headers: {}, error: undefined, timedOut: false, ended };
    const note = (headers: http2.IncomingHttpHeaders): void => void Object.assign(call.headers, headers);
    stream.on('response', note).on('trailers', note);
    stream.on('error', (error) => (call.error = error));
    used.streams++;
    stream.once('close', () => used.streams--);
    return [used, call];
  }

  return {
    async call(path, request, { milliseconds }) {
      const [used, call] = begin(path, { 'grpc-timeout': `${milliseconds}m` });
      const timer = setTimeout(() => {
        call.timedOut = true;
        call.stream.close(http2.constants.NGHTTP2_CANCEL);
      }, milliseconds);
      const chunks: Buffer[] = [];
      call.stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      call.stream.end(framed(request));
      await call.ended;
      clearTimeout(timer);
      const error = outcome(used, call);
      if (error !== undefined) throw error;
      const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      if (body.length < FRAME_HEAD || body.readUInt32BE(1) !== body.length - FRAME_HEAD)
        throw new GrpcError(grpcStatus.unknown, `${used.endpoint}: the answer is malformed`, { sent: true });
      return body.subarray(FRAME_HEAD);
    },
    async *stream(path, request, { signal }) {
      // Of etcd: a member without a leader ends the stream rather than staying silent.
      const [used, call] = begin(path, { hasleader: 'true' });
      const stop = (): void => call.stream.close(http2.constants.NGHTTP2_CANCEL);
      if (signal.aborted) stop();
      signal.addEventListener('abort', stop);
      // The other half stays open: its end would be ours.
      call.stream.write(framed(request));
      try {
        yield* messages(call.stream);
      } catch (error) {
        call.error ??= error as Error;
      } finally {
        signal.removeEventListener('abort', stop);
        stop();
        await call.ended;
      }
      if (signal.aborted) return;
      throw (
        outcome(used, call) ??
        new GrpcError(grpcStatus.unavailable, `${used.endpoint}: the stream ended`, { sent: true })
      );
    },
    close() {
      closed = true;
      current?.http.destroy();
    },
  };
}

interface Call {
  stream: http2.ClientHttp2Stream;
  headers: http2.IncomingHttpHeaders;
  error: Error | undefined;
  timedOut: boolean;
  ended: Promise<void>;
}

function connect(endpoint: string, tls: GrpcTls | undefined): Connection {
  const socketPath = endpoint.startsWith('unix:') ? endpoint.slice('unix:'.length) : undefined;
  const http = http2.connect(socketPath === undefined ? endpoint : 'http://localhost', {
    ...tls,
    ...(socketPath !== undefined && { createConnection: () => connectSocket(socketPath) }),
    settings: { initialWindowSize: WINDOW },
    maxSessionMemory: 256,
  });
  const connection: Connection = { endpoint, http, open: false, failure: undefined, streams: 0 };
  const fail = (message: string): void => void http.destroy(new Error(message));
  const late = setTimeout(() => fail('no connection in time'), CONNECT_MILLISECONDS);
  // A server that is gone without a word: neither its kernel nor the network would ever tell.
  const pings = setInterval(() => {
    if (connection.streams === 0 || !connection.open || http.destroyed) return;
    const silent = setTimeout(() => fail('it does not answer a ping'), PONG_MILLISECONDS).unref();
    http.ping(() => clearTimeout(silent));
  }, PING_MILLISECONDS).unref();
  http.once('connect', () => {
    connection.open = true;
    http.setLocalWindowSize(WINDOW);
    clearTimeout(late);
  });
  http.on('error', (error) => (connection.failure ??= error));
  http.on('goaway', () => http.close());
  http.once('close', () => {
    clearTimeout(late);
    clearInterval(pings);
  });
  return connection;
}

function framed(request: ProtobufWriter): Buffer {
  const frame = request.finish(FRAME_HEAD);
  frame[0] = 0;
  frame.writeUInt32BE(frame.length - FRAME_HEAD, 1);
  return frame;
}

async function* messages(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    length += chunk.length;
    for (;;) {
      if (length < FRAME_HEAD) break;
      if ((chunks[0] as Buffer).length < FRAME_HEAD) chunks = [Buffer.concat(chunks)];
      const end = FRAME_HEAD + (chunks[0] as Buffer).readUInt32BE(1);
      if (length < end) break;
      const whole = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
      yield whole.subarray(FRAME_HEAD, end);
      length -= end;
      chunks = length === 0 ? [] : [whole.subarray(end)];
    }
  }
}

/** `grpc-message` is percent-encoded. */
function decode(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
