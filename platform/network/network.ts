/**
 * The network room's contract: what apps and builds may connect to, as NetworkPolicies of the namespaces of spaces.
 *
 *   security groups   where apps, tasks and builds may go. A group's rules name protocols, ports and ranges of addresses; it counts for
 *                     all (`globally`), or for the spaces that it is bound to; for what runs, or for what is staged. The sum of all
 *                     that count is allowed, and nothing else. A change holds at once, for what runs too.
 *   network policies  which app may connect to which app directly (`cf add-network-policy`). Without one none may, as in Cloud
 *                     Foundry: apps are reached through the router.
 *
 * In each space's namespace:
 *   apps              selects the pods of apps and tasks. In: nodes alone, for the router and probes. Out: names, the router, the port of
 *                     the platform's own databases (which let in whom they are bound to), and what the space's running groups say.
 *   staging           selects the pods of builds. Out: names, what the host's own settings name for builds (proxies, a registry of
 *                     packages), and what the space's staging groups say; the node holds builds off the platform besides.
 *   from-, to-<guid>  of an app that has network policies.
 *
 * Routes on internal domains (`back.apps.internal`) are names in the cluster's DNS: each leads to the ready instances of its apps.
 *
 * The platform's own addresses (those of pods, services and nodes) are in no range, however wide, that does not lie in them: a rule for
 * `0.0.0.0/0` or `10.0.0.0/8` never opens them, one for the address of a node itself does. Stricter than Cloud Foundry, where
 * an administrator has to remember what not to write.
 */
import type { SecurityRule } from '../resources/types.ts';

export interface NetworkOptions {
  /** Ranges of pods and services. */
  own: readonly string[];
  /** Of this host, besides what nodes tell of themselves. */
  hostAddresses: readonly string[];
  /** Ports of the router on every node, those of TCP routes too. */
  routerPorts: readonly number[];
  /** Of the URLs of proxies and registries that builds are given; looked up anew now and then. */
  buildHosts: readonly { host: string; port: number }[];
  log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void;
}

export interface RunningNetwork {
  /** Resolves when every space has its policies. */
  readonly ready: Promise<void>;
  close(): Promise<void>;
}

/** What every platform has from its first start on, as Cloud Foundry's own deployment has it; for all, running and staging. */
export const DEFAULT_GROUPS: { name: string; rules: SecurityRule[] }[] = [
  {
    name: 'public_networks',
    rules: [
      '0.0.0.0-9.255.255.255',
      '11.0.0.0-169.253.255.255',
      '169.255.0.0-172.15.255.255',
      '172.32.0.0-192.167.255.255',
      '192.169.0.0-255.255.255.255',
    ].map((destination) => ({ protocol: 'all', destination })),
  },
  {
    name: 'dns',
    rules: [
      { protocol: 'tcp', destination: '0.0.0.0/0', ports: '53' },
      { protocol: 'udp', destination: '0.0.0.0/0', ports: '53' },
    ],
  },
];
