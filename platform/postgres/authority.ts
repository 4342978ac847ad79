/**
 * The authority of the databases' certificates: it signs nothing else, so that who trusts it trusts databases alone. Made with the
 * first database.
 */
import type { Client } from '#cluster/client/client.ts';
import type { KeyPair } from '#lib/certificates.ts';
import { keptSecret } from '../resources/secrets.ts';
import { NAMESPACE } from './postgres.ts';

const DAYS = 3650;
const SERVER_DAYS = 365;

export async function openAuthority(client: Client): Promise<KeyPair> {
  const secret = { metadata: { name: 'postgres-authority', namespace: NAMESPACE }, type: 'kubernetes.io/tls' };
  const kept = await keptSecret(client, secret, async () => {
    const { createAuthority } = await import('#lib/certificates.ts');
    const { certificate, key } = await createAuthority({ commonName: 'Databases of Sampan', days: DAYS });
    return { 'tls.crt': certificate, 'tls.key': key };
  });
  return { certificate: kept['tls.crt'] ?? '', key: kept['tls.key'] ?? '' };
}

/** A server's certificate for these names. */
export async function issue(authority: KeyPair, names: string[]): Promise<KeyPair> {
  const { issueCertificate } = await import('#lib/certificates.ts');
  const [commonName = ''] = names;
  return await issueCertificate(authority, { commonName, dnsNames: names, usages: ['server'], days: SERVER_DAYS });
}
