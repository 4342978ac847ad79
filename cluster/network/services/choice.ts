/** Which endpoints of a Service's port may be chosen on this node (`CategorizeEndpoints` of upstream's proxies). Pure. */
import { type IpFamily, addressOfRange, parseIpRange } from '#lib/ip-range.ts';
import { ipv4Number } from '#lib/ipv4.ts';
import { specialAddressProblem } from '../../kinds/special-addresses.ts';
import type { Endpoint, EndpointSlice } from '../../kinds/types/discovery.ts';
import type { Backend, TrafficPolicy } from './services.ts';

export interface NodeFacts {
  name: string;
  zone?: string;
  /** That it has rules for; default IPv4 alone. */
  families?: readonly IpFamily[];
}

interface Candidate extends Backend {
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  local: boolean;
  zones: string[] | undefined;
}

export interface PortIdentity {
  /** The empty string for the one without a name. */
  name: string;
  /** As the API has it: `TCP`. */
  protocol: string;
  /** Of the endpoints. */
  family: IpFamily;
}

export function backendsOf(
  slices: readonly EndpointSlice[],
  port: PortIdentity,
  node: NodeFacts,
): Record<TrafficPolicy, Backend[]> {
  const candidates = candidatesOf(slices, port, node);
  const near = hintsHold(candidates, node.zone)
    ? candidates.filter(({ zones }) => zones?.includes(node.zone ?? '') === true)
    : candidates;
  return {
    Cluster: firstServing(near, candidates),
    Local: firstServing(
      candidates.filter(({ local }) => local),
      candidates.filter(({ local }) => local),
    ),
  };
}

function firstServing(preferred: readonly Candidate[], all: readonly Candidate[]): Backend[] {
  const ready = preferred.filter((one) => one.ready);
  const chosen = ready.length > 0 ? ready : all.filter(({ serving, terminating }) => serving && terminating);
  return chosen.map(({ ip, port }) => ({ ip, port }));
}

/** Every ready endpoint has a hint, and one of them is for this zone: else some would get no traffic, or we none of them. */
function hintsHold(candidates: readonly Candidate[], zone: string | undefined): boolean {
  if (zone === undefined || zone === '') return false;
  const ready = candidates.filter((one) => one.ready);
  return ready.every(({ zones }) => zones !== undefined) && ready.some(({ zones }) => zones?.includes(zone));
}

/** One for each address and port, in their order; where two slices name the same, the one that is ready. */
function candidatesOf(slices: readonly EndpointSlice[], port: PortIdentity, node: NodeFacts): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== `IPv${port.family}`) continue;
    const numbers = (slice.ports ?? []).filter(
      ({ name = '', protocol = 'TCP' }) => name === port.name && protocol === port.protocol,
    );
    for (const { port: number } of numbers) {
      if (number === undefined || !isPort(number)) continue;
      for (const endpoint of slice.endpoints) {
        const ip = addressOf(endpoint, port.family);
        if (ip === undefined) continue;
        const candidate = candidateOf(endpoint, { ip, port: number }, node);
        const key = `${ip}:${number}`;
        if (candidate.ready || !found.has(key)) found.set(key, candidate);
      }
    }
  }
  return [...found.values()].sort((a, b) => byAddress(a.ip, b.ip, port.family) || a.port - b.port);
}

/** In the one way that it is written here; undefined where nobody may be led there. */
function addressOf({ addresses: [ip = ''] }: Endpoint, family: IpFamily): string | undefined {
  const found = ip.includes('/') ? undefined : parseIpRange(ip);
  if (found?.family !== family || specialAddressProblem(ip) !== undefined) return undefined;
  return family === 4 ? ip : addressOfRange(found, 0n);
}

function byAddress(one: string, other: string, family: IpFamily): number {
  return family === 4 ? ipv4Number(one) - ipv4Number(other) : one.localeCompare(other, 'en');
}

export function isPort(number: number): boolean {
  return Number.isInteger(number) && number >= 1 && number <= 65_535;
}

function candidateOf({ conditions, nodeName, hints }: Endpoint, backend: Backend, node: NodeFacts): Candidate {
  const ready = conditions?.ready ?? true;
  return {
    ...backend,
    ready,
    serving: conditions?.serving ?? ready,
    terminating: conditions?.terminating ?? false,
    local: nodeName === node.name,
    zones: hints?.forZones?.map(({ name }) => name),
  };
}
