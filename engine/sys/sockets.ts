/** TCP sockets in another network namespace. A socket belongs for ever to the one that it was made in. Source: tcp(7), connect(2). */
import { hasCode, syscall } from './libc.ts';
import { inNetworkNamespace } from './netlink.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

export type LoopbackFamily = 'ipv4' | 'ipv6';

/** A socket that does not block; not connected yet. */
export function loopbackSocket(namespacePath: string, family: LoopbackFamily): number {
  const domain = family === 'ipv4' ? AF_INET : AF_INET6;
  return inNetworkNamespace(namespacePath, () =>
    syscall('socket', domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
  );
}

/** Begins or goes on with connecting to the loopback. False: not yet, ask again. @throws SystemError where it was refused */
export function connectLoopback(descriptor: number, family: LoopbackFamily, port: number): boolean {
  const address = family === 'ipv4' ? ipv4Loopback(port) : ipv6Loopback(port);
  try {
    syscall('connect', descriptor, address, address.length);
    return true;
  } catch (error) {
    if (hasCode(error, 'EISCONN')) return true;
    if (hasCode(error, 'EINPROGRESS', 'EALREADY')) return false;
    throw error;
  }
}

/** struct sockaddr_in: family, port in network order, address. */
function ipv4Loopback(port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set([127, 0, 0, 1], 4);
  return address;
}

/** struct sockaddr_in6: family, port, flow, address, scope. */
function ipv6Loopback(port: number): Buffer {
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  address[23] = 1;
  return address;
}
