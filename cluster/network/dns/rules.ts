/** The table that leads questions of pods to the server. Pure: the golden file beside its test shows the whole. */
import type { Chain, ElementSet, Table } from '../services/table.ts';
import type { DnsOptions } from './dns.ts';

/** At the hooks of Services, each before them. */
export function renderDnsTable(
  { clusterIp, gateway, podCidr }: Pick<DnsOptions, 'clusterIp' | 'gateway' | 'podCidr'>,
  port: number,
): Table {
  const toServer = ['udp', 'tcp'].map(
    (protocol) => `ip daddr ${clusterIp} ${protocol} dport 53 dnat ip to ${gateway}:${port}`,
  );
  const isQuestion = 'meta l4proto { tcp, udp } th dport';
  return new Map<string, Chain | ElementSet>([
    // How often who asks, so that no pod keeps the agent busy. The kernel's own: nobody fills it.
    [
      'askers',
      { kind: 'set', spec: 'type ipv4_addr; size 65535; flags dynamic,timeout; timeout 10s', elements: undefined },
    ],
    [
      'asking',
      {
        kind: 'chain',
        hook: 'type filter hook prerouting priority mangle; policy accept;',
        rules: [
          `ip saddr ${podCidr} ip daddr ${clusterIp} ${isQuestion} 53 update @askers { ip saddr limit rate over 5000/second burst 5000 packets } drop`,
        ],
      },
    ],
    [
      'arriving',
      {
        kind: 'chain',
        hook: 'type nat hook prerouting priority dstnat - 10; policy accept;',
        rules: toServer.map((rule) => `ip saddr ${podCidr} ${rule}`),
      },
    ],
    // This host itself, and pods in its network.
    ['local', { kind: 'chain', hook: 'type nat hook output priority -110; policy accept;', rules: toServer }],
    ['strangers', { kind: 'chain', rules: [`ip saddr ${podCidr} accept`, 'fib saddr type local accept', 'drop'] }],
    [
      'input',
      {
        kind: 'chain',
        hook: 'type filter hook input priority filter; policy accept;',
        rules: [`ip daddr ${gateway} ${isQuestion} ${port} jump strangers`],
      },
    ],
  ]);
}
