/**
 * Listens for questions at one address, by UDP and TCP at one port, which is kept in a file: a server that is started again is where those
 * who wait for an answer ask.
 *
 * What one asker may keep busy is bounded, so that it cannot take names away from the others.
 */
import { type Socket as UdpSocket, createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import { drained } from '../drained.ts';
import { Tally } from '../tally.ts';

export interface ListenerOptions {
  address: string;
  portFile: string;
  /** Undefined: nothing is answered, and a connection ends. */
  answer: (message: Buffer, from: { ip: string; tcp: boolean }) => Promise<Buffer | undefined>;
  /** Connections of others are ended at once. */
  knows: (ip: string) => boolean;
  onError: (error: unknown) => void;
}

const CONNECTIONS_EACH = 16;
const CONNECTIONS = 512;
const IDLE_MILLISECONDS = 10_000;
const PORT_ATTEMPTS = 20;

export class DnsListener {
  readonly #options: ListenerOptions;
  readonly #udp: UdpSocket;
  readonly #tcp: Server;
  readonly #connected = new Tally();
  readonly #sockets = new Set<Socket>();
  #closed = false;
  readonly port: number;

  private constructor(options: ListenerOptions, sockets: { udp: UdpSocket; tcp: Server; port: number }) {
    this.#options = options;
    this.#udp = sockets.udp;
    this.#tcp = sockets.tcp;
    this.port = sockets.port;
    this.#tcp.maxConnections = CONNECTIONS;
    const { answer, onError } = options;
    this.#udp.on('error', onError).on('message', (message, { address, port }) => {
      answer(message, { ip: address, tcp: false }).then((reply) => {
        if (reply !== undefined && !this.#closed) this.#udp.send(reply, port, address, () => {});
      }, onError);
    });
    this.#tcp.on('error', onError).on('connection', (socket) => this.#serve(socket));
  }

  static async open(options: ListenerOptions): Promise<DnsListener> {
    const { address, portFile } = options;
    const kept = existsSync(portFile) ? Number(readFileSync(portFile, 'utf8')) : 0;
    let wanted = kept > 0 && kept < 65_536 ? kept : 0;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const sockets = await bind(address, wanted);
        writeFileSync(portFile, String(sockets.port), { mode: 0o600 });
        return new DnsListener(options, sockets);
      } catch (error) {
        const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
        if (attempt >= PORT_ATTEMPTS || !isTaken) throw error;
        wanted = 0;
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const socket of this.#sockets) socket.destroy();
    const closed = [once(this.#udp, 'close'), once(this.#tcp, 'close')];
    this.#udp.close();
    this.#tcp.close();
    await Promise.all(closed);
  }

  #serve(socket: Socket): void {
    const ip = socket.remoteAddress ?? '';
    if (!this.#options.knows(ip) || this.#connected.of(ip) >= CONNECTIONS_EACH) {
      socket.destroy();
      return;
    }
    this.#connected.add(ip, 1);
    this.#sockets.add(socket);
    socket.setTimeout(IDLE_MILLISECONDS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#connected.add(ip, -1);
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
        const reply = await this.#options.answer(read.subarray(2, 2 + length), { ip, tcp: true });
        read = read.subarray(2 + length);
        if (reply === undefined) return void socket.destroy();
        const size = Buffer.alloc(2);
        size.writeUInt16BE(reply.length);
        if (!socket.write(Buffer.concat([size, reply]))) await drained(socket);
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
