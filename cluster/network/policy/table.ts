/**
 * The whole table of a node, of its pods and the policies that select them. Pure; the golden file beside the test shows it.
 *
 *   in-ID, out-ID    what one policy accepts
 *   to-ID, from-ID   of all pods with the same policies: each policy's in turn, and then nothing more
 *   entering, leaving  which of these an address has
 */
import { createHash } from 'node:crypto';
import type { Stored } from '../../kinds/kind.ts';
import { matchesLabels } from '../../kinds/selector.ts';
import type { NetworkPolicy } from '../../kinds/types/networking.ts';
import type { Chain, ElementSet, Table } from '../services/table.ts';
import type { PodFacts } from './policy.ts';
import { type Direction, type PolicyRules, policyRules } from './rules.ts';
import type { Selections } from './selections.ts';

/** A policy is read once for as long as it is the same. */
const read = new WeakMap<Stored<NetworkPolicy>, PolicyRules>();

function rulesOf(policy: Stored<NetworkPolicy>): PolicyRules {
  let rules = read.get(policy);
  if (rules === undefined) read.set(policy, (rules = policyRules(policy)));
  return rules;
}

const PASS = ['ct state related accept', 'ct direction reply accept', 'ip saddr . ip daddr @selves accept'];

export function renderPolicies(
  policiesOf: (namespace: string) => readonly Stored<NetworkPolicy>[],
  selections: Selections,
  resolver: string,
): Table {
  const table = new Map<string, Chain | ElementSet>();
  const maps = { entering: new Map<string, string>(), leaving: new Map<string, string>() };
  const selves = new Map<string, string>();
  const used = new Set<string>();
  const place = (pod: PodFacts, side: 'ingress' | 'egress'): void => {
    const chain = addPolicies(policiesOf(pod.namespace), { pod, side, table, selections, used });
    if (chain === undefined) return;
    maps[side === 'ingress' ? 'entering' : 'leaving'].set(pod.ip, `goto ${chain}`);
    selves.set(`${pod.ip} . ${pod.ip}`, '');
  };
  for (const pod of selections.pods()) {
    if (!pod.isHere) continue;
    // Of two that claim an address the later one has it, whatever the other's was.
    for (const map of Object.values(maps)) map.delete(pod.ip);
    place(pod, 'egress');
    place(pod, 'ingress');
  }
  selections.retain(used);
  for (const [name, elements] of Object.entries(maps))
    table.set(name, { kind: 'map', spec: 'type ipv4_addr : verdict', elements });
  table.set('selves', { kind: 'set', spec: 'type ipv4_addr . ipv4_addr', elements: selves });
  for (const [name, chain] of baseChains(resolver)) table.set(name, chain);
  return table;
}

function baseChains(resolver: string): [string, Chain][] {
  const base = (hook: string, rules: string[]): Chain => ({
    kind: 'chain',
    hook: `type filter hook ${hook}; policy accept;`,
    rules,
  });
  return [
    // The one address that is judged before it is translated: the server behind it is no pod.
    ['asking', base('prerouting priority dstnat - 20', [`ip daddr ${resolver} ip saddr vmap @leaving`])],
    ['from-pods', base('forward priority filter + 10', [...PASS, 'ip saddr vmap @leaving'])],
    ['to-pods', base('forward priority filter + 11', [...PASS, 'ip daddr vmap @entering'])],
    [
      'to-node',
      base('input priority filter + 10', [
        'ct state related accept',
        'ct direction reply accept',
        `ct original ip daddr ${resolver} accept`,
        'ip saddr vmap @leaving',
      ]),
    ],
  ];
}

interface Building {
  pod: PodFacts;
  side: 'ingress' | 'egress';
  table: Map<string, Chain | ElementSet>;
  selections: Selections;
  used: Set<string>;
}

/** @returns the chain of those that select the pod; undefined where none does */
function addPolicies(policies: readonly Stored<NetworkPolicy>[], building: Building): string | undefined {
  const { pod, side, table } = building;
  const names: string[] = [];
  for (const policy of policies) {
    const rules = rulesOf(policy);
    const own = rules[side];
    if (own === undefined || !matchesLabels(rules.subject, pod.labels)) continue;
    const name = `${side === 'ingress' ? 'in' : 'out'}-${idOf(policy.metadata.uid)}`;
    names.push(name);
    if (table.has(name)) continue;
    table.set(name, own.chain);
    addSets(own, building);
  }
  if (names.length === 0) return undefined;
  names.sort();
  const chain = `${side === 'ingress' ? 'to' : 'from'}-${idOf(names.join())}`;
  if (!table.has(chain)) table.set(chain, { kind: 'chain', rules: [...names.map((name) => `jump ${name}`), 'drop'] });
  return chain;
}

function addSets({ sets }: Direction, { table, selections, used }: Building): void {
  for (const [name, wanted] of sets) {
    const { key, port } = wanted;
    used.add(key);
    table.set(name, port === undefined ? selections.addresses(wanted) : selections.ports(wanted, port));
  }
}

function idOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
