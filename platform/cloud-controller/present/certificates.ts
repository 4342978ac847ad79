import type { Stored } from '#cluster/kinds/kind.ts';
import type { DomainCertificate } from '../../resources/types.ts';
import type { Json, Urls } from '../api.ts';
import { base, link, time, toOne } from './base.ts';

export function presentCertificate(urls: Urls, certificate: Stored<DomainCertificate>): Json {
  const { spec, status } = certificate;
  const at = (value: string | null | undefined): string | null => (value ? time(value) : null);
  return {
    ...base(certificate),
    source: spec.source,
    hosts: spec.hosts,
    state: status?.state ?? 'PENDING',
    issuer: status?.issuer ?? null,
    serial_number: status?.serial ?? null,
    not_before: at(status?.notBefore),
    not_after: at(status?.notAfter),
    renews_at: at(status?.renewAt),
    error: status?.error ?? null,
    failed_attempts: status?.failures ?? 0,
    next_attempt_at: at(status?.nextAttempt),
    relationships: { domain: toOne(spec.domain) },
    links: { domain: link(`${urls.api}/v3/domains/${spec.domain}`) },
  };
}
