/** The instance's nftables table, as text for `nft -f`. Pure: the golden file beside its test shows the whole. */
import { isIPv6 } from 'node:net';
import type { Network } from '../networks.ts';
import { linkPrefix, overlayName, tableName } from './names.ts';
import { counterpart, gatewayOf, parseCidr } from './addresses.ts';
import type { NetworkOptions, PublishedRule } from './network.ts';

export interface TableState {
  /** Addresses of the sandboxes with `internet` egress. */
  isolated: Iterable<string>;
  /** Ports of this host that lead to sandboxes. */
  published?: readonly PublishedRule[];
  networks?: Iterable<Network>;
  /** Addresses of the overlay's other hosts. */
  hosts?: Iterable<string>;
  /** Where the server for names listens, at the gateway of the pod range. */
  resolverPort?: number;
}

const SETS: ReadonlyMap<string, string> = new Map([
  ['networks', 'ipv4_addr'],
  ['internal', 'ipv4_addr'],
  ['peers', 'ipv4_addr . ipv4_addr'],
  ['networks6', 'ipv6_addr'],
  ['internal6', 'ipv6_addr'],
  ['peers6', 'ipv6_addr . ipv6_addr'],
]);

const NEIGHBOUR_MESSAGES = 'nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect';

/** @returns commands that replace the table in one transaction */
export function renderTable(options: NetworkOptions, state: TableState): string {
  const table = `inet ${tableName(options.instance)}`;
  const links = `"${linkPrefix(options.instance)}*"`;
  const networks = [...(state.networks ?? [])];
  const closed = `{ ${[options.clusterCidr, options.serviceCidr, '127.0.0.0/8', '169.254.0.0/16'].join(', ')} }`;
  const pods = `{ ${options.clusterCidr}, ${options.serviceCidr} }`;
  const gateway = gatewayOf(parseCidr(options.podCidr));
  const published = state.published ?? [];
  const overlay = overlayRules(options, state);
  const six = ipv6Rules(options, state);
  return `table ${table} {}
delete table ${table}
table ${table} {
  # Sandboxes that may talk to the internet and to nothing of ours.
  set isolated {
    type ipv4_addr
${elements([...state.isolated].sort())}  }
${six.sets}
  # Networks of users; those that lead nowhere else; who reaches whom.
${setsOf(networks)}
${overlay.sets}  # How often who asks for names, so that none of them keeps the engine busy.
  set askers {
    type ipv4_addr
    size 65535
    flags dynamic, timeout
    timeout 10s
  }

  # Nobody sends from an address that is not routed to their own link. Neighbours of IPv6 are written down: nobody asks, or tells.
  chain spoofing {
    type filter hook prerouting priority raw; policy accept;
    iifname ${links} ip6 saddr != @networks6 ${six.notOfPods}drop
    iifname ${links} ip6 daddr { fe80::/10, ff00::/8 } drop
    iifname ${links} icmpv6 type { ${NEIGHBOUR_MESSAGES} } drop
    iifname ${links} ip daddr 127.0.0.0/8 drop
    iifname ${links} fib saddr . iif oif 0 drop
${overlay.spoofing}  }

  # Before services are translated, so that their addresses are still to be seen.
  chain egress {
    type filter hook prerouting priority mangle; policy accept;
    iifname != ${links} return
${six.egress}    meta nfproto ipv6 return
    ip saddr @networks ip daddr ${gateway} meta l4proto { tcp, udp } th dport 53 jump asking
    ip saddr @networks ip daddr ${pods} ct state new drop
    ip saddr != @isolated return
    ct state established,related return
    fib daddr type { local, broadcast, multicast } drop
    ip daddr ${closed} drop
${overlay.egress}  }

${six.chains}  chain asking {
    update @askers { ip saddr limit rate over 2000/second burst 2000 packets } drop
    accept
  }

  # After translation too: a published port may lead to a pod or to this host.
  chain input {
    type filter hook input priority filter; policy accept;
${overlay.encapsulated}${resolverInput(state, gateway, links)}    iifname ${links} ip saddr @isolated ct state new drop
    iifname ${links} ip saddr @internal ct state new drop
    iifname ${links} ip6 saddr @internal6 ct state new drop
${six.input}  }

  chain forward {
    type filter hook forward priority filter; policy accept;
${overlay.encapsulated}    ct state established,related accept
${overlay.forward}    iifname ${links} ip saddr @isolated ip daddr ${closed} drop
${six.isolation}    iifname ${links} ip saddr . ip daddr @peers accept
    iifname ${links} ip6 saddr . ip6 daddr @peers6 accept
    iifname ${links} ip saddr @internal drop
    iifname ${links} ip6 saddr @internal6 drop
    oifname ${links} ct status dnat accept
    oifname ${links} ip daddr @networks drop
    oifname ${links} ip saddr @networks drop
    oifname ${links} ip6 daddr @networks6 drop
${six.networks}    iifname ${links} accept
    oifname ${links} ip saddr ${options.clusterCidr} accept
${six.cluster}    oifname ${links} drop
  }

  chain published {
${published
  .flatMap(publishedRules)
  .map((rule) => `    ${rule}\n`)
  .join('')}  }

  # A sandbox that reaches itself by a published port.
  chain itself {
${itselfRules(published, gateway)
  .map((rule) => `    ${rule}\n`)
  .join('')}  }

  chain arriving {
    type nat hook prerouting priority dstnat; policy accept;
${resolverTranslation(state, gateway, links)}    fib daddr type local jump published
  }

  # Nothing can be routed from ::1: what asks there is left to the socket that holds the port.
  chain local {
    type nat hook output priority -100; policy accept;
    ip6 daddr ::1 return
    fib daddr type local jump published
  }

  chain translation {
    type nat hook postrouting priority srcnat; policy accept;
    oifname ${links} ip saddr 127.0.0.0/8 snat ip to ${gateway}
    oifname ${links} ip saddr . ip daddr @peers ct status dnat snat ip to ${gateway} comment "itself, by a published port"
    oifname ${links} ct status dnat jump itself
    oifname != ${links} ip saddr @networks masquerade
    oifname ${links} ip6 saddr . ip6 daddr @peers6 ct status dnat masquerade
    oifname != ${links} ip6 saddr @networks6 masquerade
    ip saddr ${options.podCidr} ip daddr != ${options.clusterCidr} oifname != ${links} masquerade
${six.translation}  }
}
`;
}

const NO_IPV6 = {
  sets: '',
  notOfPods: '',
  egress: '',
  chains: '',
  input: '',
  isolation: '',
  networks: '',
  cluster: '',
  translation: '',
};

/** What pods with addresses of IPv6 need beside the rules for networks that have them: what is there for IPv4, in its words. */
function ipv6Rules(options: NetworkOptions, { isolated }: TableState): typeof NO_IPV6 {
  const { instance, podCidr, ipv6 } = options;
  if (ipv6 === undefined) return NO_IPV6;
  const links = `"${linkPrefix(instance)}*"`;
  const closed = `{ ${[ipv6.clusterCidr, ipv6.serviceCidr, '::1', 'fe80::/10'].join(', ')} }`;
  const members = [...isolated]
    .sort()
    .flatMap((ip) => counterpart(ip, parseCidr(podCidr), parseCidr(ipv6.podCidr)) ?? []);
  return {
    sets: `  set isolated6 {
    type ipv6_addr
${elements(members)}  }
`,
    notOfPods: `ip6 saddr != ${ipv6.podCidr} `,
    egress: `    meta nfproto ipv6 jump egress6
`,
    chains: `  chain egress6 {
    ip6 saddr @networks6 ip6 daddr { ${ipv6.clusterCidr}, ${ipv6.serviceCidr} } ct state new drop
    ip6 saddr != @isolated6 return
    ct state established,related return
    fib daddr type { local, anycast, multicast } drop
    ip6 daddr ${closed} drop
  }

`,
    input: `    iifname ${links} ip6 saddr @isolated6 ct state new drop
`,
    isolation: `    iifname ${links} ip6 saddr @isolated6 ip6 daddr ${closed} drop
`,
    networks: `    oifname ${links} ip6 saddr @networks6 drop
`,
    cluster: `    oifname ${links} ip6 saddr ${ipv6.clusterCidr} accept
`,
    translation: `    ip6 saddr ${ipv6.podCidr} ip6 daddr != ${ipv6.clusterCidr} oifname != ${links} masquerade
`,
  };
}

/** One sandbox's elements in the sets, in one transaction. */
export function renderIsolated(
  { instance, podCidr, ipv6 }: NetworkOptions,
  verb: 'add' | 'delete',
  ip: string,
): string {
  const ip6 = ipv6 && counterpart(ip, parseCidr(podCidr), parseCidr(ipv6.podCidr));
  const elements = [['isolated', ip] as const, ...(ip6 === undefined ? [] : [['isolated6', ip6] as const])];
  return elements
    .map(([set, element]) => `${verb} element inet ${tableName(instance)} ${set} { ${element} }\n`)
    .join('');
}

/**
 * Packets of the overlay are taken from its hosts alone, and nobody else's are forwarded: one that a sandbox made up would leave with
 * this host's address, and be taken by the others. After translation, since a Service may lead there. What is inside
 * comes from behind a peer, and goes to a sandbox.
 */
function overlayRules({ instance, clusterCidr, ipv6, overlay }: NetworkOptions, { hosts = [] }: TableState) {
  if (overlay === undefined) return { sets: '', spoofing: '', egress: '', encapsulated: '', forward: '' };
  const device = `"${overlayName(instance)}"`;
  const links = `"${linkPrefix(instance)}*"`;
  // Two instances may have one port: the network identifier is 12 bytes into UDP.
  const outer = `udp dport ${overlay.port} @th,96,24 ${overlay.vni}`;
  return {
    sets: `  # The overlay's other hosts.
  set hosts {
    type ipv4_addr
${elements([...hosts].sort())}  }

`,
    spoofing: `    iifname ${device} ${ipv6 === undefined ? 'meta nfproto ipv6' : `ip6 saddr != ${ipv6.clusterCidr}`} drop
    iifname ${device} fib saddr . iif oif 0 drop
    iifname != ${links} iifname != ${device} iifname != "lo" ip saddr ${clusterCidr} drop
${ipv6 === undefined ? '' : `    iifname != ${links} iifname != ${device} iifname != "lo" ip6 saddr ${ipv6.clusterCidr} drop\n`}`,
    egress: `    ip daddr @hosts drop
`,
    encapsulated: `    ip saddr != @hosts ${outer} drop
`,
    forward: `    iifname ${device} oifname != ${links} drop
`,
  };
}

/** Replaces the overlay's hosts, and nothing else, in one transaction. */
export function renderHosts(instance: string, hosts: readonly string[]): string {
  const set = `inet ${tableName(instance)} hosts`;
  const added = hosts.length === 0 ? '' : `add element ${set} { ${hosts.join(', ')} }\n`;
  return `flush set ${set}\n${added}`;
}

/** Of both families: the sets for IPv6 end in a 6. */
function setsOf(networks: readonly Network[]): string {
  const lists = new Map<string, string[]>([...SETS.keys()].map((name) => [name, []]));
  for (const network of networks) for (const [name, element] of elementsOf(network)) lists.get(name)?.push(element);
  return [...SETS]
    .map(
      ([name, type]) =>
        `  set ${name} {\n    type ${type}\n    flags interval\n${elements(lists.get(name) ?? [])}  }\n`,
    )
    .join('');
}

/** How many elements the sets have. */
export function sizesOf({ isolated, networks = [], hosts = [] }: TableState): Map<string, number> {
  const sizes = new Map([...SETS.keys()].map((name) => [name, 0]));
  for (const network of networks) for (const [name] of elementsOf(network)) sizes.set(name, (sizes.get(name) ?? 0) + 1);
  return sizes.set('isolated', [...isolated].length).set('hosts', [...hosts].length);
}

function elements(list: string[]): string {
  return list.length === 0 ? '' : `    elements = { ${list.join(', ')} }\n`;
}

function resolverInput({ resolverPort }: TableState, gateway: string, links: string): string {
  if (resolverPort === undefined) return '';
  const server = `ip daddr ${gateway} meta l4proto { tcp, udp } th dport ${resolverPort}`;
  return `    iifname != ${links} ${server} drop\n    ip saddr @networks ${server} accept\n`;
}

function resolverTranslation({ resolverPort }: TableState, gateway: string, links: string): string {
  if (resolverPort === undefined) return '';
  return ['udp', 'tcp']
    .map(
      (protocol) =>
        `    iifname ${links} ip saddr @networks ip daddr ${gateway} ${protocol} dport 53 dnat ip to ${gateway}:${resolverPort}\n`,
    )
    .join('');
}

/** One network's elements in the sets, in one transaction. */
export function renderNetwork(instance: string, verb: 'add' | 'delete', network: Network): string {
  return elementsOf(network)
    .map(([set, element]) => `${verb} element inet ${tableName(instance)} ${set} { ${element} }\n`)
    .join('');
}

function elementsOf({ subnet, ipv6, internal, isolated }: Network): [set: string, element: string][] {
  const ranges = [['', subnet] as const, ...(ipv6 === undefined ? [] : [['6', ipv6.subnet] as const])];
  return ranges.flatMap(([suffix, range]): [string, string][] => [
    [`networks${suffix}`, range],
    ...(internal ? [[`internal${suffix}`, range] satisfies [string, string]] : []),
    ...(isolated ? [] : [[`peers${suffix}`, `${range} . ${range}`] satisfies [string, string]]),
  ]);
}

/** One for each family that has an address to lead to; `0.0.0.0` and `::` stand for every address of theirs. */
function publishedRules({ ip, ip6, hostIp, hostPort, port, protocol }: PublishedRule): string[] {
  const isSix = hostIp !== undefined && isIPv6(hostIp);
  const target = isSix ? ip6 : ip;
  if (target === undefined) return [];
  const isAny = hostIp === undefined || hostIp === '0.0.0.0' || hostIp === '::';
  const family = isSix ? 'ip6' : 'ip';
  const only = isAny ? '' : `${family} daddr ${hostIp} `;
  return [`${only}${protocol} dport ${hostPort} dnat ${family} to ${isSix ? `[${target}]` : target}:${port}`];
}

function itselfRules(published: readonly PublishedRule[], gateway: string): string[] {
  const six = published.flatMap(({ ip6 }) => (ip6 === undefined ? [] : [ip6]));
  return [
    ...[...new Set(published.map(({ ip }) => ip))].map((ip) => `ip saddr ${ip} ip daddr ${ip} snat ip to ${gateway}`),
    ...[...new Set(six)].map((ip) => `ip6 saddr ${ip} ip6 daddr ${ip} masquerade`),
  ];
}

/** Replaces the published ports, and nothing else, in one transaction. */
export function renderPublished(
  { instance, podCidr }: Pick<NetworkOptions, 'instance' | 'podCidr'>,
  published: readonly PublishedRule[],
): string {
  const replaced = (name: string, rules: string[]): string[] => {
    const chain = `inet ${tableName(instance)} ${name}`;
    return [`flush chain ${chain}`, ...rules.map((rule) => `add rule ${chain} ${rule}`)];
  };
  const lines = [
    ...replaced('published', published.flatMap(publishedRules)),
    ...replaced('itself', itselfRules(published, gatewayOf(parseCidr(podCidr)))),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
