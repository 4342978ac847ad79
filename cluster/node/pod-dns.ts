/**
 * A pod's resolv.conf, as a kubelet makes it (Kubernetes "DNS for Services and Pods"). A pod with egress to the
 * internet alone (`node.sampan.dev/egress`) has the host's servers, whatever its policy says: it reaches no other.
 */
import type { SandboxSpec } from '#engine/engine.ts';
import { hostResolver } from '#lib/dns/resolv-conf.ts';
import type { Pod } from '../kinds/types/core.ts';
import { egressAnnotation } from './labels.ts';

/** Of the cluster's own name server. */
export interface ClusterNames {
  /** `10.96.0.10` */
  server: string;
  /** `cluster.local` */
  domain: string;
}

interface Settings {
  servers: string[];
  searches: string[];
  options: string[];
}

const MOST_SERVERS = 3;
const MOST_SEARCHES = 32;
const SEARCH_CHARACTERS = 2048;

/** @returns `dns` undefined: the host's as they are; `omitted`: what did not fit, in upstream's words */
export function dnsOf(pod: Pod, names?: ClusterNames): { dns?: SandboxSpec['dns']; omitted: string[] } {
  const policy = policyOf(pod, names !== undefined);
  const config = pod.spec?.dnsConfig;
  if (policy === 'Default' && config === undefined) return { omitted: [] };
  const base = settingsOf(pod, policy, names);
  const options = (config?.options ?? []).map(({ name = '', value }) =>
    value === undefined ? name : `${name}:${value}`,
  );
  const named = new Set(options.map(nameOfOption));
  const servers = distinct([...base.servers, ...(config?.nameservers ?? [])]);
  const searches = distinct([...base.searches, ...(config?.searches ?? [])]);
  const fitting = fittingSearches(searches);
  const omitted: string[] = [];
  if (servers.length > MOST_SERVERS) {
    const applied = servers.slice(0, MOST_SERVERS).join(' ');
    omitted.push(
      `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${applied}`,
    );
  }
  if (fitting.length < searches.length) {
    omitted.push(
      `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${fitting.join(' ')}`,
    );
  }
  return {
    dns: {
      servers: servers.slice(0, MOST_SERVERS),
      searches: fitting,
      options: [...base.options.filter((option) => !named.has(nameOfOption(option))), ...options],
    },
    omitted,
  };
}

function policyOf({ metadata, spec }: Pod, hasNames: boolean): 'Cluster' | 'Default' | 'None' {
  const { dnsPolicy = 'ClusterFirst', hostNetwork = false } = spec ?? {};
  if (metadata.annotations?.[egressAnnotation] === 'internet') return 'Default';
  if (dnsPolicy === 'None') return 'None';
  if (dnsPolicy === 'ClusterFirstWithHostNet') return hasNames ? 'Cluster' : 'Default';
  return dnsPolicy === 'ClusterFirst' && hasNames && !hostNetwork ? 'Cluster' : 'Default';
}

function settingsOf({ metadata }: Pod, policy: 'Cluster' | 'Default' | 'None', names?: ClusterNames): Settings {
  if (policy === 'None') return { servers: [], searches: [], options: [] };
  const host = hostResolver();
  if (policy === 'Default' || names === undefined) return host;
  const { server, domain } = names;
  const own = [`${metadata.namespace ?? 'default'}.svc.${domain}`, `svc.${domain}`, domain];
  return { servers: [server], searches: distinct([...own, ...host.searches]), options: ['ndots:5'] };
}

function fittingSearches(searches: string[]): string[] {
  const fitting: string[] = [];
  let size = -1;
  for (const search of searches.slice(0, MOST_SEARCHES)) {
    size += 1 + search.length;
    if (size > SEARCH_CHARACTERS) break;
    fitting.push(search);
  }
  return fitting;
}

function nameOfOption(option: string): string {
  return option.split(':', 1)[0] ?? '';
}

function distinct(words: string[]): string[] {
  return [...new Set(words)];
}
