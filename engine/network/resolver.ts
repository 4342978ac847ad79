/**
 * The name servers that sandboxes get where their spec names none: the host's. A server on the loopback (systemd-resolved, dnsmasq)
 * is not there inside a sandbox, so then the list that systemd-resolved keeps of its upstream servers is used.
 */
import { readFile } from 'node:fs/promises';

export interface ResolverSettings {
  servers: string[];
  searches: string[];
  options: string[];
}

const files = ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'];

/** @returns settings with servers that are not on the loopback; `servers` is empty where the host has none */
export async function hostResolver(paths: string[] = files): Promise<ResolverSettings> {
  let first: ResolverSettings | undefined;
  for (const path of paths) {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
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

/** resolv.conf(5), without servers on the loopback or on a link. */
export function parseResolver(text: string): ResolverSettings {
  const settings: ResolverSettings = { servers: [], searches: [], options: [] };
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined && /^\d/.test(values[0]) && !values[0].startsWith('127.')) {
      settings.servers.push(values[0]);
    } else if (keyword === 'search' || keyword === 'domain') settings.searches = values;
    else if (keyword === 'options') settings.options.push(...values);
  }
  return settings;
}

export function renderResolver(settings: ResolverSettings): string {
  const lines = settings.servers.slice(0, 3).map((server) => `nameserver ${server}`);
  if (settings.searches.length > 0) lines.push(`search ${settings.searches.join(' ')}`);
  if (settings.options.length > 0) lines.push(`options ${settings.options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}
