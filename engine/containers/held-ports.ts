/**
 * Published ports, held: a rule leads connections away before any socket of this host sees them, so a socket of ours does little but
 * tell others, a second engine on this host too, that the port is taken. Without it two would publish one port and neither would know.
 *
 * What does come to a socket of IPv6 is for a sandbox that no rule leads to; that is passed on.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, isIPv6 } from 'node:net';
import { EngineError, type PublishedPort } from '../engine.ts';
import { type Target, passOnConnections, passOnDatagrams } from './port-proxy.ts';

interface Held {
  close(): void;
}

export class HeldPorts {
  readonly #held = new Map<string, Map<string, Held>>();
  readonly #ports = new Map<string, readonly PublishedPort[]>();
  readonly #addressOf: (sandbox: string) => string | undefined;

  /** @param addressOf  where the sandbox can be reached from outside, now */
  constructor(addressOf: (sandbox: string) => string | undefined) {
    this.#addressOf = addressOf;
  }

  /** From now on these of the sandbox, and no others. Rejects with `conflict` where one is taken; then nothing has changed. */
  async set(sandbox: string, ports: readonly PublishedPort[]): Promise<void> {
    const before = this.#held.get(sandbox) ?? new Map<string, Held>();
    const after = new Map<string, Held>();
    try {
      for (const port of ports) {
        const key = keyOf(port);
        if (!after.has(key)) after.set(key, before.get(key) ?? (await this.#holdOrRefuse(sandbox, port)));
      }
    } catch (error) {
      for (const [key, one] of after) if (!before.has(key)) one.close();
      throw error;
    }
    for (const [key, one] of before) if (!after.has(key)) one.close();
    this.#ports.set(sandbox, ports);
    this.#held.set(sandbox, after);
    if (after.size > 0) return;
    this.#ports.delete(sandbox);
    this.#held.delete(sandbox);
  }

  async #holdOrRefuse(sandbox: string, port: PublishedPort): Promise<Held> {
    const key = keyOf(port);
    try {
      return await hold(port, () => {
        const now = this.#ports.get(sandbox)?.find((one) => keyOf(one) === key);
        const address = this.#addressOf(sandbox);
        return now === undefined || address === undefined ? undefined : { address, port: now.port };
      });
    } catch (cause) {
      throw alreadyAllocated(port, cause);
    }
  }

  close(): void {
    for (const held of this.#held.values()) for (const one of held.values()) one.close();
    this.#held.clear();
  }
}

export function alreadyAllocated({ hostIp = '0.0.0.0', hostPort }: PublishedPort, cause?: unknown): EngineError {
  const where = isIPv6(hostIp) ? `[${hostIp}]` : hostIp;
  return new EngineError('conflict', `Bind for ${where}:${hostPort} failed: port is already allocated`, { cause });
}

function keyOf({ hostIp = '', hostPort, protocol }: PublishedPort): string {
  return `${protocol} ${hostIp} ${hostPort}`;
}

/**
 * Rejects where somebody listens there.
 * @param target  what comes by IPv6 is passed on to it; with undefined it is refused
 */
export async function hold(
  { hostIp = '0.0.0.0', hostPort, protocol }: PublishedPort,
  target: () => Target | undefined,
): Promise<Held> {
  const isSix = isIPv6(hostIp);
  if (protocol === 'udp') {
    const socket = createSocket({ type: isSix ? 'udp6' : 'udp4', ipv6Only: isSix });
    const listening = once(socket, 'listening');
    socket.bind({ address: hostIp, port: hostPort, exclusive: true });
    await listening;
    socket.unref();
    return ending(socket, isSix ? passOnDatagrams(socket, target) : undefined);
  }
  const server = createServer({ allowHalfOpen: true });
  const passing = isSix ? passOnConnections(server, target) : undefined;
  if (!isSix) server.on('connection', (stray) => stray.destroy());
  const listening = once(server, 'listening');
  server.listen({ host: hostIp, port: hostPort, exclusive: true, ipv6Only: isSix });
  await listening;
  server.unref();
  return ending(server, passing);
}

function ending(held: Held, end: (() => void) | undefined): Held {
  return {
    close() {
      held.close();
      end?.();
    },
  };
}
