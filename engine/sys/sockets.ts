/** TCP sockets in another network namespace. A socket belongs for ever to the one that it was made in. Source: tcp(7), connect(2). */
import { isIPv4 } from 'node:net';
import { addressBytes } from '#lib/dns/address.ts';
import { hasCode, syscall } from './libc.ts';
import { inNetworkNamespace } from './netlink.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** A socket that does not block, for connections to `ip`; not connected yet. */
export function socketIn(namespacePath: string, ip: string): number {
  const family = isIPv4(ip) ? AF_INET : AF_INET6;
  return inNetworkNamespace(namespacePath, () =>
    syscall('socket', family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
  );
}

/** Begins or goes on with connecting. False: not yet, ask again. @throws SystemError where it was refused */
export function connectSocket(descriptor: number, ip: string, port: number): boolean {
  const address = isIPv4(ip) ? ipv4Address(ip, port) : ipv6Address(ip, port);
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
function ipv4Address(ip: string, port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set(addressBytes(ip), 4);
  return address;
}

/** struct sockaddr_in6: family, port, flow, address, scope. */
function ipv6Address(ip: string, port: number): Buffer {
  const address = Buffer.alloc(28);
  address.writeUInt16LE(AF_INET6, 0);
  address.writeUInt16BE(port, 2);
  address.set(addressBytes(ip), 8);
  return address;
}
