/**
 * What exec and attach see of their client: its input, and where output goes, whichever of the two protocols it speaks
 * (`remote-websocket.ts`, `remote-spdy.ts`).
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex, Readable } from 'node:stream';
import type { TerminalSize } from '#engine/engine.ts';
import type { Status } from '../kinds/types/meta.ts';

export interface Upgrade {
  path: string[];
  query: URLSearchParams;
  request: IncomingMessage;
  socket: Duplex;
  head: Buffer;
}

export interface RemoteStreams {
  /** Ends when the client closes its input, or goes away. Must be read or resumed. */
  readonly stdin: Readable;
  onResize(listener: (size: TerminalSize) => void): void;
  /** Resolves when the client has room for more; rejects when it is gone. */
  send(channel: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void>;
  /** The last word; the connection ends with it. Never rejects. */
  finish(status: Status): Promise<void>;
  /** Aborted when the client went away. */
  readonly gone: AbortSignal;
}

/** The client's JSON, `{"Width": 80, "Height": 24}`. */
export function parseSize(text: string): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(text) as { Width?: unknown; Height?: unknown };
    const valid = (value: unknown): value is number =>
      Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
    return valid(Width) && valid(Height) ? { columns: Width, rows: Height } : undefined;
  } catch {
    return undefined; // A size that cannot be read changes nothing.
  }
}
