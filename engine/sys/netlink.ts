/**
 * Netlink sockets, used synchronously: the kernel answers a request before `sendto` returns.
 * Sources: netlink(7), linux/netlink.h. A socket belongs for ever to the network namespace that it was made in, which is how
 * links inside a sandbox are set up without a process there.
 */
import { closeSync, openSync } from 'node:fs';
import { SystemError, syscall } from './libc.ts';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const CLONE_NEWNET = 0x40000000;

export const NetlinkFamily = { route: 0, netfilter: 12 } as const;
export const NetlinkFlag = {
  request: 0x1,
  acknowledge: 0x4,
  dump: 0x300,
  exclusive: 0x200,
  create: 0x400,
  replace: 0x100,
  append: 0x800,
} as const;

const messageType = { error: 2, done: 3 } as const;

export interface NetlinkMessage {
  type: number;
  flags: number;
  payload: Buffer;
}

/** One attribute, padded to four bytes: a number is a native u32, a string is NUL-terminated. */
export function attribute(type: number, value: Buffer | number | string): Buffer {
  let bytes: Buffer;
  if (typeof value === 'number') {
    bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
  } else {
    bytes = typeof value === 'string' ? Buffer.from(`${value}\0`) : value;
  }
  const out = Buffer.alloc(align(4 + bytes.length));
  out.writeUInt16LE(4 + bytes.length, 0);
  out.writeUInt16LE(type, 2);
  bytes.copy(out, 4);
  return out;
}

/** An attribute that holds attributes. Its type carries the flag that netfilter insists on. */
export function nested(type: number, ...attributes: Buffer[]): Buffer {
  return attribute(type | 0x8000, Buffer.concat(attributes));
}

/** The attributes of a payload from `offset` on, by type without flags. */
export function parseAttributes(payload: Buffer, offset: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  while (offset + 4 <= payload.length) {
    const length = payload.readUInt16LE(offset);
    if (length < 4 || offset + length > payload.length) break;
    found.set(payload.readUInt16LE(offset + 2) & 0x3fff, payload.subarray(offset + 4, offset + length));
    offset += align(length);
  }
  return found;
}

function align(length: number): number {
  return (length + 3) & ~3;
}

export class NetlinkSocket {
  readonly #descriptor: number;
  #sequence = 1;

  /** @param namespacePath  the network namespace to speak to; default this process's. */
  constructor(family: number, namespacePath?: string) {
    this.#descriptor =
      namespacePath === undefined ? openSocket(family) : inNetworkNamespace(namespacePath, () => openSocket(family));
  }

  /** Sends one request and throws the kernel's error, unless its code is among `ignore`. */
  request(message: NetlinkMessage, what: string, ignore: string[] = []): void {
    this.#send([{ ...message, flags: message.flags | NetlinkFlag.request | NetlinkFlag.acknowledge }]);
    const errno = this.#acknowledgement();
    if (errno === 0) return;
    const error = new SystemError('netlink', errno, what);
    if (!ignore.includes(error.code)) throw error;
  }

  /** Sends a transaction (netfilter); each message with `acknowledge` set is waited for. The first error is thrown. */
  transaction(messages: NetlinkMessage[], what: string): void {
    this.#send(messages.map((message) => ({ ...message, flags: message.flags | NetlinkFlag.request })));
    const expected = messages.filter(({ flags }) => (flags & NetlinkFlag.acknowledge) !== 0).length;
    for (let seen = 0; seen < expected; seen += 1) {
      const errno = this.#acknowledgement();
      if (errno !== 0) throw new SystemError('netlink', errno, what);
    }
  }

  /** Asks for a list; returns the payload of every answer. */
  dump(message: NetlinkMessage): Buffer[] {
    this.#send([{ ...message, flags: message.flags | NetlinkFlag.request | NetlinkFlag.dump }]);
    const payloads: Buffer[] = [];
    for (;;) {
      for (const { type, payload } of this.#receive()) {
        if (type === messageType.done) return payloads;
        if (type === messageType.error) throw new SystemError('netlink', -payload.readInt32LE(0), 'dump');
        payloads.push(payload);
      }
    }
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #send(messages: NetlinkMessage[]): void {
    const parts: Buffer[] = [];
    for (const { type, flags, payload } of messages) {
      const header = Buffer.alloc(16);
      header.writeUInt32LE(16 + payload.length, 0);
      header.writeUInt16LE(type, 4);
      header.writeUInt16LE(flags, 6);
      header.writeUInt32LE(this.#sequence++, 8);
      parts.push(header, payload, Buffer.alloc(align(payload.length) - payload.length));
    }
    const bytes = Buffer.concat(parts);
    syscall('sendto', this.#descriptor, bytes, bytes.length, 0, null, 0);
  }

  #acknowledgement(): number {
    for (;;) {
      for (const { type, payload } of this.#receive()) {
        if (type === messageType.error) return -payload.readInt32LE(0);
      }
    }
  }

  #receive(): { type: number; payload: Buffer }[] {
    const buffer = Buffer.alloc(64 * 1024);
    const length = syscall('recvfrom', this.#descriptor, buffer, buffer.length, 0, null, null);
    const messages: { type: number; payload: Buffer }[] = [];
    for (let offset = 0; offset + 16 <= length; ) {
      const size = buffer.readUInt32LE(offset);
      if (size < 16) break;
      messages.push({ type: buffer.readUInt16LE(offset + 4), payload: buffer.subarray(offset + 16, offset + size) });
      offset += align(size);
    }
    return messages;
  }
}

function openSocket(family: number): number {
  const descriptor = syscall('socket', AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family);
  // struct sockaddr_nl: family, padding, port 0 (the kernel chooses), no groups.
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  syscall('bind', descriptor, address, address.length);
  return descriptor;
}

/**
 * Runs `body`, which must be synchronous, with this thread inside another network namespace. Only sockets and files under
 * /proc/self/net care; the thread is back before anything else can run. Where it cannot come back, the process ends: going on
 * in the wrong network would be worse.
 */
export function inNetworkNamespace<T>(path: string, body: () => T): T {
  const own = openSync('/proc/thread-self/ns/net', 'r');
  const other = openSync(path, 'r');
  try {
    syscall('setns', other, CLONE_NEWNET);
    try {
      return body();
    } finally {
      try {
        syscall('setns', own, CLONE_NEWNET);
      } catch {
        process.abort();
      }
    }
  } finally {
    closeSync(other);
    closeSync(own);
  }
}
