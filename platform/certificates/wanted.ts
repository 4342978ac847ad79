/** Which certificates there should be: a pure function of domains, routes, and what is there. */
import { createHash } from 'node:crypto';
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Domain, DomainCertificate, Route } from '../resources/types.ts';

export interface WantedSources {
  domains: readonly Stored<Domain>[];
  routes: readonly Stored<Route>[];
  certificates: readonly Stored<DomainCertificate>[];
  /** The instance's own: the router has a certificate for it and its wildcard from the beginning. */
  domain: string;
  systemHosts: readonly string[];
  /** Is there an ACME server? */
  acme: boolean;
}

type Spec = DomainCertificate['spec'];

/** By name. Uploaded ones are not in it: they stay until their domain goes. */
export function wantedCertificates(sources: WantedSources): Map<string, Spec> {
  const wanted = new Map<string, Spec>();
  const add = (spec: Spec): void => void wanted.set(certificateName(spec), spec);
  const served = sources.domains.filter(({ spec }) => !spec.internal);
  const uploaded = sources.certificates
    .filter(({ spec }) => spec.source === 'uploaded')
    .flatMap(({ spec }) => spec.hosts);
  const isUploaded = (host: string): boolean => uploaded.some((one) => covers(one, host));
  for (const { metadata, spec } of served) {
    if (spec.displayName === sources.domain) continue;
    add({ source: 'own', domain: metadata.name, hosts: [spec.displayName, `*.${spec.displayName}`] });
  }
  if (!sources.acme) return wanted;
  const own = served.find(({ spec }) => spec.displayName === sources.domain);
  const system = sources.systemHosts.filter((host) => isPublic(host) && !isUploaded(host));
  if (own !== undefined && system.length > 0)
    add({ source: 'acme', domain: own.metadata.name, hosts: system.toSorted() });
  const domainOf = new Map(served.map(({ metadata, spec }) => [metadata.name, spec.displayName]));
  for (const { spec } of sources.routes) {
    const domain = domainOf.get(spec.domain);
    if (domain === undefined || spec.protocol !== 'http' || spec.destinations.length === 0) continue;
    const host = (spec.host === '' ? domain : `${spec.host}.${domain}`).toLowerCase();
    if (!isPublic(host) || isUploaded(host) || sources.systemHosts.includes(host)) continue;
    add({ source: 'acme', domain: spec.domain, hosts: [host] });
  }
  return wanted;
}

/** One for each source and set of hosts. */
export function certificateName({ source, hosts }: Pick<Spec, 'source' | 'hosts'>): string {
  const digest = createHash('sha256').update(hosts.join(' ')).digest('hex').slice(0, 32);
  return `${source}-${digest}`;
}

export function covers(pattern: string, host: string): boolean {
  return pattern === host || (pattern.startsWith('*.') && pattern.slice(1) === host.slice(host.indexOf('.')));
}

/** RFC 6761, 6762, 7686, 8375 and ICANN's `internal`: nobody outside can know them. */
const NEVER_PUBLIC = /(^|\.)(localhost|local|internal|invalid|onion|home\.arpa)$/;
const HOST = /^(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/;

function isPublic(host: string): boolean {
  return HOST.test(host) && !NEVER_PUBLIC.test(host);
}
