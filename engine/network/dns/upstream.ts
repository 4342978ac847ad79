/** Asks other servers what is not ours: the message goes on as it came, under a number of its own. */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createConnection, isIPv6 } from 'node:net';
import { isReplyTo } from './message.ts';

export interface DnsServer {
  address: string;
  port: number;
}

const UDP_MILLISECONDS = 2000;
const TCP_MILLISECONDS = 5000;
/** As resolv.conf(5). */
const MOST_SERVERS = 3;

/** The first reply of the servers in turn, with the question's own number; undefined where none answers. */
export async function askOthers(
  question: Buffer,
  { end, servers, tcp, signal }: { end: number; servers: readonly DnsServer[]; tcp: boolean; signal: AbortSignal },
): Promise<Buffer | undefined> {
  const sent = Buffer.from(question);
  sent.writeUInt16BE(randomInt(65_536), 0);
  for (const server of servers.slice(0, MOST_SERVERS)) {
    if (signal.aborted) return undefined;
    const either = AbortSignal.any([signal, AbortSignal.timeout(tcp ? TCP_MILLISECONDS : UDP_MILLISECONDS)]);
    const reply = tcp ? await askByTcp(sent, server, either) : await askByUdp(sent, end, server, either);
    if (reply === undefined || !isReplyTo(reply, sent, end)) continue;
    const own = Buffer.from(reply);
    question.copy(own, 0, 0, 2);
    return own;
  }
  return undefined;
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
