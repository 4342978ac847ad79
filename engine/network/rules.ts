/** The instance's nftables table, as text for `nft -f`. Pure: the golden file beside its test shows the whole. */
import { linkPrefix, tableName } from './names.ts';
import { formatIpv4, parseCidr } from './addresses.ts';
import type { NetworkOptions, PublishedRule } from './network.ts';

/**
 * @param isolated  addresses of the sandboxes with `internet` egress
 * @param published  ports of this host that lead to sandboxes
 * @returns commands that replace the table in one transaction
 */
export function renderTable(
  options: NetworkOptions,
  isolated: Iterable<string>,
  published: readonly PublishedRule[] = [],
): string {
  const table = `inet ${tableName(options.instance)}`;
  const links = `"${linkPrefix(options.instance)}*"`;
  const elements = [...isolated].sort();
  const closed = `{ ${[options.clusterCidr, options.serviceCidr, '127.0.0.0/8', '169.254.0.0/16'].join(', ')} }`;
  return `table ${table} {}
delete table ${table}
table ${table} {
  # Sandboxes that may talk to the internet and to nothing of ours.
  set isolated {
    type ipv4_addr
${elements.length === 0 ? '' : `    elements = { ${elements.join(', ')} }\n`}  }

  # Nobody sends from an address that is not routed to their own link; pods have no IPv6.
  chain spoofing {
    type filter hook prerouting priority raw; policy accept;
    iifname ${links} meta nfproto ipv6 drop
    iifname ${links} ip daddr 127.0.0.0/8 drop
    iifname ${links} fib saddr . iif oif 0 drop
  }

  # Before services are translated, so that their addresses are still to be seen.
  chain egress {
    type filter hook prerouting priority mangle; policy accept;
    iifname != ${links} return
    ip saddr != @isolated return
    ct state established,related return
    fib daddr type { local, broadcast, multicast } drop
    ip daddr ${closed} drop
  }

  # After translation too: a published port may lead to a pod or to this host.
  chain input {
    type filter hook input priority filter; policy accept;
    iifname ${links} ip saddr @isolated ct state new drop
  }

  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    iifname ${links} ip saddr @isolated ip daddr ${closed} drop
    iifname ${links} accept
    oifname ${links} ip saddr ${options.clusterCidr} accept
    oifname ${links} ct status dnat accept
    oifname ${links} drop
  }

  chain published {
${published.map((port) => `    ${publishedRule(port)}\n`).join('')}  }

  chain arriving {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump published
  }

  chain local {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump published
  }

  chain translation {
    type nat hook postrouting priority srcnat; policy accept;
    oifname ${links} ip saddr 127.0.0.0/8 snat ip to ${formatIpv4(parseCidr(options.podCidr).base + 1)}
    ip saddr ${options.podCidr} ip daddr != ${options.clusterCidr} masquerade
  }
}
`;
}

function publishedRule({ ip, hostIp, hostPort, port, protocol }: PublishedRule): string {
  const only = hostIp === undefined ? '' : `ip daddr ${hostIp} `;
  return `${only}${protocol} dport ${hostPort} dnat ip to ${ip}:${port}`;
}

/** Replaces the published ports, and nothing else, in one transaction. */
export function renderPublished(instance: string, published: readonly PublishedRule[]): string {
  const chain = `inet ${tableName(instance)} published`;
  return [`flush chain ${chain}`, ...published.map((port) => `add rule ${chain} ${publishedRule(port)}`), ''].join(
    '\n',
  );
}
