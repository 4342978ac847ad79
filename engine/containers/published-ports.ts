/** Which ports of this host a sandbox gets. */
import { createSocket } from 'node:dgram';
import { isIPv4 } from 'node:net';
import { createServer } from 'node:net';
import { EngineError, type PublishedPort, type Sandbox } from '../engine.ts';
import type { PublishedRule } from '../network/network.ts';

const firstEphemeral = 32_768;
const lastEphemeral = 60_999;

/**
 * @param taken  those of other sandboxes
 * @param own  those that this sandbox has already
 */
export async function choosePorts(
  wanted: readonly PublishedPort[],
  taken: readonly PublishedPort[],
  own: readonly PublishedPort[],
): Promise<PublishedPort[]> {
  const chosen: PublishedPort[] = [];
  for (const port of wanted) {
    validate(port);
    const busy = [...taken, ...chosen];
    if (port.hostPort === 0) {
      chosen.push(await chooseFree(port, busy));
      continue;
    }
    const mine = own.some((one) => clash(one, port));
    if (busy.some((one) => clash(one, port)) || !(mine || (await canListen(port)))) {
      throw new EngineError(
        'conflict',
        `Bind for ${port.hostIp ?? '0.0.0.0'}:${port.hostPort} failed: port is already allocated`,
      );
    }
    chosen.push(port);
  }
  return chosen;
}

export function publishedRules(sandboxes: readonly Sandbox[]): PublishedRule[] {
  return sandboxes.flatMap(({ id, ip, published = [] }) => published.map((port) => ({ ...port, sandbox: id, ip })));
}

function validate({ hostIp, hostPort, port, protocol }: PublishedPort): void {
  const isPort = (number: number, least: number): boolean =>
    Number.isInteger(number) && number >= least && number <= 65_535;
  if (!isPort(hostPort, 0)) throw new EngineError('invalid', `ports.hostPort: ${hostPort} is no port`);
  if (!isPort(port, 1)) throw new EngineError('invalid', `ports.port: ${port} is no port`);
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw new EngineError('invalid', `ports.protocol: ${JSON.stringify(protocol)} is neither tcp nor udp`);
  if (hostIp !== undefined && !isIPv4(hostIp))
    throw new EngineError('invalid', `ports.hostIp: ${JSON.stringify(hostIp)} is no IPv4 address`);
}

function clash(one: PublishedPort, other: PublishedPort): boolean {
  if (one.hostPort !== other.hostPort || one.protocol !== other.protocol) return false;
  return one.hostIp === undefined || other.hostIp === undefined || one.hostIp === other.hostIp;
}

async function chooseFree(port: PublishedPort, busy: readonly PublishedPort[]): Promise<PublishedPort> {
  for (let hostPort = firstEphemeral; hostPort <= lastEphemeral; hostPort += 1) {
    const candidate = { ...port, hostPort };
    if (!busy.some((one) => clash(one, candidate)) && (await canListen(candidate))) return candidate;
  }
  throw new EngineError('exhausted', `no free port from ${firstEphemeral} to ${lastEphemeral} on this host`);
}

/** Nobody of this host listens there: our rule would take the connections away. */
async function canListen({ hostIp = '0.0.0.0', hostPort, protocol }: PublishedPort): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  if (protocol === 'udp') {
    const socket = createSocket('udp4');
    socket.once('error', () => resolve(false));
    socket.bind({ address: hostIp, port: hostPort, exclusive: true }, () => socket.close(() => resolve(true)));
  } else {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: hostIp, port: hostPort, exclusive: true }, () => server.close(() => resolve(true)));
  }
  return await promise;
}
