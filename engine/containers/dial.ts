/** Connections to what listens inside a sandbox, made in its own network: no process there is needed. */
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError, type Sandbox } from '../engine.ts';
import { hasCode } from '../sys/libc.ts';
import { connectLoopback, type LoopbackFamily, loopbackSocket } from '../sys/sockets.ts';

const retryMilliseconds = 10;
const patience = 10_000;

/** @throws EngineError `unavailable` where nothing listens there */
export async function dial(sandbox: Sandbox, port: number, signal?: AbortSignal): Promise<Socket> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new EngineError('invalid', `port: ${port} is not a port from 1 to 65535`);
  if (sandbox.lost === true) throw new EngineError('conflict', `sandbox ${sandbox.id} is lost: recover it first`);
  let refusal: unknown;
  for (const family of ['ipv4', 'ipv6'] as const) {
    try {
      return await connect(sandbox.networkNamespacePath, family, port, signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!hasCode(error, 'ECONNREFUSED', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'ENETUNREACH', 'ETIMEDOUT')) throw error;
      refusal ??= error;
    }
  }
  throw new EngineError('unavailable', `nothing accepts connections at port ${port} of sandbox ${sandbox.name}`, {
    cause: refusal,
  });
}

async function connect(path: string, family: LoopbackFamily, port: number, signal?: AbortSignal): Promise<Socket> {
  const descriptor = loopbackSocket(path, family);
  try {
    const expires = Date.now() + patience;
    // On a loopback the kernel answers at once, but where the listener's queue is full.
    while (!connectLoopback(descriptor, family, port)) {
      if (Date.now() > expires)
        throw new EngineError('unavailable', `port ${port} did not accept within ${patience / 1000} s`);
      await delay(retryMilliseconds, undefined, signal && { signal });
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return new Socket({ fd: descriptor, allowHalfOpen: true, readable: true, writable: true });
}
