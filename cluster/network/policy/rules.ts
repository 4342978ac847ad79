/**
 * One policy's rules, as rules of nftables that refer to sets by the names of selectors. Pure.
 * Peers by ports: each pair is one rule that accepts.
 */
import { isIPv4 } from 'node:net';
import { ipv4Number, ipv4Text } from '#lib/ipv4.ts';
import type { IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from '../../kinds/types/networking.ts';
import { type Requirement, labelSelectorRequirements } from '../../kinds/selector.ts';
import type { Chain } from '../services/table.ts';
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
  /** By the names that the rules have for them. */
  sets: Map<string, Keyed & { port?: NamedPort }>;
}

interface Peer {
  /** What its address matches; empty: any. */
  match: string;
  /** The pods that it may be, for ports by name. */
  selector: Selector;
}

const PROTOCOLS = new Map([
  ['TCP', 'tcp'],
  ['UDP', 'udp'],
  ['SCTP', 'sctp'],
]);

export function policyRules({ metadata, spec }: NetworkPolicy): PolicyRules {
  const namespace = metadata.namespace ?? '';
  const subject: Selector = { namespace, pods: spec?.podSelector ?? {} };
  const types = spec?.policyTypes ?? ['Ingress', ...(spec?.egress === undefined ? [] : ['Egress'])];
  const rules: PolicyRules = { subject: labelSelectorRequirements(subject.pods ?? {}) };
  const comment = `${namespace}/${metadata.name}`;
  if (types.includes('Ingress')) {
    const parts = (spec?.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }));
    rules.ingress = direction(parts, { namespace, comment, subject, address: 'ip saddr' });
  }
  if (types.includes('Egress')) {
    const parts = (spec?.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }));
    rules.egress = direction(parts, { namespace, comment, address: 'ip daddr' });
  }
  return rules;
}

/** `subject`: the pods whose ports are meant; of egress they are the peers'. */
interface Side {
  namespace: string;
  comment: string;
  address: 'ip saddr' | 'ip daddr';
  subject?: Selector;
}

function direction(
  parts: { peers: NetworkPolicyPeer[] | undefined; ports: NetworkPolicyPort[] | undefined }[],
  side: Side,
): Direction {
  const rules = new Set<string>();
  const sets: Direction['sets'] = new Map();
  for (const { peers, ports } of parts) {
    for (const peer of peersOf(peers ?? [], side, sets)) {
      for (const port of portsOf(ports ?? [], side.subject ?? peer.selector, sets))
        rules.add([peer.match, port, 'accept'].filter((part) => part !== '').join(' '));
    }
  }
  return { chain: { kind: 'chain', comment: side.comment, rules: [...rules] }, sets };
}

function peersOf(peers: NetworkPolicyPeer[], { namespace, address }: Side, sets: Direction['sets']): Peer[] {
  if (peers.length === 0) return [{ match: '', selector: {} }];
  return peers.flatMap(({ ipBlock, podSelector, namespaceSelector }) => {
    if (ipBlock !== undefined) return blockPeer(ipBlock, address);
    const selector: Selector = {
      ...(namespaceSelector === undefined ? { namespace } : { namespaces: namespaceSelector }),
      pods: podSelector ?? {},
    };
    const key = keyOf(selector);
    const name = `pods-${key}`;
    sets.set(name, { key, selector });
    return [{ match: `${address} @${name}`, selector }];
  });
}

function blockPeer({ cidr, except = [] }: IPBlock, address: string): Peer[] {
  const block = normalized(cidr);
  const without = except.map(normalized);
  // An exception that nobody understands must not open what it was to close.
  if (block === undefined || without.includes(undefined)) return [];
  const match = [`${address} ${block}`, ...without.map((range) => `${address} != ${range}`)].join(' ');
  return [{ match, selector: {} }];
}

/** Undefined where it is none of IPv4. What is no range was refused by the API; here nothing else becomes a part of a script. */
function normalized(cidr: string): string | undefined {
  const [address = '', bits = '32'] = cidr.split('/');
  if (!isIPv4(address) || !/^\d{1,2}$/.test(bits) || Number(bits) > 32) return undefined;
  const size = 2 ** (32 - Number(bits));
  return `${ipv4Text(Math.floor(ipv4Number(address) / size) * size)}/${bits}`;
}

/** As the API lets them be. */
function isPort(port: unknown): boolean {
  if (port === undefined) return true;
  return typeof port === 'string' ? /^[a-z0-9-]{1,63}$/.test(port) : Number.isInteger(port);
}

function portsOf(ports: NetworkPolicyPort[], selector: Selector, sets: Direction['sets']): string[] {
  if (ports.length === 0) return [''];
  return ports.flatMap(({ port, endPort, protocol: wanted = 'TCP' }) => {
    const protocol = PROTOCOLS.get(wanted);
    if (protocol === undefined || !isPort(port) || !isPort(endPort)) return [];
    if (port === undefined) return [`meta l4proto ${protocol}`];
    if (typeof port === 'number') return [`${protocol} dport ${endPort === undefined ? port : `${port}-${endPort}`}`];
    const key = keyOf(selector);
    const name = `ports-${key}-${protocol}-${port}`;
    sets.set(name, { key, selector, port: { name: port, protocol } });
    return [`ip daddr . meta l4proto . th dport @${name}`];
  });
}
