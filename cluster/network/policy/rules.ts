/**
 * One policy's rules, as rules of nftables that refer to sets by the names of selectors. Pure.
 * Peers by ports: each pair is one rule that accepts, and one before all of them where it is to be logged.
 */
import { createHash } from 'node:crypto';
import { type IpFamily, type IpRange, parseIpRange, rangeText } from '#lib/ip-range.ts';
import type { IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../kinds/types/networking.ts';
import { type Requirement, labelSelectorRequirements } from '../../kinds/selector.ts';
import type { Chain } from '../services/table.ts';
import { icmpAnnotation, icmpMatches } from './icmp.ts';
import { logAnnotation, logChain, loggedPlaces } from './logging.ts';
import { type Keyed, type NamedPort, type Selector, keyOf } from './selections.ts';

export interface PolicyRules {
  /** The pods of its namespace that it is about. */
  subject: Requirement[];
  /** Absent: it says nothing of that direction. */
  ingress?: Direction;
  egress?: Direction;
}

export interface Direction {
  chain: Chain;
  /** What the rules refer to besides, where something is logged. */
  log?: { name: string; chain: Chain };
  /** By the names that the rules have for them. */
  sets: Map<string, Keyed & { port?: NamedPort; family: IpFamily }>;
}

/** A part of a rule. Without a family it is for each. */
interface Match {
  /** Empty: any. */
  text: string;
  family?: IpFamily;
}

interface Peer extends Match {
  /** The pods that it may be, for ports by name. */
  selector: Selector;
}

const PROTOCOLS = new Map([
  ['TCP', 'tcp'],
  ['UDP', 'udp'],
  ['SCTP', 'sctp'],
]);

export interface RuleOptions {
  /** That pods have addresses of. */
  families: readonly IpFamily[];
  /** The kernel can. */
  logs: boolean;
}

export function policyRules({ metadata, spec }: NetworkPolicy, { families, logs }: RuleOptions): PolicyRules {
  const namespace = metadata.namespace ?? '';
  const subject: Selector = { namespace, pods: spec?.podSelector ?? {} };
  const types = spec?.policyTypes ?? ['Ingress', ...(spec?.egress === undefined ? [] : ['Egress'])];
  const rules: PolicyRules = { subject: labelSelectorRequirements(subject.pods ?? {}) };
  const comment = `${namespace}/${metadata.name}`;
  if (types.includes('Ingress')) {
    const parts = (spec?.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }));
    rules.ingress = direction(parts, { namespace, comment, families, subject, side: 'saddr' });
  }
  if (types.includes('Egress')) {
    const logged = loggedPlaces(metadata.annotations?.[logAnnotation]);
    const parts = (spec?.egress ?? []).map(({ to, ports }, place) => ({ peers: to, ports, log: logged.has(place) }));
    const more = icmpMatches(metadata.annotations?.[icmpAnnotation]);
    const log = { name: `log-${idOf(metadata.uid ?? '')}`, chain: logChain(comment) };
    rules.egress = direction(parts, { namespace, comment, families, side: 'daddr', more, ...(logs && { log }) });
  }
  return rules;
}

/** A short name that is the same for the same text, for ever. */
export function idOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}

/** `subject`: the pods whose ports are meant; of egress they are the peers'. */
interface Side {
  namespace: string;
  comment: string;
  families: readonly IpFamily[];
  /** Where the peer's address is. */
  side: 'saddr' | 'daddr';
  subject?: Selector;
  /** What is let through besides. */
  more?: { text: string; log: boolean }[];
  /** Absent: nothing is logged. */
  log?: NonNullable<Direction['log']>;
}

interface Part {
  peers: NetworkPolicyPeer[] | undefined;
  ports: NetworkPolicyPort[] | undefined;
  log?: boolean;
}

function direction(parts: Part[], side: Side): Direction {
  const matches: { text: string; log: boolean }[] = [];
  const sets: Direction['sets'] = new Map();
  for (const { peers, ports, log = false } of parts) {
    for (const peer of peersOf(peers ?? [], side, sets)) {
      for (const port of portsOf(ports ?? [], { selector: side.subject ?? peer.selector, ...side }, sets)) {
        // Nothing is of two families.
        if (peer.family !== undefined && port.family !== undefined && peer.family !== port.family) continue;
        matches.push({ text: [peer.text, port.text].filter((part) => part !== '').join(' '), log });
      }
    }
  }
  const log = side.log;
  const all = [...matches, ...(side.more ?? [])];
  const logged = log === undefined ? [] : all.filter((match) => match.log);
  const rules = new Set([
    ...logged.map(({ text }) => `${text} jump ${log?.name}`.trim()),
    ...all.map(({ text }) => `${text} accept`.trim()),
  ]);
  const chain: Chain = { kind: 'chain', comment: side.comment, rules: [...rules] };
  return { chain, sets, ...(log !== undefined && logged.length > 0 && { log }) };
}

function peersOf(peers: NetworkPolicyPeer[], side: Side, sets: Direction['sets']): Peer[] {
  if (peers.length === 0) return [{ text: '', selector: {} }];
  return peers.flatMap(({ ipBlock, podSelector, namespaceSelector }) => {
    if (ipBlock !== undefined) return blockPeer(ipBlock, side);
    const selector: Selector = {
      ...(namespaceSelector === undefined ? { namespace: side.namespace } : { namespaces: namespaceSelector }),
      pods: podSelector ?? {},
    };
    const key = keyOf(selector);
    return side.families.map((family) => {
      const name = `pods${end(family)}-${key}`;
      sets.set(name, { key, selector, family });
      return { text: `${ip(family)} ${side.side} @${name}`, family, selector };
    });
  });
}

function blockPeer({ cidr, except = [] }: IPBlock, { side, families }: Side): Peer[] {
  const block = parseIpRange(cidr);
  const without = except.map(parseIpRange);
  // An exception that nobody understands must not open what it was to close.
  if (block === undefined || !families.includes(block.family)) return [];
  if (without.some((range) => range?.family !== block.family)) return [];
  const address = `${ip(block.family)} ${side}`;
  const rest = without.map((range) => `${address} != ${rangeText(range as IpRange)}`);
  return [{ text: [`${address} ${rangeText(block)}`, ...rest].join(' '), family: block.family, selector: {} }];
}

function ip(family: IpFamily): string {
  return family === 6 ? 'ip6' : 'ip';
}

/** Of names of what is of IPv6. */
function end(family: IpFamily): string {
  return family === 6 ? '6' : '';
}

/** As the API lets them be. */
function isPort(port: unknown): boolean {
  if (port === undefined) return true;
  return typeof port === 'string' ? /^[a-z0-9-]{1,63}$/.test(port) : Number.isInteger(port);
}

function portsOf(
  ports: NetworkPolicyPort[],
  { selector, families }: { selector: Selector; families: readonly IpFamily[] },
  sets: Direction['sets'],
): Match[] {
  if (ports.length === 0) return [{ text: '' }];
  return ports.flatMap(({ port, endPort, protocol: wanted = 'TCP' }): Match[] => {
    const protocol = PROTOCOLS.get(wanted);
    if (protocol === undefined || !isPort(port) || !isPort(endPort)) return [];
    if (port === undefined) return [{ text: `meta l4proto ${protocol}` }];
    if (typeof port === 'number')
      return [{ text: `${protocol} dport ${endPort === undefined ? port : `${port}-${endPort}`}` }];
    const key = keyOf(selector);
    return families.map((family) => {
      const name = `ports${end(family)}-${key}-${protocol}-${port}`;
      sets.set(name, { key, selector, port: { name: port, protocol }, family });
      return { text: `${ip(family)} daddr . meta l4proto . th dport @${name}`, family };
    });
  });
}
