/** Sockets of this process in the network of a pod: what a program there would see, without starting one. */
import { closeSync } from 'node:fs';
import { type Socket as UdpSocket, createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { SystemError, syscall } from '#engine/sys/libc.ts';
import { inNetworkNamespace } from '#engine/sys/netlink.ts';

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
/** EALREADY, EINPROGRESS */
const UNDER_WAY = [114, 115];

function openIn(namespacePath: string, type: number): number {
  return inNetworkNamespace(namespacePath, () => syscall('socket', AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

/** Bound at once, since it is open already. */
function udpIn(namespacePath: string): UdpSocket {
  const socket = createSocket('udp4');
  socket.bind({ fd: openIn(namespacePath, SOCK_DGRAM) });
  return socket;
}

/** The first answer to one datagram; rejects when the signal is aborted, or with what came back instead. */
export async function exchange(
  namespacePath: string,
  { ip, port, message, signal }: { ip: string; port: number; message: Buffer; signal: AbortSignal },
): Promise<Buffer> {
  const socket = udpIn(namespacePath);
  try {
    const answer = once(socket, 'message', { signal });
    socket.send(message, port, ip);
    const [reply] = (await answer) as [Buffer];
    return reply;
  } finally {
    socket.close();
  }
}

/** The code of the error that comes back for a datagram; rejects when the signal is aborted. */
export async function refusal(
  namespacePath: string,
  { ip, port, signal }: { ip: string; port: number; signal: AbortSignal },
): Promise<string | undefined> {
  const socket = udpIn(namespacePath);
  try {
    const refused = once(socket, 'error', { signal });
    socket.connect(port, ip, () => socket.send('?'));
    const [error] = (await refused) as [NodeJS.ErrnoException];
    return error.code;
  } finally {
    socket.close();
  }
}

/** Datagrams from one port to one other, again and again: one connection, as the packet filter sees it. */
export function conversation(
  namespacePath: string,
  { ip, port }: { ip: string; port: number },
): Disposable & { isAnswered: (milliseconds: number) => Promise<boolean> } {
  const socket = udpIn(namespacePath);
  return {
    async isAnswered(milliseconds) {
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(milliseconds) });
      socket.send('hello', port, ip);
      return await answer.then(
        () => true,
        () => false,
      );
    },
    [Symbol.dispose]: () => void socket.close(),
  };
}

/** Gives datagrams back, until it is disposed. */
export function echo(namespacePath: string, port: number): Disposable {
  const descriptor = openIn(namespacePath, SOCK_DGRAM);
  const address = socketAddress('0.0.0.0', port);
  syscall('bind', descriptor, address, address.length);
  const socket = createSocket('udp4');
  socket.bind({ fd: descriptor });
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.on('error', () => {});
  return { [Symbol.dispose]: () => void socket.close() };
}

/** struct sockaddr_in: family, port in network order, address. */
function socketAddress(ip: string, port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set(ip.split('.').map(Number), 4);
  return address;
}

/** Resolves when a connection was made; rejects where it was refused, or when the signal is aborted. */
export async function connects(
  namespacePath: string,
  { ip, port, signal }: { ip: string; port: number; signal: AbortSignal },
): Promise<void> {
  const address = socketAddress(ip, port);
  const descriptor = openIn(namespacePath, SOCK_STREAM);
  try {
    while (!(await isConnected(descriptor, address))) await delay(5, undefined, { signal });
  } finally {
    closeSync(descriptor);
  }
}

async function isConnected(descriptor: number, address: Buffer): Promise<boolean> {
  try {
    syscall('connect', descriptor, address, address.length);
    return true;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === 'EISCONN') return true;
    if (UNDER_WAY.includes(error.errno)) return false;
    throw error;
  }
}
