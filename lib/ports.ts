import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Below those of Kubernetes' NodePorts, and of most kernels' outgoing connections. */
const FIRST = 10_000;
const LAST = 29_999;
const TRIES = 100;
/** The last ones: who asks for two listens on neither yet. */
const given = new Set<number>();
const REMEMBERED = 1000;

/** Can a TCP port be listened on, on every address of this host? */
export function portIsFree(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const server = createServer();
    server.once('error', () => answer(false));
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => server.close(() => answer(true)));
  });
}

/**
 * A TCP port that nobody listened on a moment ago. The kernel gives it to no outgoing connection meanwhile, nor while who listens on it
 * is away to be started anew: it is outside of `net.ipv4.ip_local_port_range`, where that leaves anything.
 */
export async function freePort(): Promise<number> {
  const [low = 0, high = 0] = outgoingPorts();
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = randomInt(FIRST, LAST + 1);
    if ((port >= low && port <= high) || given.has(port) || !(await portIsFree(port))) continue;
    remember(port);
    return port;
  }
  return anyPort();
}

function remember(port: number): void {
  given.add(port);
  for (const oldest of given) {
    if (given.size <= REMEMBERED) return;
    given.delete(oldest);
  }
}

function outgoingPorts(): number[] {
  return readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/).map(Number);
}

function anyPort(): Promise<number> {
  return new Promise((answer, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen({ port: 0, host: '0.0.0.0' }, () => {
      const address = server.address();
      server.close(() =>
        address && typeof address === 'object'
          ? answer(address.port)
          : fail(new Error('listening on a free port gave no address')),
      );
    });
  });
}
