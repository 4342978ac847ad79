/** The rules of security groups: checked as Cloud Foundry checks them, and as the egress of NetworkPolicies. Pure. */
import { isIPv6 } from 'node:net';
import type { NetworkPolicyEgressRule, NetworkPolicyPort } from '#cluster/kinds/types/networking.ts';
import type { SecurityRule } from '../resources/types.ts';
import { type Block, blocksOf, contains, parseRange, type Range, union, without } from './ranges.ts';

/** What NetworkPolicies have no word for; the node's agent reads it from an annotation (`icmpAnnotation`). */
export interface IcmpRule {
  blocks: Block[];
  /** -1: any. */
  type: number;
  code: number;
  /** Its connections are logged. */
  log?: true;
}

export interface Egress {
  rules: NetworkPolicyEgressRule[];
  /** Places of those whose connections are logged: see `cluster/network/policy/logging.ts`. */
  logged: number[];
  icmp: IcmpRule[];
}

const PROTOCOLS = ['tcp', 'udp', 'icmp', 'icmpv6', 'all'];
const MOST_DESTINATIONS = 6000;
const MOST_RULES = 1000;

/** In Cloud Foundry's words; empty where all of them are right. */
export function ruleProblems(rules: unknown): string[] {
  if (!Array.isArray(rules)) return ['Rules must be an array'];
  if (rules.length > MOST_RULES) return [`Rules must be at most ${MOST_RULES}`];
  return rules.flatMap((rule: unknown, index) => problemsOf(rule).map((problem) => `Rules[${index}]: ${problem}`));
}

function problemsOf(rule: unknown): string[] {
  if (rule === null || typeof rule !== 'object' || Array.isArray(rule)) return ['must be an object'];
  const { protocol, destination, ports, type, code, description, log, ...others } = rule as Record<string, unknown>;
  const problems: string[] = [];
  const unknown = Object.keys(others);
  if (unknown.length > 0) problems.push(`unknown field(s): ${JSON.stringify(unknown.map((key) => key.slice(0, 40)))}`);
  if (!PROTOCOLS.includes(String(protocol))) problems.push("protocol must be 'tcp', 'udp', 'icmp', 'icmpv6' or 'all'");
  problems.push(...destinationProblems(destination));
  if (description !== undefined && typeof description !== 'string') problems.push('description must be a string');
  if (log !== undefined && typeof log !== 'boolean') problems.push('log must be a boolean');
  if (protocol === 'tcp' || protocol === 'udp') problems.push(...portProblems(ports));
  if (protocol === 'all' && ports !== undefined) problems.push('ports are not allowed for protocols of type all');
  if (protocol === 'icmp' || protocol === 'icmpv6') {
    for (const [name, value] of Object.entries({ code, type })) {
      if (value === undefined) problems.push(`${name} is required for protocols of type ICMP`);
      if (!Number.isInteger(value) || Number(value) < -1 || Number(value) > 255)
        problems.push(`${name} must be an integer between -1 and 255 (inclusive)`);
    }
  }
  return problems;
}

function destinationProblems(destination: unknown): string[] {
  if (typeof destination !== 'string') return ['destination must be a string'];
  if (/\s/.test(destination)) return ['destination must not contain whitespace'];
  const parts = destination.split(',');
  if (parts.length > MOST_DESTINATIONS)
    return [`maximum destinations per rule exceeded - must be under ${MOST_DESTINATIONS}`];
  if (parts.every((part) => parseRange(part) !== undefined || isIPv6Range(part))) return [];
  return ['destination must contain valid CIDR(s), IP address(es), or IP address range(s)'];
}

function isIPv6Range(text: string): boolean {
  const [address = '', bits = '128', ...more] = text.split('/');
  if (more.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > 128) return false;
  const ends = address.split('-');
  return ends.length <= 2 && ends.every((end) => isIPv6(end));
}

function portProblems(ports: unknown): string[] {
  if (ports === undefined) return ['ports are required for protocols of type TCP and UDP'];
  if (typeof ports === 'string' && portsOf(ports) !== undefined) return [];
  return ['ports must be a valid single port, comma separated list of ports, or range or ports, formatted as a string'];
}

/** `53`, `80,443`, `8000-9000`, and lists of them. */
function portsOf(text: string): { first: number; last: number }[] | undefined {
  const parts = text.split(',').map((part) => {
    const [, from, to] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    const first = Number(from);
    const last = Number(to ?? from);
    return first >= 1 && last <= 65_535 && first <= last ? { first, last } : undefined;
  });
  return parts.every((part) => part !== undefined) ? parts : undefined;
}

/** @param own  the platform's: no range reaches into them that is not in one of them whole */
export function egressOf(rules: readonly SecurityRule[], own: readonly Range[]): Egress {
  // Rules of one protocol and one set of ports are one rule with all their ranges.
  const byKind = new Map<string, { rule: SecurityRule; ranges: Range[] }>();
  for (const rule of rules) {
    const key = JSON.stringify([rule.protocol, rule.ports ?? '', rule.type ?? '', rule.code ?? '', rule.log === true]);
    const known = byKind.get(key) ?? { rule, ranges: [] };
    byKind.set(key, known);
    known.ranges.push(...rangesOf(rule.destination, own));
  }
  const egress: Egress = { rules: [], logged: [], icmp: [] };
  for (const { rule, ranges } of byKind.values()) {
    const blocks = blocksOf(ranges);
    if (blocks.length === 0) continue;
    const { type = -1, code = -1, log } = rule;
    if (rule.protocol === 'icmp') egress.icmp.push({ blocks, type, code, ...(log && { log }) });
    else if (rule.protocol !== 'icmpv6') {
      if (log) egress.logged.push(egress.rules.length);
      egress.rules.push({ to: blocks.map((ipBlock) => ({ ipBlock })), ...portsFor(rule) });
    }
  }
  return egress;
}

function rangesOf(destination: string, own: readonly Range[]): Range[] {
  return destination.split(',').flatMap((text) => {
    const range = parseRange(text);
    if (!range) return [];
    return own.some((mine) => contains(mine, range)) ? [range] : without([range], union(own));
  });
}

function portsFor({ protocol, ports }: SecurityRule): Pick<NetworkPolicyEgressRule, 'ports'> {
  if (protocol === 'all') return {};
  return {
    ports: (portsOf(ports ?? '') ?? []).map(({ first, last }): NetworkPolicyPort => {
      const port = { protocol: protocol.toUpperCase(), port: first };
      return first === last ? port : { ...port, endPort: last };
    }),
  };
}
