/** Which ports of this host a sandbox gets. */
import { randomInt } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { EngineError, type PublishedPort, type Sandbox } from '../engine.ts';
import type { PublishedRule } from '../network/network.ts';
import { hold } from './held-ports.ts';

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

/** @param addressOf  undefined where nobody outside may come in */
export function publishedRules(
  sandboxes: readonly Sandbox[],
  addressOf: (sandbox: Sandbox) => string | undefined,
): PublishedRule[] {
  return sandboxes.flatMap((sandbox) => {
    const { id, published = [] } = sandbox;
    const ip = published.length === 0 ? undefined : addressOf(sandbox);
    return ip === undefined ? [] : published.map((port) => ({ ...port, sandbox: id, ip }));
  });
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

/** From any place on, so that two engines of one host rarely want the same one. */
async function chooseFree(port: PublishedPort, busy: readonly PublishedPort[]): Promise<PublishedPort> {
  const count = lastEphemeral - firstEphemeral + 1;
  const begin = randomInt(count);
  for (let step = 0; step < count; step += 1) {
    const candidate = { ...port, hostPort: firstEphemeral + ((begin + step) % count) };
    if (!busy.some((one) => clash(one, candidate)) && (await canListen(candidate))) return candidate;
  }
  throw new EngineError('exhausted', `no free port from ${firstEphemeral} to ${lastEphemeral} on this host`);
}

/** Nobody of this host listens there: our rule would take the connections away. */
async function canListen(port: PublishedPort): Promise<boolean> {
  try {
    const held = await hold(port);
    held.close();
    return true;
  } catch {
    // Its error is the answer, whatever it is: taken, not allowed, or no address of this host.
    return false;
  }
}
