/**
 * Asks other servers what is not ours. They are asked in turn, as resolv.conf(5) has it; one that did not answer is asked last
 * for a while, so that not every question waits for it. One that refuses, or fails, is passed over while another is left.
 */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createConnection, isIPv6 } from 'node:net';
import { ResponseCode, isReplyTo } from './message.ts';

export interface DnsServer {
  address: string;
  port: number;
}

export interface UpstreamQuestion {
  /** Its number is replaced by a random one. */
  message: Buffer;
  /** Where the question ends in it. */
  end: number;
  servers: readonly DnsServer[];
  tcp: boolean;
  signal: AbortSignal;
}

const UDP_MILLISECONDS = 2000;
const TCP_MILLISECONDS = 5000;
/** As resolv.conf(5). */
const MOST_SERVERS = 3;
const ASKED_LAST_MILLISECONDS = 30_000;

export class Upstream {
  /** Until when, by address and port. */
  readonly #silent = new Map<string, number>();

  /** A reply with the question's own number; undefined where nobody answers. */
  async ask({ message, end, servers, tcp, signal }: UpstreamQuestion): Promise<Buffer | undefined> {
    const sent = Buffer.from(message);
    sent.writeUInt16BE(randomInt(65_536), 0);
    let poor: Buffer | undefined;
    for (const server of this.#inTurn(servers)) {
      if (signal.aborted) return undefined;
      const either = AbortSignal.any([signal, AbortSignal.timeout(tcp ? TCP_MILLISECONDS : UDP_MILLISECONDS)]);
      const reply = tcp ? await askByTcp(sent, server, either) : await askByUdp(sent, end, server, either);
      if (reply === undefined || !isReplyTo(reply, sent, end)) {
        if (!signal.aborted) this.#silent.set(keyOf(server), Date.now() + ASKED_LAST_MILLISECONDS);
        continue;
      }
      this.#silent.delete(keyOf(server));
      const own = Buffer.from(reply);
      message.copy(own, 0, 0, 2);
      const code = reply.readUInt16BE(2) & 15;
      if (code === ResponseCode.ok || code === ResponseCode.noSuchName) return own;
      poor ??= own;
    }
    return poor;
  }

  #inTurn(servers: readonly DnsServer[]): DnsServer[] {
    const now = Date.now();
    const isSilent = (server: DnsServer): boolean => (this.#silent.get(keyOf(server)) ?? 0) > now;
    const first = servers.slice(0, MOST_SERVERS);
    return [...first.filter((server) => !isSilent(server)), ...first.filter(isSilent)];
  }
}

function keyOf({ address, port }: DnsServer): string {
  return `${address} ${port}`;
}

/** Connected: the kernel drops what others send. What does not fit the question is no answer, and the wait goes on. */
async function askByUdp(
  sent: Buffer,
  end: number,
  { address, port }: DnsServer,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  const onAbort = (): void => resolve(undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  socket.on('error', () => resolve(undefined));
  socket.on('message', (reply) => isReplyTo(reply, sent, end) && resolve(reply));
  try {
    socket.connect(port, address, () => socket.send(sent));
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.close();
  }
}

async function askByTcp(sent: Buffer, { address, port }: DnsServer, signal: AbortSignal): Promise<Buffer | undefined> {
  const socket = createConnection({ host: address, port, signal });
  const length = Buffer.alloc(2);
  length.writeUInt16BE(sent.length);
  try {
    socket.write(Buffer.concat([length, sent]));
    let read = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      read = Buffer.concat([read, chunk]);
      if (read.length >= 2 && read.length >= 2 + read.readUInt16BE(0))
        return read.subarray(2, 2 + read.readUInt16BE(0));
    }
    return undefined;
  } catch {
    // It does not answer, or took too long: the next one is asked.
    return undefined;
  } finally {
    socket.destroy();
  }
}
