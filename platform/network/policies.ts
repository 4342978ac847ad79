/** The NetworkPolicies of a space, of what is known: see `network.ts`. Pure. */
import type {
  NetworkPolicy,
  NetworkPolicyEgressRule,
  NetworkPolicyPeer,
  NetworkPolicyPort,
} from '#cluster/kinds/types/networking.ts';
import { NAMESPACE as POSTGRES, PORT } from '../postgres/postgres.ts';
import { labels } from '../resources/types.ts';
import { portRanges } from '../router/ports.ts';
import type { Egress } from './rules.ts';

/** On every policy of this room: what has it and is not wanted is removed. */
export const ROOM_LABEL = 'platform.sampan.dev/network';
/** `IcmpRule[]` as JSON: see `cluster/network/policy/rules.ts`. */
const ICMP_ANNOTATION = 'policy.sampan.dev/icmp-egress';
/** Places in `spec.egress`, as JSON: see `cluster/network/policy/logging.ts`. */
const LOG_ANNOTATION = 'policy.sampan.dev/log-egress';

export interface Surroundings {
  /** Of each node: what the router's connections to pods on others come from, and where pods reach the router. */
  nodeAddresses: readonly string[];
  routerPorts: readonly number[];
  /** What builds need of the host's own surroundings. */
  buildTargets: readonly { ip: string; port: number }[];
}

export interface SpaceEgress {
  running: Egress;
  staging: Egress;
}

const NAMES: NetworkPolicyEgressRule = {
  to: [
    {
      namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'kube-system' } },
      podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
    },
  ],
  ports: ['UDP', 'TCP'].map((protocol) => ({ protocol, port: 53 })),
};

/** Databases of the platform's own service: they let in whom they know. */
const DATABASES: NetworkPolicyEgressRule = {
  to: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': POSTGRES } }, podSelector: {} }],
  ports: [{ protocol: 'TCP', port: PORT }],
};

export function spacePolicies(namespace: string, egress: SpaceEgress, around: Surroundings): NetworkPolicy[] {
  const nodes = around.nodeAddresses.map((ip): NetworkPolicyPeer => ({ ipBlock: { cidr: `${ip}/32` } }));
  const router = { to: nodes, ports: routerPorts(around.routerPorts) };
  // A list of nobody would mean everybody.
  const known = nodes.length > 0;
  const apps = [NAMES, DATABASES, ...(known ? [router] : [])];
  const builds = [
    NAMES,
    ...around.buildTargets.map(({ ip, port }) => ({
      to: [{ ipBlock: { cidr: `${ip}/32` } }],
      ports: [{ protocol: 'TCP', port }],
    })),
  ];
  return [
    policy(
      { namespace, name: 'apps', icmp: egress.running.icmp, logged: after(apps, egress.running) },
      {
        podSelector: { matchExpressions: [{ key: labels.app, operator: 'Exists' }] },
        policyTypes: ['Ingress', 'Egress'],
        ingress: known ? [{ from: nodes }] : [],
        egress: [...apps, ...egress.running.rules],
      },
    ),
    policy(
      { namespace, name: 'staging', icmp: egress.staging.icmp, logged: after(builds, egress.staging) },
      {
        podSelector: { matchExpressions: [{ key: labels.build, operator: 'Exists' }] },
        policyTypes: ['Egress'],
        egress: [...builds, ...egress.staging.rules],
      },
    ),
  ];
}

/** Where those of the groups that are logged are, with these before them. */
function after(rules: readonly NetworkPolicyEgressRule[], { logged }: Egress): number[] {
  return logged.map((place) => rules.length + place);
}

function routerPorts(ports: readonly number[]): NetworkPolicyPort[] {
  return portRanges([...new Set(ports)].sort((a, b) => a - b)).map((range) => {
    const [port, endPort] = range.split('-').map(Number);
    return { protocol: 'TCP', port: port ?? 0, ...(endPort === undefined ? {} : { endPort }) };
  });
}

export interface Connection {
  source: { guid: string; namespace: string };
  destination: { guid: string; namespace: string };
  protocol: 'tcp' | 'udp';
  ports: { start: number; end: number };
}

/** Each app that may be connected to, and each that may connect, has one policy that says with whom. */
export function connectionPolicies(connections: readonly Connection[]): NetworkPolicy[] {
  const incoming = Map.groupBy(connections, ({ destination }) => destination.guid);
  const outgoing = Map.groupBy(connections, ({ source }) => source.guid);
  return [
    ...[...incoming].flatMap(([guid, all]) => connectionPolicy('to', guid, all)),
    ...[...outgoing].flatMap(([guid, all]) => connectionPolicy('from', guid, all)),
  ];
}

function connectionPolicy(way: 'to' | 'from', guid: string, connections: readonly Connection[]): NetworkPolicy[] {
  const [first] = connections;
  if (!first) return [];
  const rules = connections.map(({ source, destination, protocol, ports }) => {
    const { start, end } = ports;
    const port = { protocol: protocol.toUpperCase(), port: start, ...(end === start ? {} : { endPort: end }) };
    return { peers: [podsOf(way === 'to' ? source : destination)], ports: [port] };
  });
  const { namespace } = way === 'to' ? first.destination : first.source;
  const podSelector = { matchLabels: { [labels.app]: guid } };
  return [
    policy(
      { namespace, name: `${way}-${guid}`, icmp: [], logged: [] },
      way === 'to'
        ? { podSelector, policyTypes: ['Ingress'], ingress: rules.map(({ peers, ports }) => ({ from: peers, ports })) }
        : { podSelector, policyTypes: ['Egress'], egress: rules.map(({ peers, ports }) => ({ to: peers, ports })) },
    ),
  ];
}

function podsOf({ guid, namespace }: { guid: string; namespace: string }): NetworkPolicyPeer {
  return {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
    podSelector: { matchLabels: { [labels.app]: guid } },
  };
}

function policy(
  about: { namespace: string; name: string } & Pick<Egress, 'icmp' | 'logged'>,
  spec: NonNullable<NetworkPolicy['spec']>,
): NetworkPolicy {
  const { namespace, name, icmp, logged } = about;
  return {
    metadata: {
      name,
      namespace,
      labels: { [ROOM_LABEL]: 'true' },
      annotations: { [ICMP_ANNOTATION]: JSON.stringify(icmp), [LOG_ANNOTATION]: JSON.stringify(logged) },
    },
    spec,
  };
}
