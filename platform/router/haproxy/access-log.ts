/**
 * The access log's receiving end: HAProxy's ring connects to our socket and sends a JSON array for each request, framed by
 * its length (RFC 6587, octet counting). What a client put into headers is escaped as JSON, so it cannot forge a record.
 *
 * Each record carries the worker's own counter. A number that does not come is lost; one that comes twice (the ring
 * repeats what it still holds after a broken connection) is dropped.
 */
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { BoundedMap } from '#lib/bounded-map.ts';
import type { AccessRecord, RouterOptions } from '../model.ts';
import type { AccessTarget } from './config.ts';
import { parseServerName, parseTarget, type ServerName } from './state.ts';

/** Threads of a worker may overtake each other: a number is lost when it is this far behind. */
const OVERTAKING = 256;
const MAX_FRAME = 64 * 1024;
const LENGTH_DIGITS = 6;
const [SPACE, ZERO, NINE] = [0x20, 0x30, 0x39];

export interface AccessLog {
  /** Where and with which word HAProxy must send. */
  readonly target: AccessTarget;
  onRecord(listener: (record: AccessRecord) => void): () => void;
  lost(): number;
  close(): Promise<void>;
}

/** Takes the place of the listener before it (`before`: what the proxy was told), where that is still free. */
export async function openAccessLog(before: AccessTarget | undefined, log: RouterOptions['log']): Promise<AccessLog> {
  const listeners = new Set<(record: AccessRecord) => void>();
  const sockets = new Set<Socket>();
  const counters = new Counters();
  const token = before?.token || randomBytes(16).toString('hex');
  const receive = (frame: string): boolean => {
    const parsed = parseRecord(frame, token);
    if (parsed === undefined) return false;
    const gap = counters.count(parsed.worker, parsed.sequence);
    if (gap === undefined) return true;
    const { record } = parsed;
    record.gap = gap;
    for (const listener of listeners) listener(record);
    return true;
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    const frames = new Frames(receive);
    socket.on('data', (chunk: Buffer) => {
      if (!frames.push(chunk)) {
        log('warn', 'Somebody sent to the access log what is none: the connection is closed');
        socket.destroy();
      }
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  const port = await listen(server, before?.port ?? 0).catch(() => listen(server, 0));
  return {
    target: { port, token },
    onRecord(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    lost: () => counters.lost,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Cuts a stream into frames of `<length> <bytes>`. */
export class Frames {
  #rest: Buffer = Buffer.alloc(0);
  readonly #receive: (frame: string) => boolean;
  constructor(receive: (frame: string) => boolean) {
    this.#receive = receive;
  }

  /** False when this is no such stream, or when the receiver refused a frame. */
  push(chunk: Buffer): boolean {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (;;) {
      let begin = at;
      let length = 0;
      for (let byte = data[begin]; byte !== undefined && byte !== SPACE; byte = data[begin]) {
        if (byte < ZERO || byte > NINE || begin - at === LENGTH_DIGITS) return false;
        length = length * 10 + byte - ZERO;
        begin++;
      }
      if (begin === data.length) break;
      begin++;
      if (length === 0 || length > MAX_FRAME) return false;
      if (data.length < begin + length) break;
      if (!this.#receive(data.toString('utf8', begin, begin + length))) return false;
      at = begin + length;
    }
    this.#rest = data.subarray(at);
    return true;
  }
}

class Counters {
  lost = 0;
  /** Of an older worker we only forget what it repeated. */
  readonly #workers = new BoundedMap<number, { next: number; missing: Set<number> }>(8);

  /** How many records were lost since the one before; undefined for a repetition. */
  count(worker: number, sequence: number): number | undefined {
    let state = this.#workers.get(worker);
    if (state === undefined) {
      state = { next: sequence, missing: new Set() };
      this.#workers.set(worker, state);
    }
    if (sequence < state.next) return state.missing.delete(sequence) ? 0 : undefined;
    let gap = 0;
    const jump = sequence - state.next;
    if (jump > OVERTAKING) {
      gap = jump - OVERTAKING;
      state.next += gap;
    }
    for (; state.next < sequence; state.next++) state.missing.add(state.next);
    state.next = sequence + 1;
    for (const missing of state.missing) {
      if (missing >= sequence - OVERTAKING) break;
      state.missing.delete(missing);
      gap++;
    }
    this.lost += gap;
    return gap;
  }
}

export interface ParsedRecord {
  worker: number;
  sequence: number;
  /** With no gap. */
  record: AccessRecord;
}

/** Reads one line in the order of `LOG_FIELDS` in `config.ts`; undefined when it is none, or not our proxy's. */
export function parseRecord(frame: string, token: string): ParsedRecord | undefined {
  let line: unknown;
  try {
    line = JSON.parse(frame);
  } catch {
    return undefined;
  }
  if (!Array.isArray(line) || line.length !== 26 || line[0] !== token) return undefined;
  const fields: unknown[] = line;
  const number = (index: number): number => (typeof fields[index] === 'number' ? fields[index] : -1);
  const text = (index: number): string => {
    const value: unknown = fields[index];
    return typeof value === 'string' && value !== '-' ? value : '';
  };
  const server = text(15);
  const served = server !== '' && !server.startsWith('<');
  const name = nameOf(served ? server : '');
  const client = text(13);
  return {
    sequence: number(1),
    worker: number(2),
    record: {
      // The date is the connection's; handshake and idle time lead to the request.
      at: number(3) * 1000 + Number(text(4)) + Math.max(0, number(5)) + Math.max(0, number(6)),
      total: number(7),
      queued: number(8),
      response: number(9),
      status: number(10),
      bytesIn: number(11),
      bytesOut: number(12),
      clientIp: client.slice(0, Math.max(0, client.lastIndexOf(':'))),
      client,
      address: served ? text(14) : '',
      endpoint: name.endpoint,
      instance: name.instance,
      backend: parseTarget(text(16)).backend,
      termination: text(17),
      requestId: text(18),
      host: text(19),
      method: text(20),
      path: pathOf(text(21)),
      protocol: text(22),
      userAgent: text(23),
      referer: text(24),
      forwardedFor: text(25),
      gap: 0,
    },
  };
}

/** Of a few thousand servers each is named millions of times. */
const names = new BoundedMap<string, ServerName>(10_000);

function nameOf(server: string): ServerName {
  let name = names.get(server);
  if (name === undefined) names.set(server, (name = parseServerName(server)));
  return name;
}

/** HTTP/2 requests are logged with scheme and authority. */
function pathOf(uri: string): string {
  if (uri.startsWith('/')) return uri;
  const absolute = /^[a-z]+:\/\/[^/]*(.*)$/.exec(uri);
  return absolute ? absolute[1] || '/' : uri;
}
