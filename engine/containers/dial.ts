/** Connections made in a sandbox's own network, as one of its processes would: no process there is needed. */
import { closeSync } from 'node:fs';
import { isIP, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, type Sandbox } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { connectSocket, socketIn } from '../sys/sockets.ts';

const retryMilliseconds = 10;
const patience = 10_000;
const loopbacks = ['127.0.0.1', '::1'];

export interface DialOptions {
  /** Default: the sandbox's own loopback. */
  ip?: string;
  signal?: AbortSignal;
}

/** @throws EngineError `unavailable` where nothing listens there */
export async function dial(sandbox: Sandbox, port: number, { ip, signal }: DialOptions = {}): Promise<Socket> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new EngineError('invalid', `port: ${port} is not a port from 1 to 65535`);
  if (ip !== undefined && isIP(ip) === 0) throw new EngineError('invalid', `ip: "${ip}" is no address`);
  if (sandbox.lost === true) throw new EngineError('conflict', `sandbox ${sandbox.id} is lost: recover it first`);
  let refusal: unknown;
  for (const address of ip === undefined ? loopbacks : [ip]) {
    try {
      return await connect(sandbox.networkNamespacePath, address, port, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!hasCode(error, ...refusals)) throw error;
      refusal ??= error;
    }
  }
  const where = ip === undefined ? `port ${port} of sandbox ${sandbox.name}` : `${ip} port ${port}`;
  throw new EngineError('unavailable', `nothing accepts connections at ${where}`, { cause: refusal });
}

const refusals = [
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EPERM',
  'ETIMEDOUT',
];

async function connect(path: string, ip: string, port: number, signal?: AbortSignal): Promise<Socket> {
  const descriptor = socketIn(path, ip);
  try {
    const expires = Date.now() + patience;
    // Nothing tells of the end of what was begun by a system call of our own.
    while (!connectSocket(descriptor, ip, port)) {
      if (Date.now() > expires)
        throw new EngineError('unavailable', `${ip} port ${port} did not accept within ${patience / 1000} s`);
      await delay(retryMilliseconds, undefined, signal && { signal });
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return new Socket({ fd: descriptor, allowHalfOpen: true, readable: true, writable: true });
}
