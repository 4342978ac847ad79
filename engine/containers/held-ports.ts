/**
 * Published ports, held: a rule leads connections away before any socket of this host sees them, so a socket of ours does nothing but
 * tell others, a second engine on this host too, that the port is taken. Without it two would publish one port and neither would know.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { EngineError, type PublishedPort } from '../engine.ts';

interface Held {
  close(): void;
}

export class HeldPorts {
  readonly #held = new Map<string, Map<string, Held>>();

  /** From now on these of the sandbox, and no others. Rejects with `conflict` where one is taken; then nothing has changed. */
  async set(sandbox: string, ports: readonly PublishedPort[]): Promise<void> {
    const before = this.#held.get(sandbox) ?? new Map<string, Held>();
    const after = new Map<string, Held>();
    try {
      for (const port of ports) {
        const key = `${port.protocol} ${port.hostIp ?? ''} ${port.hostPort}`;
        if (!after.has(key)) after.set(key, before.get(key) ?? (await holdOrRefuse(port)));
      }
    } catch (error) {
      for (const [key, one] of after) if (!before.has(key)) one.close();
      throw error;
    }
    for (const [key, one] of before) if (!after.has(key)) one.close();
    if (after.size === 0) this.#held.delete(sandbox);
    else this.#held.set(sandbox, after);
  }

  close(): void {
    for (const held of this.#held.values()) for (const one of held.values()) one.close();
    this.#held.clear();
  }
}

async function holdOrRefuse(port: PublishedPort): Promise<Held> {
  try {
    return await hold(port);
  } catch (cause) {
    const where = `${port.hostIp ?? '0.0.0.0'}:${port.hostPort}`;
    throw new EngineError('conflict', `Bind for ${where} failed: port is already allocated`, { cause });
  }
}

/** Rejects where somebody listens there. */
export async function hold({ hostIp = '0.0.0.0', hostPort, protocol }: PublishedPort): Promise<Held> {
  if (protocol === 'udp') {
    const socket = createSocket('udp4');
    const listening = once(socket, 'listening');
    socket.bind({ address: hostIp, port: hostPort, exclusive: true });
    await listening;
    socket.unref();
    return socket;
  }
  const server = createServer((stray) => stray.destroy());
  const listening = once(server, 'listening');
  server.listen({ host: hostIp, port: hostPort, exclusive: true });
  await listening;
  server.unref();
  return server;
}
