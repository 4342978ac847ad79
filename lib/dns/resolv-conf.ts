/**
 * resolv.conf(5): the host's, as those in a network namespace of their own can use it. A server on the loopback (systemd-resolved, dnsmasq)
 * is not there for them, so then the list that systemd-resolved keeps of its upstream servers is used.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

export interface ResolverSettings {
  servers: string[];
  searches: string[];
  options: string[];
}

const files = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/**
 * Read synchronously: it is on the way of a start, and a turn of the thread pool may take milliseconds.
 * @returns settings with servers that are not on the loopback; `servers` is empty where the host has none
 */
export function hostResolver(paths: string[] = files): ResolverSettings {
  let first: ResolverSettings | undefined;
  for (const path of paths) {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      // The host has no such file: the next one may be there.
      continue;
    }
    const settings = parseResolver(text);
    first ??= settings;
    if (settings.servers.length > 0) return settings;
  }
  return first ?? { servers: [], searches: [], options: [] };
}

/** For who asks from this host itself: those on the loopback too. */
export async function hostServers(path = '/etc/resolv.conf'): Promise<{ address: string; port: number }[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return parseResolver(text, true).servers.map((address) => ({ address, port: 53 }));
}

/** resolv.conf(5), without servers on the loopback or on a link. */
export function parseResolver(text: string, withLoopback = false): ResolverSettings {
  const settings: ResolverSettings = { servers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    const [server = ''] = values;
    if (keyword === 'nameserver' && /^\d/.test(server) && (withLoopback || !server.startsWith('127.'))) {
      settings.servers.push(server);
    } else if (keyword === 'search' || keyword === 'domain') settings.searches = values;
    else if (keyword === 'options') settings.options.push(...values);
  }
  return settings;
}

/** At most three servers: nobody's resolver asks more. */
export function renderResolver(settings: ResolverSettings): string {
  const lines = settings.servers.slice(0, 3).map((server) => `nameserver ${server}`);
  if (settings.searches.length > 0) lines.push(`search ${settings.searches.join(' ')}`);
  if (settings.options.length > 0) lines.push(`options ${settings.options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}
