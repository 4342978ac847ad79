/** How certificates stand and which of them are offered: pure functions of what is kept. Times are milliseconds since the epoch. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { DomainCertificate } from '../resources/types.ts';
import type { HostCertificate } from '../router/model.ts';
import type { CertificateSource } from './certificates.ts';
import type { KeptCertificate } from './kept.ts';
import { renewalTime } from './schedule.ts';

type Status = NonNullable<DomainCertificate['status']>;

const STRENGTH: readonly CertificateSource[] = ['uploaded', 'acme', 'own'];

/** What of the status follows from what is kept; the rest stays as it is. */
export function standing(
  { metadata, spec, status }: Stored<DomainCertificate>,
  kept: KeptCertificate | undefined,
  now: number,
): Partial<Status> {
  if (kept === undefined) return { state: status?.error ? 'FAILED' : 'PENDING' };
  const renewed = spec.source !== 'uploaded';
  return {
    state: kept.notAfter > now ? 'ACTIVE' : 'EXPIRED',
    issuer: kept.issuer,
    serial: kept.serial,
    notBefore: text(kept.notBefore),
    notAfter: text(kept.notAfter),
    ...(renewed && { renewAt: text(renewalTime(metadata.name, kept.notBefore, kept.notAfter)) }),
  };
}

/** When it is to be made or made anew; infinity: never. */
export function dueTime(
  { metadata, spec, status }: Stored<DomainCertificate>,
  kept: KeptCertificate | undefined,
): number {
  if (spec.source === 'uploaded') return Number.POSITIVE_INFINITY;
  const whole = kept !== undefined && spec.hosts.every((host) => kept.isFor(host));
  const due = whole ? renewalTime(metadata.name, kept.notBefore, kept.notAfter) : 0;
  return Math.max(due, Date.parse(status?.nextAttempt ?? '') || 0);
}

export interface Standing {
  certificate: Stored<DomainCertificate>;
  kept: KeptCertificate | undefined;
}

/** The strongest for each host, those that are over left out. */
export function offeredOf(all: readonly Standing[], now: number): HostCertificate[] {
  const taken = new Set<string>();
  const offered: HostCertificate[] = [];
  const strength = ({ certificate }: Standing): number => STRENGTH.indexOf(certificate.spec.source);
  const age = ({ certificate: { metadata } }: Standing): string =>
    `${metadata.creationTimestamp ?? ''} ${metadata.name}`;
  const sorted = all.toSorted((a, b) => strength(a) - strength(b) || (age(a) < age(b) ? 1 : -1));
  for (const { certificate, kept } of sorted) {
    if (kept === undefined || kept.notAfter <= now) continue;
    const hosts = certificate.spec.hosts.filter((host) => !taken.has(host) && kept.isFor(host));
    if (hosts.length === 0) continue;
    for (const host of hosts) taken.add(host);
    offered.push({ hosts, pem: kept.pem, ofPlatform: true });
  }
  return offered;
}

export function text(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
