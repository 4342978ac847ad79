/** What this host's kernel knows of IPv6, and what it must be told before networks can have it. Sources: ip-sysctl(rst) of the kernel. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { hasCode } from '../sys/libc.ts';

const root = '/proc/sys/net/ipv6/conf';

/** Not where the kernel was started with `ipv6.disable=1`, or where it is turned off for all links. */
export function hostHasIpv6(): boolean {
  return setting('all/disable_ipv6') === '0';
}

/**
 * Packets go from one link to another. A host that forwards stops listening to routers (accept_ra 1), and forgets the default route that it has
 * from them: its links are told to listen all the same.
 */
export function forwardIpv6(): void {
  if (setting('all/forwarding') === '1') return;
  for (const link of readdirSync(root))
    if (link !== 'all' && setting(`${link}/accept_ra`) === '1') set(`${link}/accept_ra`, '2');
  set('all/forwarding', '1');
}

/** Where new links have none by default. In the network namespace that the calling thread is in. */
export function allowIpv6(link: string): void {
  if (setting(`${link}/disable_ipv6`) === '1') set(`${link}/disable_ipv6`, '0');
}

function setting(name: string): string | undefined {
  return existsSync(`${root}/${name}`) ? readFileSync(`${root}/${name}`, 'utf8').trim() : undefined;
}

function set(name: string, value: string): void {
  try {
    writeFileSync(`${root}/${name}`, value);
  } catch (error) {
    // A link that is gone needs nothing.
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}
