/** Which ports of this host a sandbox gets. */
import { randomInt } from 'node:crypto';
import { isIP, isIPv6 } from 'node:net';
import { EngineError, type PublishedPort, type Sandbox } from '../engine.ts';
import type { PublishedRule } from '../network/network.ts';
import { hostHasIpv6 } from '../network/ipv6-host.ts';
import { alreadyAllocated, hold } from './held-ports.ts';

const firstEphemeral = 32_768;
const lastEphemeral = 60_999;

/**
 * @param taken  those of other sandboxes
 * @param own  those that this sandbox has already
 * @returns one for each address: what is wanted at every one is there twice where the host has IPv6, at the same port
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
    const places = placesOf(port);
    if (port.hostPort === 0) {
      chosen.push(...(await chooseFree(places, busy)));
      continue;
    }
    for (const place of places) {
      const mine = own.some((one) => clash(one, place));
      if (!busy.some((one) => clash(one, place)) && (mine || (await canListen(place)))) continue;
      throw alreadyAllocated(place);
    }
    chosen.push(...places);
  }
  return chosen;
}

function placesOf(port: PublishedPort): PublishedPort[] {
  if (port.hostIp !== undefined) return [port];
  return ['0.0.0.0', ...(hostHasIpv6() ? ['::'] : [])].map((hostIp) => ({ ...port, hostIp }));
}

/** @param addressesOf  none where nobody outside may come in */
export function publishedRules(
  sandboxes: readonly Sandbox[],
  addressesOf: (sandbox: Sandbox) => { ip?: string; ip6?: string },
): PublishedRule[] {
  return sandboxes.flatMap((sandbox) => {
    const { id, published = [] } = sandbox;
    const { ip, ip6 } = published.length === 0 ? {} : addressesOf(sandbox);
    if (ip === undefined) return [];
    return published.map((port) => ({ ...port, sandbox: id, ip, ...(ip6 === undefined ? {} : { ip6 }) }));
  });
}

function validate({ hostIp, hostPort, port, protocol }: PublishedPort): void {
  const isPort = (number: number, least: number): boolean =>
    Number.isInteger(number) && number >= least && number <= 65_535;
  if (!isPort(hostPort, 0)) throw new EngineError('invalid', `ports.hostPort: ${hostPort} is no port`);
  if (!isPort(port, 1)) throw new EngineError('invalid', `ports.port: ${port} is no port`);
  if (protocol !== 'tcp' && protocol !== 'udp')
    throw new EngineError('invalid', `ports.protocol: ${JSON.stringify(protocol)} is neither tcp nor udp`);
  if (hostIp !== undefined && (isIP(hostIp) === 0 || hostIp.includes('%')))
    throw new EngineError('invalid', `ports.hostIp: ${JSON.stringify(hostIp)} is no address of this host`);
}

function clash(one: PublishedPort, other: PublishedPort): boolean {
  if (one.hostPort !== other.hostPort || one.protocol !== other.protocol) return false;
  const [here = '0.0.0.0', there = '0.0.0.0'] = [one.hostIp, other.hostIp];
  if (isIPv6(here) !== isIPv6(there)) return false;
  return here === there || [here, there].some((address) => address === '0.0.0.0' || address === '::');
}

/** From any place on, so that two engines of one host rarely want the same one. */
async function chooseFree(places: readonly PublishedPort[], busy: readonly PublishedPort[]): Promise<PublishedPort[]> {
  const count = lastEphemeral - firstEphemeral + 1;
  const begin = randomInt(count);
  for (let step = 0; step < count; step += 1) {
    const candidates = places.map((place) => ({ ...place, hostPort: firstEphemeral + ((begin + step) % count) }));
    if (await areFree(candidates, busy)) return candidates;
  }
  throw new EngineError('exhausted', `no free port from ${firstEphemeral} to ${lastEphemeral} on this host`);
}

async function areFree(places: readonly PublishedPort[], busy: readonly PublishedPort[]): Promise<boolean> {
  for (const place of places) if (busy.some((one) => clash(one, place)) || !(await canListen(place))) return false;
  return true;
}

/** Nobody of this host listens there: our rule would take the connections away. */
async function canListen(port: PublishedPort): Promise<boolean> {
  try {
    const held = await hold(port, () => undefined);
    held.close();
    return true;
  } catch {
    // Its error is the answer, whatever it is: taken, not allowed, or no address of this host.
    return false;
  }
}
