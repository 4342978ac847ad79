/**
 * The whole table of a node, of its pods and the policies that select them. Pure; the golden file beside the test shows it.
 *
 *   in-ID, out-ID    what one policy accepts
 *   log-ID           what it tells the kernel's log
 *   to-ID, from-ID   of all pods with the same policies: each policy's in turn, and then nothing more
 *   entering, leaving  which of these an address has
 */
import type { IpFamily } from '#lib/ip-range.ts';
import type { Stored } from '../../kinds/kind.ts';
import { matchesLabels } from '../../kinds/selector.ts';
import type { NetworkPolicy } from '../../kinds/types/networking.ts';
import type { Chain, ElementSet, Table } from '../services/table.ts';
import type { PodFacts } from './policy.ts';
import { type Direction, idOf, type PolicyRules, policyRules, type RuleOptions } from './rules.ts';
import { type Selections, ipsOf } from './selections.ts';

/** A policy is read once for as long as it is the same. */
const read = new WeakMap<Stored<NetworkPolicy>, RuleOptions & { rules: PolicyRules }>();

function rulesOf(policy: Stored<NetworkPolicy>, { families, logs }: RuleOptions): PolicyRules {
  const known = read.get(policy);
  if (known?.families === families && known.logs === logs) return known.rules;
  const rules = policyRules(policy, { families, logs });
  read.set(policy, { families, logs, rules });
  return rules;
}

export interface PolicyView extends RuleOptions {
  policiesOf: (namespace: string) => readonly Stored<NetworkPolicy>[];
  selections: Selections;
  /** Where pods ask for names. */
  resolver: string;
}

export function renderPolicies({ policiesOf, selections, resolver, families, logs }: PolicyView): Table {
  const table = new Map<string, Chain | ElementSet>();
  const of = families.map(
    (family) => ({ family, entering: new Map(), leaving: new Map(), selves: new Map() }) as Verdicts,
  );
  const used = new Set<string>();
  const place = (pod: PodFacts, side: 'ingress' | 'egress'): void => {
    const chain = addPolicies(policiesOf(pod.namespace), { pod, side, table, selections, families, logs, used });
    if (chain === undefined) return;
    for (const { family, entering, leaving, selves } of of)
      for (const ip of ipsOf(pod, family)) {
        (side === 'ingress' ? entering : leaving).set(ip, `goto ${chain}`);
        selves.set(`${ip} . ${ip}`, '');
      }
  };
  for (const pod of selections.pods()) {
    if (!pod.isHere) continue;
    // Of two that claim an address the later one has it, whatever the other's was.
    for (const { entering, leaving } of of)
      for (const ip of pod.ips) for (const map of [entering, leaving]) map.delete(ip);
    place(pod, 'egress');
    place(pod, 'ingress');
  }
  selections.retain(used);
  for (const { family, entering, leaving, selves } of of) {
    const [type, end] = [`ipv${family}_addr`, family === 6 ? '6' : ''];
    table.set(`entering${end}`, { kind: 'map', spec: `type ${type} : verdict`, elements: entering });
    table.set(`leaving${end}`, { kind: 'map', spec: `type ${type} : verdict`, elements: leaving });
    table.set(`selves${end}`, { kind: 'set', spec: `type ${type} . ${type}`, elements: selves });
  }
  for (const [name, chain] of baseChains(resolver, families)) table.set(name, chain);
  return table;
}

interface Verdicts {
  family: IpFamily;
  entering: Map<string, string>;
  leaving: Map<string, string>;
  selves: Map<string, string>;
}

function baseChains(resolver: string, families: readonly IpFamily[]): [string, Chain][] {
  const base = (hook: string, rules: string[]): Chain => ({
    kind: 'chain',
    hook: `type filter hook ${hook}; policy accept;`,
    rules,
  });
  const each = (rule: (ip: string, end: string) => string): string[] =>
    families.map((family) => (family === 6 ? rule('ip6', '6') : rule('ip', '')));
  const pass = [
    'ct state related accept',
    'ct direction reply accept',
    ...each((ip, end) => `${ip} saddr . ${ip} daddr @selves${end} accept`),
  ];
  const leaving = each((ip, end) => `${ip} saddr vmap @leaving${end}`);
  return [
    // The one address that is judged before it is translated: the server behind it is no pod.
    ['asking', base('prerouting priority dstnat - 20', [`ip daddr ${resolver} ip saddr vmap @leaving`])],
    ['from-pods', base('forward priority filter + 10', [...pass, ...leaving])],
    [
      'to-pods',
      base('forward priority filter + 11', [...pass, ...each((ip, end) => `${ip} daddr vmap @entering${end}`)]),
    ],
    [
      'to-node',
      base('input priority filter + 10', [
        'ct state related accept',
        'ct direction reply accept',
        `ct original ip daddr ${resolver} accept`,
        ...leaving,
      ]),
    ],
  ];
}

interface Building extends RuleOptions {
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
    const rules = rulesOf(policy, building);
    const own = rules[side];
    if (own === undefined || !matchesLabels(rules.subject, pod.labels)) continue;
    const name = `${side === 'ingress' ? 'in' : 'out'}-${idOf(policy.metadata.uid)}`;
    names.push(name);
    if (table.has(name)) continue;
    if (own.log !== undefined) table.set(own.log.name, own.log.chain);
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
    const { key, port, family } = wanted;
    used.add(key);
    table.set(name, port === undefined ? selections.addresses(wanted, family) : selections.ports(wanted, port, family));
  }
}
