/**
 * The authority of the databases' certificates: it signs nothing else, so that who trusts it trusts databases alone. A Secret of the
 * namespace, made with the first database.
 */
import { ApiError, type Client } from '#cluster/client/client.ts';
import { secrets } from '#cluster/kinds/resources.ts';
import type { KeyPair } from '#lib/certificates.ts';
import { decoded } from './controller/context.ts';
import { NAMESPACE } from './postgres.ts';

const NAME = 'postgres-authority';
const DAYS = 3650;
const SERVER_DAYS = 365;

export async function openAuthority(client: Client): Promise<KeyPair> {
  const known = await find(client);
  if (known) return known;
  const { createAuthority } = await import('#lib/certificates.ts');
  const made = await createAuthority({ commonName: 'Databases of Sampan', days: DAYS });
  try {
    await client.create(secrets, {
      metadata: { name: NAME, namespace: NAMESPACE },
      type: 'kubernetes.io/tls',
      stringData: { 'tls.crt': made.certificate, 'tls.key': made.key },
    });
    return made;
  } catch (error) {
    const other = error instanceof ApiError && error.reason === 'AlreadyExists' ? await find(client) : undefined;
    if (other === undefined) throw error;
    return other;
  }
}

async function find(client: Client): Promise<KeyPair | undefined> {
  try {
    const secret = await client.get(secrets, NAME, NAMESPACE);
    return { certificate: decoded(secret, 'tls.crt'), key: decoded(secret, 'tls.key') };
  } catch (error) {
    if (error instanceof ApiError && error.code === 404) return undefined;
    throw error;
  }
}

/** A server's certificate for these names. */
export async function issue(authority: KeyPair, names: string[]): Promise<KeyPair> {
  const { issueCertificate } = await import('#lib/certificates.ts');
  const [commonName = ''] = names;
  return await issueCertificate(authority, { commonName, dnsNames: names, usages: ['server'], days: SERVER_DAYS });
}
