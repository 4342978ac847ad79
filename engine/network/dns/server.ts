/**
 * The server for names of user-defined networks: one socket each for UDP and TCP on this host's gateway address of the pod range.
 * The table leads questions of those networks to it, and drops what comes from elsewhere. Who asks is told by the
 * source address, which nobody can forge.
 *
 * What one sandbox may keep busy is bounded, so that it cannot take names away from the others.
 */
import { type Socket as UdpSocket, createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type Server, type Socket, createServer, isIPv6 } from 'node:net';
import { hasCode } from '../../sys/libc.ts';
import { type Answer, type Query, RecordType, ResponseCode, readQuery, writeRefusal, writeReply } from './message.ts';
import {
  type NameSource,
  type Named,
  addressOfPointer,
  findAsker,
  lookUp,
  lookUpAddress,
  mayAskOthers,
} from './names.ts';
import { type DnsServer, askOthers } from './upstream.ts';

export interface NameServerOptions {
  address: string;
  /** Keeps the port, so that a restarted engine is where those who wait for an answer ask. */
  portFile: string;
  source: NameSource;
  /** This host's own servers. */
  hostServers: () => Promise<DnsServer[]>;
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

const UDP_LIMIT = 512;
const QUESTIONS_EACH = 64;
const CONNECTIONS_EACH = 16;
const CONNECTIONS = 512;
const IDLE_MILLISECONDS = 10_000;
const PORT_ATTEMPTS = 20;

export class NameServer {
  readonly #options: NameServerOptions;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #closing = new AbortController();
  readonly #asking = new Map<string, number>();
  readonly #connected = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  readonly port: number;

  private constructor(options: NameServerOptions, sockets: { udp: UdpSocket; tcp: Server; port: number }) {
    this.#options = options;
    this.#udp = sockets.udp;
    this.#tcp = sockets.tcp;
    this.port = sockets.port;
    this.#tcp.maxConnections = CONNECTIONS;
    const onError = (error: unknown): void => options.log('warn', 'the server for names', { error: String(error) });
    this.#udp.on('error', onError).on('message', (message, { address, port }) => {
      void this.answer(message, { ip: address, tcp: false }).then((reply) => {
        if (reply !== undefined && !this.#closing.signal.aborted) this.#udp.send(reply, port, address, () => {});
      }, onError);
    });
    this.#tcp.on('error', onError).on('connection', (socket) => this.#serve(socket));
  }

  static async open(options: NameServerOptions): Promise<NameServer> {
    const { address, portFile } = options;
    const kept = existsSync(portFile) ? Number(readFileSync(portFile, 'utf8')) : 0;
    let wanted = kept > 0 && kept < 65_536 ? kept : 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const sockets = await bind(address, wanted);
        writeFileSync(portFile, String(sockets.port), { mode: 0o600 });
        return new NameServer(options, sockets);
      } catch (error) {
        if (attempt >= PORT_ATTEMPTS || !hasCode(error, 'EADDRINUSE')) throw error;
        wanted = 0;
      }
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const socket of this.#sockets) socket.destroy();
    const closed = [once(this.#udp, 'close'), once(this.#tcp, 'close')];
    this.#udp.close();
    this.#tcp.close();
    await Promise.all(closed);
  }

  /** Undefined: nothing is answered. */
  async answer(message: Buffer, from: { ip: string; tcp: boolean }): Promise<Buffer | undefined> {
    const { source } = this.#options;
    const asker = findAsker(source, from.ip);
    if (asker === undefined) return undefined;
    const query = readQuery(message);
    if (query === undefined) return undefined;
    if (typeof query === 'number') return writeRefusal(message, query);
    const limit = from.tcp ? 65_535 : UDP_LIMIT;
    const own = this.#ownAnswers(asker, query);
    if (own !== undefined) return writeReply(message, query, { answers: own, limit });
    return (
      (await this.#others(message, query, { asker, tcp: from.tcp })) ??
      writeReply(message, query, { code: ResponseCode.serverFailure })
    );
  }

  /** Undefined where the name is none of ours; an empty list where we have nothing of that type. */
  #ownAnswers(asker: Named, { name, type }: Query): Answer[] | undefined {
    const { source } = this.#options;
    if (name === undefined || name === '') return undefined;
    if (type === RecordType.ptr) {
      const ip = addressOfPointer(name);
      const found = ip === undefined ? undefined : lookUpAddress(source, asker, ip);
      return found === undefined ? undefined : [{ type: 'ptr', name: found }];
    }
    const addresses = lookUp(source, asker, name);
    if (addresses === undefined) return undefined;
    return addresses
      .map((ip): Answer => ({ type: isIPv6(ip) ? 'aaaa' : 'a', ip }))
      .filter((answer) => type === RecordType.any || type === RecordType[answer.type]);
  }

  async #others(
    message: Buffer,
    query: Query,
    { asker, tcp }: { asker: Named; tcp: boolean },
  ): Promise<Buffer | undefined> {
    const { source, hostServers } = this.#options;
    const { sandbox, servers = [] } = asker;
    if (!mayAskOthers(source, asker) || count(this.#asking, sandbox) >= QUESTIONS_EACH) return undefined;
    add(this.#asking, sandbox, 1);
    try {
      return await askOthers(message, {
        end: query.end,
        servers: servers.length > 0 ? servers.map((address) => ({ address, port: 53 })) : await hostServers(),
        tcp,
        signal: this.#closing.signal,
      });
    } finally {
      add(this.#asking, sandbox, -1);
    }
  }

  #serve(socket: Socket): void {
    const ip = socket.remoteAddress ?? '';
    const isKnown = findAsker(this.#options.source, ip) !== undefined;
    if (!isKnown || count(this.#connected, ip) >= CONNECTIONS_EACH) {
      socket.destroy();
      return;
    }
    add(this.#connected, ip, 1);
    this.#sockets.add(socket);
    socket.setTimeout(IDLE_MILLISECONDS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      add(this.#connected, ip, -1);
      this.#sockets.delete(socket);
    });
    // It went away in the middle, which is its right.
    void this.#converse(socket, ip).catch(() => socket.destroy());
  }

  /** One question after the other: who does not read its answers is not read either. */
  async #converse(socket: Socket, ip: string): Promise<void> {
    let read = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      read = Buffer.concat([read, chunk]);
      for (;;) {
        const length = read.length < 2 ? undefined : read.readUInt16BE(0);
        if (length === undefined || read.length < 2 + length) break;
        const reply = await this.answer(read.subarray(2, 2 + length), { ip, tcp: true });
        read = read.subarray(2 + length);
        if (reply === undefined) return void socket.destroy();
        const size = Buffer.alloc(2);
        size.writeUInt16BE(reply.length);
        if (!socket.write(Buffer.concat([size, reply]))) await once(socket, 'drain');
      }
    }
    socket.end();
  }
}

/** Both at one port. */
async function bind(address: string, wanted: number): Promise<{ udp: UdpSocket; tcp: Server; port: number }> {
  const udp = createSocket('udp4');
  const tcp = createServer();
  try {
    const bound = once(udp, 'listening');
    udp.bind({ address, port: wanted, exclusive: true });
    await bound;
    const { port } = udp.address();
    const listening = once(tcp, 'listening');
    tcp.listen({ host: address, port, exclusive: true });
    await listening;
    return { udp, tcp, port };
  } catch (error) {
    udp.close();
    tcp.close();
    throw error;
  }
}

function count(map: ReadonlyMap<string, number>, key: string): number {
  return map.get(key) ?? 0;
}

function add(map: Map<string, number>, key: string, change: number): void {
  const value = count(map, key) + change;
  if (value === 0) map.delete(key);
  else map.set(key, value);
}
