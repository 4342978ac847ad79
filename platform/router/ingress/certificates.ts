/** Which certificates Ingresses bring: of two for one host the older Ingress's counts. */
import type { Stored } from '#cluster/kinds/kind.ts';
import type { Secret } from '#cluster/kinds/types/core.ts';
import type { Ingress } from '#cluster/kinds/types/networking.ts';
import { type HostCertificate, RouterError } from '../model.ts';
import { checkHostCertificate } from '../validate.ts';
import type { IngressProblem, IngressSources } from './ingress.ts';
import { secretText } from '../../resources/secrets.ts';

/** @param ours  the oldest first */
export function certificatesOf(
  ours: readonly Stored<Ingress>[],
  sources: IngressSources,
  problems: IngressProblem[],
): HostCertificate[] {
  const taken = new Set<string>();
  const certificates: HostCertificate[] = [];
  for (const ingress of ours) {
    const { metadata, spec } = ingress;
    for (const { hosts, secretName } of spec?.tls ?? []) {
      const named = (hosts ?? []).length > 0 ? hosts : spec?.rules?.map(({ host }) => host);
      const free = [...new Set(named?.map((host) => host?.toLowerCase() ?? ''))].filter(
        (host) => host !== '' && !taken.has(host) && !sources.systemHosts.has(host),
      );
      if (secretName === undefined || secretName === '' || free.length === 0) continue;
      try {
        const secret = sources.certificate(metadata.namespace ?? '', secretName);
        const certificate = { hosts: free, pem: pemOf(secret, secretName) };
        checkHostCertificate(certificate);
        certificates.push(certificate);
        for (const host of free) taken.add(host);
      } catch (error) {
        if (!(error instanceof RouterError)) throw error;
        problems.push({
          ingress,
          reason: 'InvalidCertificate',
          message: `TLS for ${free.join(', ')}: ${error.message}`,
        });
      }
    }
  }
  return certificates;
}

function pemOf(secret: Secret | undefined, name: string): string {
  if (secret === undefined)
    throw new RouterError(
      'invalid',
      `there is no Secret ${name} of the type kubernetes.io/tls: the instance's own certificate is offered`,
    );
  return `${secretText(secret, 'tls.crt')}\n${secretText(secret, 'tls.key')}`;
}
