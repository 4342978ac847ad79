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
import { type IpFamily, addressOfRange, familyOf, parseIpRange } from '#lib/ip-range.ts';
import { overlaps } from '#lib/routes.ts';
import type { Backend, ServiceNetwork, ServicePort, TrafficPolicy } from './services.ts';
import type { Chain, ElementSet, Table } from './table.ts';

export function tableName(instance: string): string {
  return `sampan-${instance}.services`;
}

/** How rules speak of a family; what is of IPv6 ends in a 6. */
const WORDS = {
  4: { ip: 'ip', type: 'ipv4_addr', end: '', loopback: '127.0.0.0/8' },
  6: { ip: 'ip6', type: 'ipv6_addr', end: '6', loopback: '::1' },
} as const satisfies Record<IpFamily, object>;

const SHARED = {
  services: 'type ipv4_addr . inet_proto . inet_service : verdict',
  'node-ports': 'type inet_proto . inet_service : verdict',
  refused: 'type ipv4_addr . inet_proto . inet_service : verdict',
  'refused-node-ports': 'type inet_proto . inet_service : verdict',
} as const;

type SharedMap = keyof typeof SHARED;

export interface Fragment {
  objects: Table;
  elements: Record<IpFamily, Record<SharedMap, [string, string][]>>;
  /** Endpoints that may reach themselves: pods of this node. */
  own: string[];
}

interface Ranges {
  podCidr: string;
  clusterCidr: string;
  serviceCidr: string;
}

/** Families that there are rules for, with their ranges. */
function rangesOf(network: ServiceNetwork): [IpFamily, Ranges][] {
  return [[4, network], ...(network.ipv6 === undefined ? [] : ([[6, network.ipv6]] satisfies [IpFamily, Ranges][]))];
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

function frontend(family: IpFamily): string {
  return `${WORDS[family].ip} daddr . meta l4proto . th dport`;
}

function nodeFrontend(family: IpFamily): string {
  const { ip, loopback } = WORDS[family];
  return `fib daddr type local ${ip} daddr != ${loopback} meta l4proto . th dport`;
}

/** @param balancers  addresses that this host answers for, where nothing but Services listens */
export function renderTable(
  network: ServiceNetwork,
  fragments: readonly Fragment[],
  balancers: readonly string[],
): Table {
  const table = new Map<string, Chain | ElementSet>();
  for (const { objects } of fragments) for (const [name, object] of objects) table.set(name, object);
  for (const [family] of rangesOf(network)) {
    addShared(table, family, fragments);
    const { type, end } = WORDS[family];
    const answered = balancers.filter((ip) => familyOf(ip) === family);
    const elements = new Map(answered.map((ip) => [ip, '']));
    table.set(`balancers${end}`, { kind: 'set', spec: `type ${type}`, elements });
  }
  for (const [name, chain] of baseChains(network)) table.set(name, chain);
  return table;
}

function addShared(table: Map<string, Chain | ElementSet>, family: IpFamily, fragments: readonly Fragment[]): void {
  const { type, end } = WORDS[family];
  for (const [name, spec] of Object.entries(SHARED)) {
    const elements = new Map<string, string>();
    // Where two Services name one external address and port, the first has it.
    for (const fragment of fragments)
      for (const [key, verdict] of fragment.elements[family][name as SharedMap])
        if (!elements.has(key)) elements.set(key, verdict);
    table.set(`${name}${end}`, { kind: 'map', spec: spec.replace('ipv4_addr', type), elements });
  }
  const own = fragments.flatMap((fragment) => fragment.own.filter((ip) => familyOf(ip) === family));
  const elements = new Map(own.map((ip) => [`${ip} . ${ip}`, '']));
  table.set(`own${end}`, { kind: 'set', spec: `type ${type} . ${type}`, elements });
}

const baseOf = new WeakMap<ServiceNetwork, [string, Chain][]>();

/** The same for ever: made once for a network. */
function baseChains(network: ServiceNetwork): [string, Chain][] {
  const known = baseOf.get(network);
  if (known !== undefined) return known;
  const { instance } = network;
  const all = rangesOf(network);
  const each = (rules: (words: Ranges & (typeof WORDS)[IpFamily] & { family: IpFamily }) => string[]): string[] =>
    all.flatMap(([family, ranges]) => rules({ family, ...ranges, ...WORDS[family] }));
  const noService = each(({ ip, serviceCidr }) => [`ct state new ${ip} daddr ${serviceCidr} goto refuse`]);
  const chains: [string, Chain][] = [
    chain(
      'frontends',
      each(({ family, ip, end, serviceCidr, clusterCidr }) => [
        `${ip} daddr ${serviceCidr} ${ip} saddr != ${clusterCidr} ${marked(instance)}`,
        `${frontend(family)} vmap @services${end}`,
        `${nodeFrontend(family)} vmap @node-ports${end}`,
      ]),
    ),
    chain('refuse', ['meta l4proto tcp reject with tcp reset', 'reject']),
    chain(
      'refusals',
      each(({ family, end }) => [
        `${frontend(family)} vmap @refused${end}`,
        `${nodeFrontend(family)} vmap @refused-node-ports${end}`,
      ]),
    ),
    base('arriving', 'type nat hook prerouting priority dstnat; policy accept;', ['jump frontends']),
    base('local', 'type nat hook output priority -100; policy accept;', ['jump frontends']),
    base('forward', 'type filter hook forward priority filter - 10; policy accept;', [
      'ct state new jump refusals',
      ...noService,
    ]),
    base('input', 'type filter hook input priority filter - 10; policy accept;', [
      'ct state new jump refusals',
      ...each(({ ip, end }) => [`ct state new ${ip} daddr @balancers${end} goto refuse`]),
    ]),
    base('output', 'type filter hook output priority filter - 10; policy accept;', [
      'ct state new jump refusals',
      ...noService,
    ]),
    base('leaving', 'type nat hook postrouting priority srcnat; policy accept;', [
      ...each(({ ip, end, podCidr }) => [
        `ct status dnat ${ip} saddr . ${ip} daddr @own${end} snat ${ip} to ${gatewayOf(podCidr)} fully-random`,
      ]),
      `meta mark & ${hex(MARK_MASK)} != ${markOf(instance)} return`,
      // A packet that is wrapped into another leaves twice.
      `meta mark set meta mark & ${hex(~MARK_MASK)}`,
      ...each(({ ip, podCidr, clusterCidr }) => [
        `${ip} daddr ${clusterCidr} snat ${ip} to ${gatewayOf(podCidr)} fully-random`,
      ]),
      'masquerade fully-random',
    ]),
  ];
  baseOf.set(network, chains);
  return chains;
}

function gatewayOf(podCidr: string): string {
  const range = parseIpRange(podCidr);
  if (range === undefined) throw new TypeError(`${JSON.stringify(podCidr)} is no range of pods`);
  return addressOfRange(range, 1n);
}

/** All of one Service's ports. */
export function renderService(network: ServiceNetwork, ports: readonly ServicePort[]): Fragment {
  const fragment = {
    objects: new Map<string, Chain | ElementSet>(),
    elements: { 4: noElements(), 6: noElements() },
    own: [] as string[],
  };
  for (const port of ports) renderPort(network, port, fragment);
  return fragment;
}

function noElements(): Fragment['elements'][IpFamily] {
  return { services: [], 'node-ports': [], refused: [], 'refused-node-ports': [] };
}

type Building = Omit<Fragment, 'objects'> & { objects: Map<string, Chain | ElementSet> };

function renderPort(network: ServiceNetwork, port: ServicePort, fragment: Building): void {
  const { family, protocol, backends, internalPolicy, externalPolicy } = port;
  const seed = `${port.name}/${protocol}${family === 6 ? '/6' : ''}`;
  const id = createHash('sha256').update(seed).digest('hex').slice(0, 12);
  const add = (map: SharedMap, address: string | undefined, number: number, verdict: string): void => {
    fragment.elements[family][map].push([
      `${address === undefined ? '' : `${address} . `}${protocol} . ${number}`,
      verdict,
    ]);
  };
  const outside = [...port.externalIps, ...port.loadBalancerIps];
  if (backends.Cluster.length === 0 && backends.Local.length === 0) {
    for (const address of [port.clusterIp, ...outside]) add('refused', address, port.port, 'goto refuse');
    if (port.nodePort !== undefined) add('refused-node-ports', undefined, port.nodePort, 'goto refuse');
    return;
  }
  const pick = picker(port, id, fragment);
  add('services', port.clusterIp, port.port, pick(internalPolicy));
  const [pods, cluster] =
    family === 4 ? [network.podCidr, network.clusterCidr] : [network.ipv6?.podCidr, network.ipv6?.clusterCidr];
  if (pods === undefined || cluster === undefined) throw new TypeError(`no ranges of IPv${family} for ${port.name}`);
  for (const { ip } of [...backends.Cluster, ...backends.Local]) if (overlaps(ip, pods)) fragment.own.push(ip);
  if (outside.length === 0 && port.nodePort === undefined) return;
  const inside = `${WORDS[family].ip} saddr ${cluster}`;
  const rules = outsideRules({ instance: network.instance, inside, policy: externalPolicy, pick });
  fragment.objects.set(`outside-${id}`, { kind: 'chain', comment: port.name, rules });
  for (const address of port.externalIps) add('services', address, port.port, `goto outside-${id}`);
  if (port.nodePort !== undefined) add('node-ports', undefined, port.nodePort, `goto outside-${id}`);
  if (port.loadBalancerIps.length === 0) return;
  const entry = port.sourceRanges.length === 0 ? `outside-${id}` : `balancer-${id}`;
  for (const address of port.loadBalancerIps) add('services', address, port.port, `goto ${entry}`);
  if (port.sourceRanges.length > 0) fragment.objects.set(entry, balancerChain(port, id));
}

/** This host reaches an address of its own from that address, whatever the ranges are. */
function balancerChain({ name, family, sourceRanges, loadBalancerIps }: ServicePort, id: string): Chain {
  const whole = family === 4 ? 32 : 128;
  const allowed = withoutOverlaps([...sourceRanges, ...loadBalancerIps.map((ip) => `${ip}/${whole}`)]);
  return {
    kind: 'chain',
    comment: name,
    rules: [`${WORDS[family].ip} saddr != { ${allowed.join(', ')} } drop`, `goto outside-${id}`],
  };
}

/** Ranges of one set must not overlap: the wider one holds. */
function withoutOverlaps(ranges: readonly string[]): string[] {
  const widest = [...new Set(ranges)].sort((a, b) => Number(a.split('/')[1]) - Number(b.split('/')[1]));
  const kept: string[] = [];
  for (const range of widest) if (!kept.some((other) => overlaps(range, other))) kept.push(range);
  return kept;
}

interface Outside {
  instance: string;
  /** Matches what comes from pods. */
  inside: string;
  policy: TrafficPolicy;
  pick: (policy: TrafficPolicy) => string;
}

function outsideRules({ instance, inside, policy, pick }: Outside): string[] {
  if (policy === 'Cluster') return [marked(instance), pick('Cluster')];
  return [
    // From inside, an external address is another name of the Service.
    `${inside} ${pick('Cluster')}`,
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

function randomRule({ family, protocol }: ServicePort, backends: readonly Backend[]): string {
  const [only] = backends;
  if (backends.length === 1 && only !== undefined) return translation(protocol, only);
  const choices = backends.map(({ ip, port }, index) => `${index} : ${ip} . ${port}`);
  const { ip } = WORDS[family];
  return `meta l4proto ${protocol} dnat ${ip} to numgen random mod ${backends.length} map { ${choices.join(', ')} }`;
}

function translation(protocol: string, { ip, port }: Backend): string {
  if (familyOf(ip) === 6) return `meta l4proto ${protocol} dnat ip6 to [${ip}]:${port}`;
  return `meta l4proto ${protocol} dnat ip to ${ip}:${port}`;
}

/** The timeout is in the set's name: a set cannot change it. */
function affinityRules(port: ServicePort, id: string, backends: readonly Backend[], fragment: Building): string[] {
  const seconds = port.affinitySeconds ?? 0;
  const { ip, type } = WORDS[port.family];
  const named = backends.map((backend) => {
    // No name has a colon.
    const chain = `at-${id}-${backend.ip.replaceAll(':', '.')}-${backend.port}`;
    const set = `${chain}-${seconds}`;
    fragment.objects.set(set, {
      kind: 'set',
      spec: `type ${type}; size 65535; flags dynamic,timeout; timeout ${seconds}s`,
      elements: undefined,
    });
    fragment.objects.set(chain, {
      kind: 'chain',
      rules: [`update @${set} { ${ip} saddr }`, translation(port.protocol, backend)],
    });
    return { chain, set };
  });
  const choices = named.map(({ chain }, index) => `${index} : goto ${chain}`);
  return [
    ...named.map(({ chain, set }) => `${ip} saddr @${set} goto ${chain}`),
    `numgen random mod ${named.length} vmap { ${choices.join(', ')} }`,
  ];
}

function chain(name: string, rules: string[]): [string, Chain] {
  return [name, { kind: 'chain', rules }];
}

function base(name: string, hook: string, rules: string[]): [string, Chain] {
  return [name, { kind: 'chain', hook, rules }];
}
