/** What a client sends its requests through. `cluster/apiserver` gives the in-process one, `https.ts` is the other. */
import type { Readable } from 'node:stream';

export interface TransportRequest {
  method: string;
  /** With the query string. */
  path: string;
  headers: Record<string, string>;
  body?: Uint8Array;
  signal?: AbortSignal;
}

export interface TransportResponse {
  status: number;
  headers: Record<string, string>;
  body: Readable;
}

/** Opened for exec and port-forward: a WebSocket to the server, messages as whole buffers. */
export interface TransportSocket {
  protocol: string;
  send(message: Uint8Array): void;
  /** How many bytes wait to be sent: a sender waits while it is above its own limit. */
  readonly bufferedBytes: number;
  /** Resolves when at most `limit` bytes wait, or the socket is closed. A socket without it never holds bytes back. */
  drained?(limit: number): Promise<void>;
  messages: AsyncIterable<Buffer>;
  close(): void;
}

export interface Transport {
  request(request: TransportRequest): Promise<TransportResponse>;
  openSocket(path: string, protocols: string[], options?: { signal?: AbortSignal }): Promise<TransportSocket>;
  close(): void;
}
