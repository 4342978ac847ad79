/**
 * The table's rules. Pure: the golden files beside the test show the whole.
 *
 * What a Service has is a *fragment*: chains of its own, and elements of the maps that all share. Fragments are kept while their
 * Service is the same, so one change costs one fragment and a merge.
 *
 *   pick-ID       to one of the endpoints, at random          at-ID-…   with session affinity: one endpoint, and who has it
 *   local-ID      to one of those on this node
 *   outside-ID    for node ports and external addresses: the policy, and whether the source is kept
 *   balancer-ID   before that: source ranges
 */
import { createHash } from 'node:crypto';
import { ipv4Number, ipv4Text } from '#lib/ipv4.ts';
import { overlaps } from '#lib/routes.ts';
import type { Backend, ServiceNetwork, ServicePort, TrafficPolicy } from './services.ts';
import type { Chain, ElementSet, Table } from './table.ts';

export function tableName(instance: string): string {
  return `sampan-${instance}.services`;
}

const SHARED = {
  services: 'type ipv4_addr . inet_proto . inet_service : verdict',
  'node-ports': 'type inet_proto . inet_service : verdict',
  refused: 'type ipv4_addr . inet_proto . inet_service : verdict',
  'refused-node-ports': 'type inet_proto . inet_service : verdict',
} as const;

type SharedMap = keyof typeof SHARED;

export interface Fragment {
  objects: Table;
  elements: Record<SharedMap, [string, string][]>;
  /** Endpoints that may reach themselves: pods of this node. */
  own: string[];
}

/** Of the mark by which a packet is known in `leaving`; told apart by instance, so that two of one host do not translate each other's. */
const MARK_MASK = 0x7f00;

function markOf(instance: string): string {
  const own = createHash('sha256').update(instance).digest()[0] ?? 0;
  return hex(0x4000 | ((own & 0x3f) << 8));
}

function hex(number: number): string {
  return `0x${(number >>> 0).toString(16).padStart(8, '0')}`;
}

/** To be given another source when it leaves. */
function marked(instance: string): string {
  return `meta mark set meta mark & ${hex(~MARK_MASK)} | ${markOf(instance)}`;
}

const FRONTEND = 'ip daddr . meta l4proto . th dport';
const NODE_FRONTEND = 'fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport';

/** @param balancers  addresses that this host answers for, where nothing but Services listens */
export function renderTable(
  network: ServiceNetwork,
  fragments: Iterable<Fragment>,
  balancers: readonly string[],
): Table {
  const table = new Map<string, Chain | ElementSet>();
  const maps: Record<SharedMap, Map<string, string>> = {
    services: new Map(),
    'node-ports': new Map(),
    refused: new Map(),
    'refused-node-ports': new Map(),
  };
  const own = new Map<string, string>();
  for (const fragment of fragments) {
    for (const [name, object] of fragment.objects) table.set(name, object);
    for (const [name, map] of Object.entries(maps)) {
      // Where two Services name one external address and port, the first has it.
      for (const [key, verdict] of fragment.elements[name as SharedMap]) if (!map.has(key)) map.set(key, verdict);
    }
    for (const ip of fragment.own) own.set(`${ip} . ${ip}`, '');
  }
  for (const [name, spec] of Object.entries(SHARED))
    table.set(name, { kind: 'map', spec, elements: maps[name as SharedMap] });
  table.set('own', { kind: 'set', spec: 'type ipv4_addr . ipv4_addr', elements: own });
  const answered = new Map(balancers.map((ip) => [ip, '']));
  table.set('balancers', { kind: 'set', spec: 'type ipv4_addr', elements: answered });
  for (const [name, chain] of baseChains(network)) table.set(name, chain);
  return table;
}

const baseOf = new WeakMap<ServiceNetwork, [string, Chain][]>();

/** The same for ever: made once for a network. */
function baseChains(network: ServiceNetwork): [string, Chain][] {
  const known = baseOf.get(network);
  if (known !== undefined) return known;
  const { instance, clusterCidr, serviceCidr } = network;
  const chains: [string, Chain][] = [
    chain('frontends', [
      `ip daddr ${serviceCidr} ip saddr != ${clusterCidr} ${marked(instance)}`,
      `${FRONTEND} vmap @services`,
      `${NODE_FRONTEND} vmap @node-ports`,
    ]),
    chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
    chain('refusals', [`${FRONTEND} vmap @refused`, `${NODE_FRONTEND} vmap @refused-node-ports`]),
    base('arriving', 'type nat hook prerouting priority dstnat; policy accept;', ['jump frontends']),
    base('local', 'type nat hook output priority -100; policy accept;', ['jump frontends']),
    base('forward', 'type filter hook forward priority filter - 10; policy accept;', [
      'ct state new jump refusals',
      `ct state new ip daddr ${serviceCidr} goto refuse`,
    ]),
    base('input', 'type filter hook input priority filter - 10; policy accept;', [
      'ct state new jump refusals',
      'ct state new ip daddr @balancers goto refuse',
    ]),
    base('output', 'type filter hook output priority filter - 10; policy accept;', [
      'ct state new jump refusals',
      `ct state new ip daddr ${serviceCidr} goto refuse`,
    ]),
    base('leaving', 'type nat hook postrouting priority srcnat; policy accept;', leaving(network)),
  ];
  baseOf.set(network, chains);
  return chains;
}

function leaving({ instance, podCidr, clusterCidr }: ServiceNetwork): string[] {
  const gateway = ipv4Text(ipv4Number(podCidr.split('/')[0] ?? '') + 1);
  return [
    `ct status dnat ip saddr . ip daddr @own snat ip to ${gateway} fully-random`,
    `meta mark & ${hex(MARK_MASK)} != ${markOf(instance)} return`,
    // A packet that is wrapped into another leaves twice.
    `meta mark set meta mark & ${hex(~MARK_MASK)}`,
    `ip daddr ${clusterCidr} snat ip to ${gateway} fully-random`,
    'masquerade fully-random',
  ];
}

/** All of one Service's ports. */
export function renderService(network: ServiceNetwork, ports: readonly ServicePort[]): Fragment {
  const fragment = {
    objects: new Map<string, Chain | ElementSet>(),
    elements: { services: [], 'node-ports': [], refused: [], 'refused-node-ports': [] } as Fragment['elements'],
    own: [] as string[],
  };
  for (const port of ports) renderPort(network, port, fragment);
  return fragment;
}

type Building = Omit<Fragment, 'objects'> & { objects: Map<string, Chain | ElementSet> };

function renderPort(network: ServiceNetwork, port: ServicePort, fragment: Building): void {
  const { protocol, backends, internalPolicy, externalPolicy } = port;
  const id = createHash('sha256').update(`${port.name}/${protocol}`).digest('hex').slice(0, 12);
  const add = (map: SharedMap, address: string | undefined, number: number, verdict: string): void => {
    fragment.elements[map].push([`${address === undefined ? '' : `${address} . `}${protocol} . ${number}`, verdict]);
  };
  const outside = [...port.externalIps, ...port.loadBalancerIps];
  if (backends.Cluster.length === 0 && backends.Local.length === 0) {
    for (const address of [port.clusterIp, ...outside]) add('refused', address, port.port, 'goto refuse');
    if (port.nodePort !== undefined) add('refused-node-ports', undefined, port.nodePort, 'goto refuse');
    return;
  }
  const pick = picker(port, id, fragment);
  add('services', port.clusterIp, port.port, pick(internalPolicy));
  for (const { ip } of [...backends.Cluster, ...backends.Local])
    if (overlaps(`${ip}/32`, network.podCidr)) fragment.own.push(ip);
  if (outside.length === 0 && port.nodePort === undefined) return;
  const rules = outsideRules(network, externalPolicy, pick);
  fragment.objects.set(`outside-${id}`, { kind: 'chain', comment: port.name, rules });
  for (const address of port.externalIps) add('services', address, port.port, `goto outside-${id}`);
  if (port.nodePort !== undefined) add('node-ports', undefined, port.nodePort, `goto outside-${id}`);
  if (port.loadBalancerIps.length === 0) return;
  const entry = port.sourceRanges.length === 0 ? `outside-${id}` : `balancer-${id}`;
  for (const address of port.loadBalancerIps) add('services', address, port.port, `goto ${entry}`);
  if (port.sourceRanges.length > 0) fragment.objects.set(entry, balancerChain(port, id));
}

/** This host reaches an address of its own from that address, whatever the ranges are. */
function balancerChain({ name, sourceRanges, loadBalancerIps }: ServicePort, id: string): Chain {
  const allowed = withoutOverlaps([...sourceRanges, ...loadBalancerIps.map((ip) => `${ip}/32`)]);
  return {
    kind: 'chain',
    comment: name,
    rules: [`ip saddr != { ${allowed.join(', ')} } drop`, `goto outside-${id}`],
  };
}

/** Ranges of one set must not overlap: the wider one holds. */
function withoutOverlaps(ranges: readonly string[]): string[] {
  const widest = [...new Set(ranges)].sort((a, b) => Number(a.split('/')[1]) - Number(b.split('/')[1]));
  const kept: string[] = [];
  for (const range of widest) if (!kept.some((other) => overlaps(range, other))) kept.push(range);
  return kept;
}

function outsideRules(
  { instance, clusterCidr }: ServiceNetwork,
  policy: TrafficPolicy,
  pick: (policy: TrafficPolicy) => string,
): string[] {
  if (policy === 'Cluster') return [marked(instance), pick('Cluster')];
  return [
    // From inside, an external address is another name of the Service.
    `ip saddr ${clusterCidr} ${pick('Cluster')}`,
    `fib saddr type local ${marked(instance)}`,
    `fib saddr type local ${pick('Cluster')}`,
    pick('Local'),
  ];
}

/** Gives the verdict that leads to endpoints, and makes its chain when it is asked for first. */
function picker(port: ServicePort, id: string, fragment: Building): (policy: TrafficPolicy) => string {
  return (policy) => {
    const backends = port.backends[policy];
    if (backends.length === 0) return 'drop';
    const name = `${policy === 'Cluster' ? 'pick' : 'local'}-${id}`;
    if (!fragment.objects.has(name)) {
      const rules =
        port.affinitySeconds === undefined ? [randomRule(port, backends)] : affinityRules(port, id, backends, fragment);
      fragment.objects.set(name, { kind: 'chain', comment: port.name, rules });
    }
    return `goto ${name}`;
  };
}

function randomRule({ protocol }: ServicePort, backends: readonly Backend[]): string {
  const [only] = backends;
  if (backends.length === 1 && only !== undefined) return translation(protocol, only);
  const choices = backends.map(({ ip, port }, index) => `${index} : ${ip} . ${port}`);
  return `meta l4proto ${protocol} dnat ip to numgen random mod ${backends.length} map { ${choices.join(', ')} }`;
}

function translation(protocol: string, { ip, port }: Backend): string {
  return `meta l4proto ${protocol} dnat ip to ${ip}:${port}`;
}

/** The timeout is in the set's name: a set cannot change it. */
function affinityRules(port: ServicePort, id: string, backends: readonly Backend[], fragment: Building): string[] {
  const seconds = port.affinitySeconds ?? 0;
  const named = backends.map((backend) => {
    const chain = `at-${id}-${backend.ip}-${backend.port}`;
    const set = `${chain}-${seconds}`;
    fragment.objects.set(set, {
      kind: 'set',
      spec: `type ipv4_addr; size 65535; flags dynamic,timeout; timeout ${seconds}s`,
      elements: undefined,
    });
    fragment.objects.set(chain, {
      kind: 'chain',
      rules: [`update @${set} { ip saddr }`, translation(port.protocol, backend)],
    });
    return { chain, set };
  });
  const choices = named.map(({ chain }, index) => `${index} : goto ${chain}`);
  return [
    ...named.map(({ chain, set }) => `ip saddr @${set} goto ${chain}`),
    `numgen random mod ${named.length} vmap { ${choices.join(', ')} }`,
  ];
}

function chain(name: string, rules: string[]): [string, Chain] {
  return [name, { kind: 'chain', rules }];
}

function base(name: string, hook: string, rules: string[]): [string, Chain] {
  return [name, { kind: 'chain', hook, rules }];
}
